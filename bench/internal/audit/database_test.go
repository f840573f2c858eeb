package audit

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
)

// TestEventsOfEveryForm: the events are counted in rows, in blocks as versions before 4 wrote them,
// and in packed ones beside such; what cannot be unpacked is a complaint.
func TestEventsOfEveryForm(t *testing.T) {
	const (
		state  = "CREATE TABLE state (expired_seq INTEGER); INSERT INTO state VALUES (0);"
		packed = `CREATE TABLE blocks (first_seq INTEGER PRIMARY KEY, directory TEXT, data BLOB, packed INTEGER, directory_bytes INTEGER);
			INSERT INTO blocks VALUES (1, '[[0],[1]]', x'00', 0, 0), (3, '', CAST('[[0],[1],[2]]text' AS BLOB), 17, 13);`
	)
	for name, test := range map[string]struct {
		schema    string
		events    uint64
		integrity string
	}{
		"rows":      {"CREATE TABLE events (seq INTEGER PRIMARY KEY); INSERT INTO events VALUES (1), (2)", 2, "ok"},
		"version 3": {state + "CREATE TABLE blocks (first_seq INTEGER PRIMARY KEY); CREATE VIEW events AS SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", 3, "ok"},
		"version 4": {state + packed, 5, "ok"},
		"expired":   {state + packed + "UPDATE state SET expired_seq = 2", 3, "ok"},
		"damaged":   {state + packed + "UPDATE blocks SET packed = 18 WHERE first_seq = 3", 0, "a complaint"},
	} {
		dir := t.TempDir()
		db, err := sql.Open("sqlite", filepath.Join(dir, "events.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(test.schema); err != nil {
			t.Fatal(name, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		found, err := InspectDatabase(t.Context(), dir)
		if err != nil || found.Events != test.events || (test.integrity == "ok") != (found.Integrity == "ok") {
			t.Errorf("%s: %+v, %v, want %d, %s", name, found, err, test.events, test.integrity)
		}
	}
}

// TestSnapshotIsOfItsMoment: what the next process commits is not what the one before has left.
func TestSnapshotIsOfItsMoment(t *testing.T) {
	dir := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, "events.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{"PRAGMA journal_mode=WAL", "CREATE TABLE events (seq INTEGER PRIMARY KEY)", "INSERT INTO events VALUES (1), (2)"} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	snapshot, err := OpenSnapshot(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO events VALUES (3)"); err != nil {
		t.Fatal(err)
	}
	before, err := snapshot.Inspect(t.Context())
	if err := errors.Join(err, snapshot.Close()); err != nil {
		t.Fatal(err)
	}
	after, err := InspectDatabase(t.Context(), dir)
	if err != nil || before.Events != 2 || before.Integrity != "ok" || after.Events != 3 {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
}
