package mutants

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"
)

// destroy zeroes the events in the database of an aggregator that has ended. Their number stays.
func destroy(data string) error {
	path := filepath.Join(data, "events.db")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("mutants: %w", err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return fmt.Errorf("mutants: %w", err)
	}
	_, err = db.Exec("UPDATE blocks SET data = zeroblob(length(data))")
	return errors.Join(err, db.Close())
}
