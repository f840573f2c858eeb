package audit

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekali/bench/system/memoryserver"
)

func publish(t *testing.T, url, body string) {
	t.Helper()
	answer, err := http.Post(url+"/publish", "application/json", strings.NewReader(body))
	if err != nil || answer.StatusCode != http.StatusAccepted {
		t.Fatal(answer, err)
	}
	answer.Body.Close()
}

func TestExportSurvivesBrokenConnections(t *testing.T) {
	memory := memoryserver.New()
	memory.BreakExportEvery = 3
	server := httptest.NewServer(memory)
	defer server.Close()
	publish(t, server.URL, `[{"topic":"a","event_id":"1","timestamp":"t","payload":{"x": 1.50}},{"topic":"a","event_id":"2"},{"topic":"a","event_id":"3"},
		{"topic":"ü\n","event_id":"4"},{"topic":"a","event_id":"5"},{"topic":"a","event_id":"6"},{"topic":"a","event_id":"7"}]`)
	var ids, topics strings.Builder
	for event, err := range Export(context.Background(), server.Client(), server.URL, "", 0) {
		if err != nil {
			t.Fatal(err)
		}
		ids.Write(event.EventID)
		topics.Write(event.Topic)
		if event.Seq == 1 && string(event.Payload) != `{"x":1.50}` {
			t.Errorf("payload %s", event.Payload)
		}
	}
	if ids.String() != "1234567" || topics.String() != "aaaü\naaa" {
		t.Errorf("%q, %q", ids.String(), topics.String())
	}
}

func TestExportGivesUp(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"always breaks":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"not found":      http.NotFound,
		"not JSON":       func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"seq":1,}`)) },
		"not an object":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`[1]`)) },
		"without a seq":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"topic":"a"}`)) },
		"seq is a text":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"seq":"1"}`)) },
		"topic a number": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"seq":1,"topic":3}`)) },
		"name twice":     func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"seq":1,"seq":2}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(handler)
			defer server.Close()
			for event, err := range Export(context.Background(), server.Client(), server.URL, "", 0) {
				if err == nil {
					t.Fatalf("gave %+v", event)
				}
				return
			}
			t.Error("ended as if nothing had been stored")
		})
	}
}

func TestReadEndsInTheMiddle(t *testing.T) {
	for _, err := range Read(strings.NewReader(`{"seq":1,"topic":"a"}` + "\n" + `{"seq":2,"to`)) {
		if err != nil {
			return
		}
	}
	t.Error("a cut file looks whole")
}

func TestInspectDatabaseThatIsNone(t *testing.T) {
	data := t.TempDir()
	if _, err := InspectDatabase(context.Background(), data); err == nil {
		t.Error("a missing file is no error")
	}
	if err := os.WriteFile(filepath.Join(data, "events.db"), []byte("no database, but long enough to have a header of one, and more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := InspectDatabase(context.Background(), data); err == nil {
		t.Error("a file of text is no error")
	}
}
