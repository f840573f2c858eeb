package integration_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestLockedDatabase: another process holds the database's write lock. Publishers at journal are
// taken until the backlog is full; others are told what holds the commit up; and all is stored once
// the lock is gone.
func TestLockedDatabase(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	a := start(t, data, "-backlog-bytes", "1000000")
	db := openDatabase(t, data)
	defer db.Close()
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	publish := func(n int, ack string) (int, string) {
		status, answer, err := a.publish(requestBody(n), ack)
		if err != nil {
			t.Fatal(err)
		}
		return status, answer
	}
	accepted := 0
	for begun := time.Now(); time.Since(begun) < 4*time.Second; time.Sleep(200 * time.Millisecond) {
		// Longer than the writer waits for the lock before it says so.
		if status, answer := publish(accepted, "journal"); status != http.StatusAccepted {
			t.Fatalf("request %d: %d %s", accepted, status, answer)
		}
		accepted++
	}
	if status, answer := publish(1_000_000, "store"); status != http.StatusServiceUnavailable || !strings.Contains(answer, `"database_locked"`) {
		t.Errorf("at store: %d %s", status, answer)
	}
	if status, answer := publish(1_000_000, "memory"); status != http.StatusServiceUnavailable || !strings.Contains(answer, `"database_locked"`) {
		t.Errorf("at memory: %d %s", status, answer)
	}
	if text, err := a.get("/readyz", ""); err != nil || !strings.Contains(string(text), "warning: database_locked") {
		t.Errorf("readyz: %s, %v", text, err)
	}
	for {
		status, answer := publish(accepted, "journal")
		if status != http.StatusAccepted {
			if status != http.StatusServiceUnavailable || !strings.Contains(answer, `"backlog_full"`) {
				t.Errorf("request %d: %d %s", accepted, status, answer)
			}
			break
		}
		if accepted++; accepted > 1000 {
			t.Fatal("the backlog has no bound")
		}
	}
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if c := a.drained(t); c.Received != accepted*eventsPerRequest || c.Unique+c.Duplicates != c.Received {
		t.Errorf("%+v, want what %d requests had", c, accepted)
	}
	if text, err := a.get("/readyz", ""); err != nil || string(text) != "ok\n" {
		t.Errorf("readyz: %s, %v", text, err)
	}
}
