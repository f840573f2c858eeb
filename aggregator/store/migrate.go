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
		sql := ""
		if version < 2 { // without dead letters
			sql += "ALTER TABLE state ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;" + deadLettersSchema
		}
		var d Design
		if err := readDesign(c, &d); err != nil {
			return err
		}
		// Without expiry and conflicts: events and dedup_store showed what there was.
		if d.Layout == LayoutBlocks {
			sql += "DROP VIEW events;"
		}
		if d.Dedup == DedupRuns {
			sql += "DROP VIEW dedup_store;"
		} else {
			sql += "ALTER TABLE dedup_store ADD COLUMN content INTEGER;"
		}
		err := c.Exec(sql + `ALTER TABLE state ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
			ALTER TABLE state ADD COLUMN expired_seq INTEGER NOT NULL DEFAULT 0;
			ALTER TABLE state ADD COLUMN conflicts INTEGER NOT NULL DEFAULT 0;` + views(d) + userVersion)
		crash.Here(crash.StoreMigrating)
		return err
	})
}
