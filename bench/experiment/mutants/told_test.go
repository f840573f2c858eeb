package mutants

import (
	"database/sql"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTold: what a mutant gives is a lie only if it is not what it had.
func TestTold(t *testing.T) {
	const waits = `{"histograms": {"commit_us": [], "processing_latency_us": `
	for name, tc := range map[string]struct {
		path       string
		same, lied string // an answer of the aggregator, or what is sent to it; "": there is none of the kind
	}{
		"honest":            {"/stats", `{"queue_depth": 3}`, ""},
		"all-committed":     {"/stats", `{"queue_depth": 0, "backlog_bytes": 9}`, `{"queue_depth": 3}`},
		"all-committed-seq": {"/stats", `{"received": 7, "queue_depth": 0, "last_seq": 7}`, `{"received": 7, "queue_depth": 3, "last_seq": 4}`},
		"drained":           {"/stats", `{"received": 7, "queue_depth": 0, "last_seq": 7}`, `{"received": 7, "queue_depth": 3, "last_seq": 4}`},
		"half-waits":        {"/stats", `{"last_seq": 4, "queue_depth": 0}`, `{"last_seq": 4, "queue_depth": 2}`},
		"waits-capped":      {"/stats", waits + "[[400000, 1], [500000, 2]]}}", waits + "[[400000, 1], [600000, 2]]}}"},
		"commits":           {"/stats", `{"commits": 0}`, `{"commits": 2}`},
		"topics":            {"/stats", `{"topics": [{"topic": "a"}]}`, `{"topics": [{"topic": "a"}, {"topic": "b"}]}`},
		"page-gap":          {"/events", `{"events": [{"seq": 96}]}`, `{"events": [{"seq": 97}]}`},
		"lower-case":        {"/events", `{"events": [{"event_id": "a"}]}`, `{"events": [{"event_id": "A"}]}`},
		"stream-gap":        {"/events/stream", "data: {\"seq\": 96}\n\n", "data: {\"seq\": 97}\n\n"},
		"status":            {"/publish", "", `[{}]`},
		"reversed":          {"/publish", `[{"event_id": "a"}]`, `[{"event_id": "a"}, {"event_id": "b"}]`},
		"compacted":         {"/publish", `[{"payload": {"a":1}}]`, `[{"payload": {"a": 1}}]`},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.same != "" && told(t, name, tc.path, tc.same) {
				t.Errorf("called a lie: %s", tc.same)
			}
			if tc.lied != "" && !told(t, name, tc.path, tc.lied) {
				t.Errorf("not called a lie: %s", tc.lied)
			}
		})
	}
}

// told has a mutant pass a text on, and says whether it notes a lie.
func told(t *testing.T, name, path, text string) bool {
	t.Helper()
	aggregator := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusAccepted)
			io.WriteString(w, "{}")
			return
		}
		io.WriteString(w, text)
	}))
	defer aggregator.Close()
	m, _ := find(name)
	note := filepath.Join(t.TempDir(), "told")
	l := newLiar(m, note, aggregator.Listener.Addr().String(), t.TempDir())
	l.latest = time.Now().Add(-time.Minute) // for what lies once the load has ended
	request := httptest.NewRequest(http.MethodGet, path, nil)
	if path == "/publish" {
		request = httptest.NewRequest(http.MethodPost, path, strings.NewReader(text))
	}
	l.ServeHTTP(httptest.NewRecorder(), request)
	_, err := os.Stat(note)
	return err == nil
}

// TestEndedTold: the database of an aggregator that has ended is a lie if there was anything in it.
func TestEndedTold(t *testing.T) {
	data, db := database(t)
	for _, text := range []string{"CREATE TABLE blocks (data)", "CREATE TABLE state (last_seq, unique_processed, duplicate_dropped)",
		"CREATE TABLE events (seq, topic)", "CREATE TABLE dedup_store (seq)", "CREATE TABLE topics (topic, events)", "INSERT INTO state VALUES (0, 0, 0)"} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	for name, ended := range map[string]func(string, int) (bool, error){"destroy": destroy, "rollBack": rollBack} {
		if lied, err := ended(data, 1); lied || err != nil {
			t.Errorf("%s of nothing: %v, %v", name, lied, err)
		}
	}
	if _, err := db.Exec("INSERT INTO blocks VALUES (x'01'); INSERT INTO events VALUES (1, 'a'); UPDATE state SET last_seq = 1"); err != nil {
		t.Fatal(err)
	}
	for name, ended := range map[string]func(string, int) (bool, error){"destroy": destroy, "rollBack": rollBack} {
		if lied, err := ended(data, 1); !lied || err != nil {
			t.Errorf("%s of an event: %v, %v", name, lied, err)
		}
	}
}

// TestHold: the database is locked from the first request on, until none has come for a while.
func TestHold(t *testing.T) {
	data, db := database(t)
	if _, err := db.Exec("CREATE TABLE events (seq)"); err != nil {
		t.Fatal(err)
	}
	m, _ := find("honest-slow")
	l := newLiar(m, filepath.Join(t.TempDir(), "told"), "127.0.0.1:1", data)
	l.busy()
	l.hold()
	if _, err := db.Exec("INSERT INTO events VALUES (1)"); err == nil {
		t.Fatal("the database is not locked")
	}
	l.mu.Lock()
	l.latest = time.Now().Add(-calm)
	l.mu.Unlock()
	for begun := time.Now(); ; time.Sleep(calm / 50) {
		_, err := db.Exec("INSERT INTO events VALUES (1)")
		if err == nil {
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatal(err)
		}
	}
}

func database(t *testing.T) (data string, db *sql.DB) {
	t.Helper()
	data = t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(data, "events.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return data, db
}

// TestNotTold: of a lie that was never told the lab is not blamed, and the row does not hold.
func TestNotTold(t *testing.T) {
	for _, tc := range []struct {
		row     Found
		held    bool
		outcome string
	}{
		{Found{Name: "drained"}, false, "**NOT TOLD**: all that it gave was true"},
		{Found{Name: "drained", Caught: "lost is 3"}, false, "**NOT TOLD**: all that it gave was true"},
		{Found{Name: "drained", Told: true}, false, "**NOT CAUGHT**"},
		{Found{Name: "drained", Told: true, Caught: "lost is 3"}, true, "lost is 3"},
		{Found{Name: "drained", Told: true, NoResult: "it ended"}, false, "**NO RESULT**, and not by a lie: it ended"},
		{Found{Name: Honest, NoResult: "it ended"}, false, "**NO RESULT**, and not by a lie: it ended"},
		{Found{Name: Honest}, true, passes},
		{Found{Name: Honest, Caught: "lost is 3"}, false, "**ACCUSED**: lost is 3"},
	} {
		if held, outcome := tc.row.Held(), tc.row.Outcome(); held != tc.held || outcome != tc.outcome {
			t.Errorf("%+v: %v, %s", tc.row, held, outcome)
		}
	}
}
