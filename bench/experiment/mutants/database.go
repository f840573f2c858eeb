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
func destroy(data string, _ int) error {
	return change(data, "UPDATE blocks SET data = zeroblob(length(data))")
}

// rolledBack is how many numbers a SIGKILL takes.
const rolledBack = 500

// rollBack takes back what the first life's last commits did, where events and keys are rows. The
// counters agree with what is left.
func rollBack(data string, life int) error {
	if life > 1 {
		return nil
	}
	return change(data, fmt.Sprintf(`BEGIN;
		UPDATE state SET last_seq = max(0, last_seq - %d);
		DELETE FROM dedup_store WHERE seq > (SELECT last_seq FROM state);
		DELETE FROM events WHERE seq > (SELECT last_seq FROM state);
		UPDATE state SET unique_processed = (SELECT count(*) FROM events);
		UPDATE state SET duplicate_dropped = last_seq - unique_processed;
		DELETE FROM topics;
		INSERT INTO topics SELECT topic, count(*) FROM events GROUP BY topic;
		COMMIT`, rolledBack))
}

func change(data, text string) error {
	path := filepath.Join(data, "events.db")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("mutants: %w", err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return fmt.Errorf("mutants: %w", err)
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec(text)
	return errors.Join(err, db.Close())
}
