package publisher

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// aggregator is the contract, as far as a publisher sees it, over a map.
type aggregator struct {
	*httptest.Server
	// before, if not nil, may answer the n-th publish (from 1) in its own way.
	before func(n int, w http.ResponseWriter, r *http.Request) bool

	mu        sync.Mutex
	publishes int
	stored    map[string]string // topic/event_id → the event
	order     []string
	headers   http.Header
	ready     bool
}

func newAggregator(t *testing.T) *aggregator {
	a := &aggregator{stored: make(map[string]string), ready: true}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *aggregator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.URL.Path == "/readyz" {
		if !a.ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/publish" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-ndjson" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	a.headers = r.Header
	a.publishes++
	if a.before != nil && a.before(a.publishes, w, r) {
		return
	}
	a.take(w, body, r.URL.Query().Get("ack"))
}

func (a *aggregator) take(w http.ResponseWriter, body []byte, ack string) {
	type eventError struct {
		Index int    `json:"index"`
		Code  string `json:"code"`
	}
	var problems []eventError
	accepted, duplicates := 0, 0
	for i, line := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n") {
		var e struct{ Topic, Event_id, Timestamp string }
		if json.Unmarshal([]byte(line), &e) != nil || e.Topic == "" || e.Event_id == "" || e.Timestamp == "" {
			problems = append(problems, eventError{i, "missing_field"})
			continue
		}
		accepted++
		key := e.Topic + "/" + e.Event_id
		if _, known := a.stored[key]; known {
			duplicates++
			continue
		}
		a.stored[key] = line
		a.order = append(a.order, line)
	}
	answer := map[string]any{"ack": ack, "accepted": accepted, "rejected": len(problems), "errors": problems}
	if ack == "store" {
		answer["duplicates"], answer["stored"] = duplicates, accepted-duplicates
	} else if accepted > 0 {
		w.WriteHeader(http.StatusAccepted)
	}
	if accepted == 0 && len(problems) > 0 {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
	json.NewEncoder(w).Encode(answer)
}

func problem(status int, code string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"code":%q,"detail":"because"}`, code)
	}
}
