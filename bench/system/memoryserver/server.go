// Package memoryserver speaks the aggregator's contract and keeps its events in memory: the lab's
// own tests run against it, and its mutants make the mistakes that an audit must find. It is no
// aggregator: it is slow, knows three of the answers, and never runs in a measurement.
package memoryserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Mutants are the mistakes; each names the stored event (from 1, in the order of storing) that it
// is made at, 0 never.
type Mutants struct {
	Lose      uint64 // acknowledged, not stored, and counted as if it were
	Twice     uint64 // stored again under the next seq
	Change    uint64 // one byte of the payload is another
	Forget    uint64 // removed from the dedup store, so that its repeat is stored
	Miscount  uint64 // the duplicate of this number is not counted
	SwapOrder uint64 // given after its successor
}

// Server is an http.Handler. Make one with New or Open.
type Server struct {
	Mutants Mutants
	// BreakExportEvery cuts the connection of an export after so many events; 0 never.
	BreakExportEvery int
	// Waits keeps everything in the queue: it is acknowledged and not shown.
	Waits bool

	mu         sync.Mutex
	log        *os.File // nil: nothing survives
	events     []stored
	seqs       map[[2]string]uint64
	received   uint64
	unique     uint64
	duplicates uint64
	requests   uint64
	started    time.Time
}

type stored struct {
	Seq        uint64         `json:"seq"`
	Topic      string         `json:"topic"`
	EventID    string         `json:"event_id"`
	Timestamp  string         `json:"timestamp"`
	Source     string         `json:"source"`
	Payload    jsontext.Value `json:"payload"`
	ReceivedAt string         `json:"received_at"`
}

// New returns an empty server.
func New() *Server {
	return &Server{seqs: map[[2]string]uint64{}, started: time.Now()}
}

// Open returns a server that keeps every request in a file and starts with what is in it; a SIGKILL
// loses nothing that was answered, since the page cache outlives the process. The request whose
// write it ended is cut off.
func Open(path string) (*Server, error) {
	s := New()
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	decoder := jsontext.NewDecoder(bufio.NewReader(file))
	var whole int64 // bytes of whole requests
	for {
		at, err := decoder.ReadValue()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		receivedAt := strings.Trim(string(at), `"`)
		request, err := decoder.ReadValue()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if _, _, err := s.take(request, receivedAt); err != nil {
			return nil, err
		}
		whole = decoder.InputOffset()
	}
	// What comes next must not stand behind half a request.
	if err := file.Truncate(whole); err != nil {
		return nil, err
	}
	s.log = file
	return s, nil
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Waits && r.URL.Path == "/stats" {
		s.statsOf(w, &Server{started: s.started}, s.received)
		return
	}
	switch r.URL.Path {
	case "/publish":
		s.publish(w, r)
	case "/events":
		s.export(w, r)
	case "/stats":
		s.statsOf(w, s, 0)
	case "/events/stream":
		s.stream(w, r)
	case "/readyz", "/livez":
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) publish(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	receivedAt := time.Now().UTC().Format(time.RFC3339Nano)
	accepted, duplicates, err := s.take(body, receivedAt)
	if err != nil { // and it is not kept: the next life could not read it
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.log != nil {
		if _, err := fmt.Fprintf(s.log, "%q %s\n", receivedAt, body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	switch ack := r.URL.Query().Get("ack"); ack {
	case "store":
		fmt.Fprintf(w, `{"ack":"store","accepted":%d,"rejected":0,"errors":[],"stored":%d,"duplicates":%d}`, accepted, accepted-duplicates, duplicates)
	default:
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"ack":%q,"accepted":%d,"rejected":0,"errors":[]}`, ack, accepted)
	}
}

// take stores the events of a JSON array.
func (s *Server) take(body []byte, receivedAt string) (accepted, duplicates int, err error) {
	var batch []stored
	if err := json.Unmarshal(body, &batch); err != nil {
		return 0, 0, err
	}
	s.requests++
	for _, event := range batch {
		s.received++
		key := [2]string{event.Topic, event.EventID}
		if _, seen := s.seqs[key]; seen {
			duplicates++
			if s.duplicates++; s.duplicates == s.Mutants.Miscount {
				s.duplicates--
				s.Mutants.Miscount = 0
			}
			continue
		}
		s.unique++
		event.Seq = s.received // a duplicate uses up a number
		event.ReceivedAt = receivedAt
		s.seqs[key] = event.Seq
		s.store(event, key)
	}
	return len(batch), duplicates, nil
}

func (s *Server) store(event stored, key [2]string) {
	switch s.unique {
	case s.Mutants.Lose:
		return
	case s.Mutants.Twice:
		s.events = append(s.events, event)
		event.Seq++
	case s.Mutants.Change:
		event.Payload = jsontext.Value(strings.Replace(string(event.Payload), `"message":"`, `"message":"_`, 1))
	case s.Mutants.Forget:
		delete(s.seqs, key)
	}
	s.events = append(s.events, event)
	if n := len(s.events); s.unique == s.Mutants.SwapOrder+1 && n > 1 && s.Mutants.SwapOrder > 0 {
		s.events[n-1], s.events[n-2] = s.events[n-2], s.events[n-1]
	}
}

// topics is the list of /stats.
func (s *Server) topics() string {
	counts := map[string]int{}
	for _, e := range s.events {
		counts[e.Topic]++
	}
	var list []string
	for name, n := range counts {
		list = append(list, fmt.Sprintf(`{"name":%q,"events":%d}`, name, n))
	}
	return "[" + strings.Join(list, ",") + "]"
}

// chosen says that a query asks for the event.
func (e stored) chosen(query url.Values) bool {
	since, _ := time.Parse(time.RFC3339Nano, query.Get("since"))
	until, _ := time.Parse(time.RFC3339Nano, query.Get("until"))
	received, _ := time.Parse(time.RFC3339Nano, e.ReceivedAt)
	return (!query.Has("topic") || e.Topic == query.Get("topic")) && !received.Before(since) &&
		(!query.Has("until") || received.Before(until))
}

// page answers with JSON.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after, _ := strconv.ParseUint(query.Get("after"), 10, 64)
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 {
		limit = 1000 // as the contract says
	}
	page := struct {
		Events []stored `json:"events"`
		Next   *uint64  `json:"next_after"`
	}{Events: []stored{}}
	for _, e := range s.events {
		if e.Seq <= after || !e.chosen(query) {
			continue
		}
		if len(page.Events) == limit {
			page.Next = &page.Events[limit-1].Seq
			break
		}
		page.Events = append(page.Events, e)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.MarshalWrite(w, page) // a reader that has gone
}

// stream gives what there is, and ends.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	for _, e := range s.events {
		if e.Seq > after && e.chosen(r.URL.Query()) {
			text, _ := json.Marshal(e) // of strings and numbers
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", e.Seq, text)
		}
	}
}

func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "ndjson") {
		s.page(w, r)
		return
	}
	after, _ := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	w.Header().Set("Content-Type", "application/x-ndjson")
	given := 0
	for _, event := range s.events {
		if event.Seq <= after {
			continue
		}
		if s.BreakExportEvery > 0 {
			w.(http.Flusher).Flush() // what was given before the break arrives
		}
		if given++; s.BreakExportEvery > 0 && given > s.BreakExportEvery {
			panic(http.ErrAbortHandler) // closes the connection in the middle of the answer
		}
		if err := json.MarshalWrite(w, event); err != nil {
			return
		}
		fmt.Fprintln(w)
	}
}

// statsOf answers with what is of shown, while more events wait.
func (s *Server) statsOf(w http.ResponseWriter, shown *Server, wait uint64) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"received":%d,"unique_processed":%d,"duplicate_dropped":%d,"rejected":0,"queue_depth":%d,"queue_bytes":0,`+
		`"topics":%s,"uptime_seconds":%.3f,"started_at":%q,"version":"memory","ack":"journal","ready":true,"last_seq":%d,"commits":%d,`+
		`"journal_syncs":%d,"journal_bytes":0,"backlog_bytes":0,"failed_commits":0,"allocated_bytes":0,`+
		`"store":{"dedup":"map","sqlite_version":"","journal_mode":"","synchronous":"","page_size":0,"db_bytes":0,"wal_bytes":0},`+
		`"histograms":{"processing_latency_us":[[100,%d]],"commit_us":[],"journal_sync_us":[],"batch_events":[]}}`,
		shown.received+wait, shown.unique, shown.duplicates, wait, shown.topics(), time.Since(s.started).Seconds(),
		s.started.UTC().Format(time.RFC3339Nano), shown.received, shown.received, shown.requests, shown.received)
}

// Stored is the number of events that an export gives.
func (s *Server) Stored() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}
