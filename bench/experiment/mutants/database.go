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
func destroy(data string, _ int) (told bool, err error) {
	return alter(data, "UPDATE blocks SET data = zeroblob(length(data))")
}

// rolledBack is how many numbers a SIGKILL takes.
const rolledBack = 500

// rollBack takes back what the first life's last commits did, where events and keys are rows. The
// counters agree with what is left.
func rollBack(data string, life int) (told bool, err error) {
	if life > 1 {
		return false, nil
	}
	return alter(data, fmt.Sprintf("DELETE FROM events WHERE seq > (SELECT last_seq - %d FROM state)", rolledBack), fmt.Sprintf(`
		UPDATE state SET last_seq = max(0, last_seq - %d);
		DELETE FROM dedup_store WHERE seq > (SELECT last_seq FROM state);
		UPDATE state SET unique_processed = (SELECT count(*) FROM events);
		UPDATE state SET duplicate_dropped = last_seq - unique_processed;
		DELETE FROM topics;
		INSERT INTO topics SELECT topic, count(*) FROM events GROUP BY topic`, rolledBack))
}

// alter is a lie if its first statement finds a row to change.
func alter(data, first string, others ...string) (told bool, err error) {
	db, err := open(data)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.Begin()
	if err != nil {
		return false, err
	}
	defer tx.Rollback() // after Commit it does nothing
	result, err := tx.Exec(first)
	if err != nil {
		return false, err
	}
	rows, err := result.RowsAffected()
	if err != nil {
		return false, err
	}
	for _, other := range others {
		if _, err := tx.Exec(other); err != nil {
			return false, err
		}
	}
	return rows > 0, tx.Commit()
}

// lockTimeoutMS is how long a statement waits for the aggregator's lock.
const lockTimeoutMS = 5000

func open(data string) (*sql.DB, error) {
	path := filepath.Join(data, "events.db")
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("mutants: %w", err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return nil, fmt.Errorf("mutants: %w", err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(fmt.Sprintf("PRAGMA busy_timeout=%d", lockTimeoutMS)); err != nil {
		return nil, errors.Join(fmt.Errorf("mutants: %w", err), db.Close())
	}
	return db, nil
}

// changed is a database with a change.
func changed(database []byte, change func(*sql.DB) error) (lie []byte, err error) {
	dir, err := os.MkdirTemp("", "sekali-mutant-")
	if err != nil {
		return nil, fmt.Errorf("mutants: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "events.db")
	if err := os.WriteFile(path, database, 0o600); err != nil {
		return nil, fmt.Errorf("mutants: %w", err)
	}
	db, err := open(dir)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(change(db), db.Close()); err != nil {
		return nil, fmt.Errorf("mutants: %w", err)
	}
	return os.ReadFile(path)
}
