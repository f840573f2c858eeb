package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sekali/internal/sqlite"
)

// schemaVersion is kept in PRAGMA user_version. It changes with the schema: a test holds the two
// together. Up to version 3 the schema also changed under its number, from commit to commit, of
// which the last is the one that is taken forward. Version 4 packs blocks, version 5 the topics of
// large batches.
const schemaVersion = 5

var errBetween = errors.New("it was made by a commit between two versions of the schema, whose program alone can read it")

// schemaOf is what makes the schema in an empty database.
func schemaOf(d Design) string {
	return schema + topicCountsSchema + deadLettersSchema + layoutSchema(d.Layout) + waySchema(d.Dedup) + views(d)
}

// checkColumns refuses a database whose tables are not those of its version.
func checkColumns(c *sqlite.Conn, d Design) error {
	fresh, err := sqlite.Open("file::memory:")
	if err != nil {
		return err
	}
	err = fresh.Exec(schemaOf(d))
	var ours string
	var want, got map[string]bool
	if err == nil {
		err = fresh.Row("SELECT group_concat(quote(name)) FROM sqlite_schema WHERE type IN ('table', 'view')", &ours)
	}
	if err == nil {
		want, err = columns(fresh, ours)
	}
	if err = errors.Join(err, fresh.Close()); err != nil {
		return err
	}
	if got, err = columns(c, ours); err != nil {
		return fmt.Errorf("%w: %w", errBetween, err)
	}
	for column := range got {
		delete(want, column)
	}
	if len(want) == 0 {
		return nil
	}
	missing := slices.Sorted(maps.Keys(want))
	return fmt.Errorf("schema version %d without %s: %w", schemaVersion, strings.Join(missing, ", "), errBetween)
}

// columns are those of the tables and views that are named. A person may have made others: a view
// on a table that is gone, or with a function that only the shell has, is an error here.
func columns(c *sqlite.Conn, named string) (map[string]bool, error) {
	found := map[string]bool{}
	err := c.Rows(`SELECT m.name || '.' || i.name FROM sqlite_schema m, pragma_table_info(m.name) i
		WHERE m.type IN ('table', 'view') AND m.name IN (`+named+`)`, func(s *sqlite.Statement) error {
		found[s.ColumnText(0)] = true
		return nil
	})
	return found, err
}

// views are what a person reads in the sqlite3 shell where the tables have another shape.
func views(d Design) string {
	sql := blocksViews
	if d.Layout == LayoutRows {
		sql = rowsViews
	}
	if d.Dedup != DedupTable {
		sql += runsViews
	}
	return sql
}
