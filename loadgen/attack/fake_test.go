package attack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

const testEvents = 5 // a request, in these tests

// fake is a server that keeps its own account of what it was sent and did.
type fake struct {
	*httptest.Server
	t testing.TB
	// answer says what to do with the n-th attempt (from 1) of a request.
	answer func(request uint64, n int) reaction

	mu   sync.Mutex
	seen map[uint64][]reaction
}

type reaction string

const (
	accept  reaction = "accept"
	refuse  reaction = "queue_full"
	failing reaction = "disk_failing"
	breakIt reaction = "reset"
	lose    reaction = "timeout" // took it, and never answers
	bug     reaction = "internal"
)

func newFake(t testing.TB, answer func(request uint64, n int) reaction) *fake {
	f := &fake{t: t, answer: answer, seen: make(map[uint64][]reaction)}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, err := strconv.ParseUint(r.Header.Get("Sekali-Request"), 10, 64)
	body, readErr := io.ReadAll(r.Body)
	if err != nil || readErr != nil {
		f.t.Errorf("a request without a number or a body: %v, %v", err, readErr)
	}
	if !bytes.Equal(body, bodyOf(f.t, testStream(f.t), testEvents, request)) {
		f.t.Errorf("request %d carries %s", request, body)
	}
	f.mu.Lock()
	do := f.answer(request, len(f.seen[request])+1)
	f.seen[request] = append(f.seen[request], do)
	f.mu.Unlock()
	switch do {
	case accept:
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"ack":"journal","accepted":%d,"rejected":0}`, testEvents)
	case refuse, failing:
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, `{"code":%q}`, do)
	case bug:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, `{"code":%q}`, do)
	case breakIt:
		c, _, _ := http.NewResponseController(w).Hijack()
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	case lose:
		<-r.Context().Done()
	}
}

// bodyOf is what TestBodyHoldsTheEventsOfItsRequest has proved.
func bodyOf(t testing.TB, s *stream.Stream, events int, request uint64) []byte {
	e, err := newEncoder(Config{Stream: s, EventsPerRequest: events})
	if err != nil {
		t.Fatal(err)
	}
	return e.append(nil, request)
}

// run attacks and gives the summary and the ledger, by request.
func run(t testing.TB, ctx context.Context, c Config) (Summary, map[uint64][]ledger.Attempt, error) {
	t.Helper()
	var file bytes.Buffer
	w := ledger.NewWriter(&file)
	c.Ledger = w
	if c.Stream == nil {
		c.Stream = testStream(t)
	}
	if c.EventsPerRequest == 0 {
		c.EventsPerRequest = testEvents
	}
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	summary, runErr := a.Run(ctx)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	requests := make(map[uint64][]ledger.Attempt)
	for attempt, err := range ledger.Read(&file) {
		if err != nil {
			t.Fatal(err)
		}
		if want := len(requests[attempt.Request]) + 1; attempt.Attempt != want && attempt.Attempt != 0 {
			t.Fatalf("attempt %d of request %d, want %d", attempt.Attempt, attempt.Request, want)
		}
		requests[attempt.Request] = append(requests[attempt.Request], attempt)
	}
	return summary, requests, runErr
}
