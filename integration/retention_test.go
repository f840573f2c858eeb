package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRetention: with -retention, content goes and identities stay. A repeat of an expired event is
// a duplicate: from the same process, after a SIGKILL, and once the runs were lost and had to be
// made again from what is left.
func TestRetention(t *testing.T) {
	const events = 2000
	data := dataFolder(t)
	flags := []string{"-retention", "1s"}
	a := start(t, data, flags...)
	var list []string
	for i := range events {
		list = append(list, oneEvent(fmt.Sprint("old-", i), `,"payload":"`+noiseText(i, 500)+`"`))
	}
	old := []byte("[" + strings.Join(list, ",") + "]")
	a.mustPublish(t, old, "store")
	expired := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(drainTimeout); ; time.Sleep(50 * time.Millisecond) {
			var stats struct{ Expired int }
			body, err := a.get("/stats", "application/json")
			if err == nil {
				err = json.Unmarshal(body, &stats)
			}
			if err != nil {
				t.Fatal(err)
			}
			if stats.Expired == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d events expired, want %d", stats.Expired, want)
			}
		}
	}
	expired(events)
	if body := a.export(t); len(body) != 0 {
		t.Fatalf("%d bytes of expired events are shown", len(body))
	}
	again := func(a *aggregator, why string) {
		t.Helper()
		before, err := a.stats()
		if err != nil {
			t.Fatal(err)
		}
		a.mustPublish(t, old, "store")
		if c := a.drained(t); c.Unique != before.Unique || c.Duplicates != before.Duplicates+events {
			t.Fatalf("%s: %+v, before %+v", why, c, before)
		}
	}
	again(a, "the same process")
	a.kill()

	if code, out := tool(t, "check", "-data", data); code != 0 {
		t.Fatalf("check: %d %s", code, out)
	}
	if err := os.RemoveAll(filepath.Join(data, "dedup")); err != nil {
		t.Fatal(err)
	}
	a = start(t, data) // without -retention: nothing more expires, and nothing comes back
	again(a, "killed, and the runs lost")
	a.mustPublish(t, []byte(oneEvent("new")), "store")
	if body := a.export(t); strings.Count(string(body), "\n") != 1 || !strings.Contains(string(body), `"new"`) {
		t.Fatalf("%.1000s", body)
	}
	expired(events)
	if status, body, err := a.publish([]byte(oneEvent("new")), "store"); err != nil || status != http.StatusOK || !strings.Contains(body, `"duplicates":1`) {
		t.Fatal(status, body, err)
	}
	a.stop(t)

	copied := filepath.Join(t.TempDir(), "copy", "events.db")
	if err := os.Mkdir(filepath.Dir(copied), 0o700); err != nil {
		t.Fatal(err)
	}
	if code, out := tool(t, "backup", "-data", data, "-to", copied); code != 0 {
		t.Fatalf("backup: %d %s", code, out)
	}
	whole, err := os.Stat(filepath.Join(data, "events.db"))
	if err != nil {
		t.Fatal(err)
	}
	// 500 of about 600 bytes an event are gone; the file itself keeps its length, and what is free in
	// it is written to again.
	if less, err := os.Stat(copied); err != nil || less.Size() > whole.Size()/2 {
		t.Fatalf("the copy has %d bytes of %d, %v", less.Size(), whole.Size(), err)
	}
	a = start(t, filepath.Dir(copied))
	again(a, "the copy")
	a.stop(t)
}
