package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "sekali/internal/sqlite" // the driver, and sqlar_uncompress
)

// Database is what the stopped aggregator's file says by itself.
type Database struct {
	Events    uint64 `json:"events"`    // that are stored
	Integrity string `json:"integrity"` // PRAGMA integrity_check: "ok", or the first complaint
}

// The events by the directories of the blocks they lie in, and where each is a row. The view events
// has them as well, but makes a row of each first: 8 µs an event, where this takes 1.
const (
	countBlocks = `SELECT coalesce(sum(json_array_length(
		CASE packed WHEN 0 THEN directory ELSE CAST(substr(sqlar_uncompress(data, packed), 1, directory_bytes) AS TEXT) END)), 0)
		FROM blocks WHERE first_seq > (SELECT expired_seq FROM state)`
	countRows = "SELECT count(*) FROM events" // and of an older aggregator, whose blocks are not packed
	isPacked  = "SELECT count(*) FROM pragma_table_info('blocks') WHERE name = 'packed'"
)

// InspectDatabase reads <data>/events.db after the aggregator has ended. It must not be called
// before: closing a database file drops the locks that this process holds on it, and a checkpoint
// must have nobody to race with.
func InspectDatabase(ctx context.Context, data string) (Database, error) {
	snapshot, err := OpenSnapshot(ctx, data)
	if err != nil {
		return Database{}, err
	}
	found, err := snapshot.Inspect(ctx)
	return found, errors.Join(err, snapshot.Close())
}

// Snapshot is a database as it was when the Snapshot was opened, whatever is committed since: once
// it is open, an aggregator may be started on the folder.
type Snapshot struct {
	db   *sql.DB
	read *sql.Tx
}

// OpenSnapshot opens that of <data>/events.db, after the aggregator has ended.
func OpenSnapshot(ctx context.Context, data string) (*Snapshot, error) {
	db, err := openDatabase(data)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{db: db}
	if s.read, err = db.BeginTx(ctx, nil); err == nil {
		var tables int
		err = s.read.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables) // the first read is of the moment
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("audit: database: %w", err), s.Close())
	}
	return s, nil
}

// Inspect reads all of it.
func (s *Snapshot) Inspect(ctx context.Context) (found Database, err error) {
	err = s.read.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&found.Integrity)
	var packed int
	if err == nil {
		err = s.read.QueryRowContext(ctx, isPacked).Scan(&packed)
	}
	if err == nil {
		count := countRows
		if packed > 0 {
			count = countBlocks
		}
		if err = s.read.QueryRowContext(ctx, count).Scan(&found.Events); err != nil && ctx.Err() == nil && found.Integrity == "ok" {
			found.Integrity, err = "events: "+err.Error(), nil
		}
	}
	if err != nil {
		return found, fmt.Errorf("audit: database: %w", err)
	}
	return found, nil
}

// Close lets the database go.
func (s *Snapshot) Close() error {
	if s.read != nil {
		_ = s.read.Rollback() // nothing was written
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("audit: database: %w", err)
	}
	return nil
}

const databaseFile = "events.db"

// openDatabase opens <data>/events.db, to be read.
func openDatabase(data string) (*sql.DB, error) {
	path, err := filepath.Abs(filepath.Join(data, databaseFile))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("audit: database: %w", err)
	}
	// A plain path would drop the parameters. A WAL that a killed process left is read too, which
	// mode=ro cannot.
	name := (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_pragma=query_only(1)"}).String()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("audit: database: %w", err)
	}
	return db, nil
}
