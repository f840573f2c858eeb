package store

import (
	"fmt"

	"sekali/aggregator/crash"
	"sekali/internal/sqlite"
)

var userVersion = fmt.Sprintf("\nPRAGMA user_version=%d;", schemaVersion)

// migrate takes the schema from an older version to this one.
func migrate(c *sqlite.Conn, version int64) error {
	if version == schemaVersion {
		return nil
	}
	return c.Transaction(func() error {
		var d Design
		if err := readDesign(c, &d); err != nil {
			return err
		}
		sql, err := dropViews(c)
		if err != nil {
			return err
		}
		if version < 2 { // without dead letters
			sql += "ALTER TABLE state ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;" + deadLettersSchema
		}
		if version < 3 { // without expiry and conflicts
			if d.Dedup == DedupTable {
				sql += "ALTER TABLE dedup_store ADD COLUMN content INTEGER;"
			}
			sql += `ALTER TABLE state ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
				ALTER TABLE state ADD COLUMN expired_seq INTEGER NOT NULL DEFAULT 0;
				ALTER TABLE state ADD COLUMN conflicts INTEGER NOT NULL DEFAULT 0;`
		}
		if d.Layout == LayoutBlocks && version < 4 { // not packed; those that are there stay so
			sql += `ALTER TABLE blocks ADD COLUMN packed INTEGER NOT NULL DEFAULT 0;
				ALTER TABLE blocks ADD COLUMN directory_bytes INTEGER NOT NULL DEFAULT 0;`
		}
		sql += topicCountsSchema
		if d.Layout == LayoutBlocks { // what topic_blocks has stays there
			sql += topicRunsSchema
		}
		err = c.Exec(sql + views(d) + userVersion)
		crash.Here(crash.StoreMigrating)
		return err
	})
}

// dropViews is what removes the views of the schema's older version. Others that a person has made
// stay.
func dropViews(c *sqlite.Conn) (sql string, err error) {
	err = c.Rows("SELECT name FROM sqlite_schema WHERE type = 'view' AND name IN ('events', 'block_events', 'identities', 'dedup_store')",
		func(s *sqlite.Statement) error {
			sql += "DROP VIEW " + s.ColumnText(0) + ";"
			return nil
		})
	return sql, err
}
