package integration_test

import (
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"
)

// openDatabase opens <data>/events.db as the sqlite3 shell would.
func openDatabase(t *testing.T, data string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.Join(data, "events.db")}).EscapedPath())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	return db
}

// checkDatabase looks at what a kill left behind: at a copy, because opening the
// database would already recover it, and that is for the aggregator to do. It
// returns how many events it holds.
func checkDatabase(t *testing.T, data string) int {
	t.Helper()
	copied := t.TempDir()
	for _, name := range []string{"events.db", "events.db-wal"} {
		content, err := os.ReadFile(filepath.Join(data, name))
		if os.IsNotExist(err) && name != "events.db" {
			continue // checkpointed and removed
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(copied, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	db := openDatabase(t, copied)
	defer db.Close()
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Fatalf("integrity_check: %v %s", err, verdict)
	}
	var events, identities int
	for query, to := range map[string]*int{
		"SELECT count(*) FROM (SELECT seq, topic, event_id, timestamp, source, payload, received_at FROM events)": &events,
		"SELECT count(*) FROM (SELECT topic, event_id FROM dedup_store)":                                          &identities,
	} {
		if err := db.QueryRow(query).Scan(to); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	if events != identities {
		t.Fatalf("%d events, %d identities in dedup_store", events, identities)
	}
	return events
}
