package integration_test

import (
	"strings"
	"testing"
)

// TestTimeInTheFuture: a clock that was ahead has left a time of receipt in the future. /readyz and
// check say so, and mend-time mends it.
func TestTimeInTheFuture(t *testing.T) {
	data := dataFolder(t)
	a := start(t, data)
	a.mustPublish(t, []byte(oneEvent("before")), "store")
	a.stop(t)
	db := openDatabase(t, data)
	if _, err := db.Exec("UPDATE state SET last_received_at = '2136-11-28T00:00:00.000000000Z'"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	a = start(t, data)
	a.mustPublish(t, []byte(oneEvent("ahead")), "journal")
	a.drained(t)
	if body, err := a.get("/readyz", "text/plain"); err != nil || !strings.Contains(string(body), "warning: ") || !strings.Contains(string(body), "2136") {
		t.Errorf("%s %v", body, err)
	}
	a.stop(t)
	if code, out := tool(t, "check", "-data", data); code != 1 || !strings.Contains(out, "mend-time") {
		t.Errorf("check: %d %s", code, out)
	}
	if code, out := tool(t, "mend-time", "-data", data); code != 0 || !strings.HasPrefix(out, "1 events") {
		t.Errorf("mend-time: %d %s", code, out)
	}
	if code, out := tool(t, "check", "-data", data); code != 0 {
		t.Errorf("check: %d %s", code, out)
	}
	a = start(t, data)
	a.mustPublish(t, []byte(oneEvent("after")), "store")
	if body, err := a.get("/readyz", "text/plain"); err != nil || string(body) != "ok\n" {
		t.Errorf("%s %v", body, err)
	}
	if body := string(a.export(t)); strings.Contains(body, "2136") || strings.Count(body, "\n") != 3 {
		t.Error(body)
	}
	a.stop(t)
}
