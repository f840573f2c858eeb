package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"
)

// Database is what the stopped aggregator's file says by itself.
type Database struct {
	Events    uint64 `json:"events"`    // SELECT count(*) FROM events
	Integrity string `json:"integrity"` // PRAGMA integrity_check: "ok", or the first complaint
}

// InspectDatabase reads <data>/events.db after the aggregator has ended. It must not be called
// before: closing a database file drops the locks that this process holds on it, and a checkpoint
// must have nobody to race with.
func InspectDatabase(ctx context.Context, data string) (Database, error) {
	var found Database
	path, err := filepath.Abs(filepath.Join(data, "events.db"))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return found, fmt.Errorf("audit: database: %w", err)
	}
	// A plain path would drop the parameters. A WAL that a killed process left is read too, which
	// mode=ro cannot.
	name := (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_pragma=query_only(1)"}).String()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return found, fmt.Errorf("audit: database: %w", err)
	}
	err = db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&found.Integrity)
	if err == nil {
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM events").Scan(&found.Events)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return found, fmt.Errorf("audit: database: %w", err)
	}
	return found, nil
}
