package client_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// fault is what a fake does to a request.
type fault int

const (
	none     fault = iota
	refuse         // 503, nothing stored
	limit          // 429, nothing stored
	gateway        // 502 in HTML, nothing stored
	cut            // the connection ends, nothing stored
	lose           // stored, and the connection ends instead of an answer
	truncate       // stored, and half an answer comes
	slow           // stored, and the answer comes after the client's timeout
	lie            // stored, and the answer counts another number of events
	faults
)

// slowness of a slow fake; the clients that meet one wait less.
const slowness = 40 * time.Millisecond

// fake is an aggregator in memory. Events with "bad" in the payload are rejected by index, ones
// with "poison" make it refuse the whole request as 400, and more than maxEvents are 413.
type fake struct {
	*httptest.Server
	maxEvents int

	mu       sync.Mutex
	next     func() fault // called with mu held; nil: no faults
	stored   []stored     // in the order of storing
	known    map[string]bool
	requests int
	lines    int // of the requests, those in NDJSON
	repeats  int
}

type stored struct {
	Topic     string          `json:"topic"`
	ID        string          `json:"event_id"`
	Timestamp time.Time       `json:"timestamp"`
	Source    string          `json:"source"`
	Payload   json.RawMessage `json:"payload"`
}

func newFake() *fake {
	f := &fake{maxEvents: 1 << 30, known: map[string]bool{}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	return f
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/publish" {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	f.requests++
	todo := none
	if f.next != nil {
		todo = f.next()
	}
	f.mu.Unlock()
	switch todo {
	case refuse:
		w.Header().Set("Retry-After", "0")
		http.Error(w, `{"code":"queue_full","status":503}`, http.StatusServiceUnavailable)
		return
	case limit:
		http.Error(w, "", http.StatusTooManyRequests)
		return
	case gateway:
		http.Error(w, "<html>", http.StatusBadGateway)
		return
	case cut:
		panic(http.ErrAbortHandler)
	}
	status, text := f.store(body, r.Header.Get("Content-Type") == "application/x-ndjson")
	switch todo {
	case lose:
		panic(http.ErrAbortHandler)
	case truncate:
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		w.WriteHeader(status)
		io.WriteString(w, text[:len(text)/2])
		return
	case slow:
		time.Sleep(slowness)
	case lie:
		status, text = http.StatusAccepted, `{"accepted":1000000,"rejected":0,"errors":[]}`
	}
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// newStream is an aggregator that has stored events with these ids.
func newStream(ids ...string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i, id := range ids {
			if seq := i + 1; fmt.Sprint(seq) > r.URL.Query().Get("after") {
				fmt.Fprintf(w, "id: %d\ndata: {\"seq\":%[1]d,\"topic\":\"orders\",\"event_id\":%[2]q}\n\n", seq, id)
			}
		}
	}))
}

// store takes a request's events, each once.
func (f *fake) store(body []byte, lines bool) (int, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if lines {
		f.lines++
		body = fmt.Appendf(nil, "[%s]", strings.ReplaceAll(strings.TrimSuffix(string(body), "\n"), "\n", ","))
	}
	var events []stored
	if err := json.Unmarshal(body, &events); err != nil || strings.Contains(string(body), "poison") {
		return http.StatusBadRequest, `{"code":"malformed","detail":"poison"}`
	}
	if len(events) > f.maxEvents {
		return http.StatusRequestEntityTooLarge, `{"code":"too_large"}`
	}
	var rejected []string
	for i, e := range events {
		key := e.Topic + "\x00" + e.ID
		switch {
		case strings.Contains(string(e.Payload), "bad"):
			rejected = append(rejected, fmt.Sprintf(`{"index":%d,"code":"invalid_type","detail":"bad"}`, i))
		case f.known[key]:
			f.repeats++
		default:
			f.known[key] = true
			f.stored = append(f.stored, e)
		}
	}
	status := http.StatusAccepted
	if len(rejected) == len(events) {
		status = http.StatusUnprocessableEntity
	}
	return status, fmt.Sprintf(`{"ack":"journal","accepted":%d,"rejected":%d,"errors":[%s]}`,
		len(events)-len(rejected), len(rejected), strings.Join(rejected, ","))
}

// events are what is stored so far.
func (f *fake) events() []stored {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]stored(nil), f.stored...)
}
