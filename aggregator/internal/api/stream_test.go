package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekali/aggregator/journal"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// life is an aggregator from its start to its stop.
type life struct {
	s     *store.Store
	j     *journal.Journal
	p     *pipeline.Pipeline
	a     *Server
	ended chan error
	url   string
}

func begin(t *testing.T, dir string, retention time.Duration) *life {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, state, err := store.Open(dir, store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	j, backlog, err := journal.Open(dir+"/journal", state.Journal)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := pipeline.Config{QueueEvents: 1000, QueueBytes: 64 << 20, BacklogBytes: 64 << 20, BatchEvents: 100, Retention: retention}
	p := pipeline.New(cfg, s, j, state, backlog, log)
	l := &life{s, j, p, New(Config{Ack: pipeline.Store, MaxBodyBytes: 1 << 20}, p, s, log), make(chan error, 3), "http://" + ln.Addr().String()}
	go func() { l.ended <- p.RunCommitter(context.Background()) }()
	go func() { l.ended <- p.RunWriter(context.Background()) }()
	go func() { l.ended <- l.a.Serve(ln, nil) }()
	return l
}

func (l *life) end(t *testing.T) {
	t.Helper()
	l.p.Close()
	if err := l.a.Shutdown(20 * time.Second); err != nil {
		t.Error(err)
	}
	for range cap(l.ended) {
		if err := <-l.ended; err != nil {
			t.Error(err)
		}
	}
	if err := l.s.Close(); err != nil {
		t.Error(err)
	}
	if err := l.j.Close(); err != nil {
		t.Error(err)
	}
}

// streamed is what a stream's reader sees of an event.
type streamed struct {
	Seq   int64  `json:"seq"`
	Topic string `json:"topic"`
	ID    string `json:"event_id"`
}

// streamReader reads a stream until it is done, and goes on where it was when it is cut off.
type streamReader struct {
	topic string
	begin int64
	url   *atomic.Pointer[string]

	mu   sync.Mutex // guards got
	got  []streamed
	last string
}

func (r *streamReader) run(ctx context.Context, t *testing.T) {
	r.last = fmt.Sprint(r.begin)
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		target := *r.url.Load() + "/events/stream"
		if r.topic != "" {
			target += "?topic=" + r.topic
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("Last-Event-ID", r.last)
		if answer, err := http.DefaultClient.Do(request); err == nil {
			if answer.StatusCode == http.StatusOK {
				r.take(t, bufio.NewScanner(answer.Body))
			}
			answer.Body.Close()
		}
	}
}

// take reads frames until the stream ends.
func (r *streamReader) take(t *testing.T, lines *bufio.Scanner) {
	id := ""
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = text
		}
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e streamed
			if err := json.Unmarshal([]byte(text), &e); err != nil || strconv.FormatInt(e.Seq, 10) != id {
				t.Errorf("id %s: %s: %v", id, text, err)
			}
			r.mu.Lock()
			r.got = append(r.got, e)
			r.mu.Unlock()
		}
		if lines.Text() == "" { // the frame is whole
			r.last = id
		}
	}
}

// has reports whether the reader has come to an event.
func (r *streamReader) has(seq int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got) > 0 && r.got[len(r.got)-1].Seq == seq
}

// check compares what the reader got with all that was stored: only what has expired may be
// missing.
func (r *streamReader) check(t *testing.T, all []streamed, expired int64) (missing int) {
	t.Helper()
	got := r.got
	for _, e := range all {
		switch {
		case e.Seq <= r.begin || r.topic != "" && e.Topic != r.topic:
		case len(got) > 0 && got[0] == e:
			got = got[1:]
		case e.Seq > expired:
			t.Fatalf("reader of %q from %d has not %+v, but %d more from %+v on", r.topic, r.begin, e, len(got), got[:min(len(got), 1)])
		default:
			missing++
		}
	}
	if len(got) > 0 {
		t.Fatalf("reader of %q from %d has %d events too many, from %+v on", r.topic, r.begin, len(got), got[0])
	}
	return missing
}

// TestStreamsAgainstAList: readers at random places each get every event of their topic once and in
// order, while events come and expire and the aggregator is started anew. What had expired before
// it was read is missing, and nothing else is.
func TestStreamsAgainstAList(t *testing.T) {
	const topics, rounds, retention = 4, 12, 500 * time.Millisecond
	seed := time.Now().UnixNano()
	t.Log("seed", seed)
	random := rand.New(rand.NewSource(seed))
	dir := t.TempDir()
	l := begin(t, dir, retention)
	var url atomic.Pointer[string]
	url.Store(&l.url)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer func() { cancel(); running.Wait() }()
	var readers []*streamReader
	var all []streamed
	publish := func(of func(i int) string, n int) {
		var body strings.Builder
		for i := range n {
			e := streamed{int64(len(all) + 1), of(i), fmt.Sprint(len(all))}
			fmt.Fprintf(&body, `{"topic":%q,"event_id":%q,"timestamp":"2026-11-23T06:41:10Z"}`+"\n", e.Topic, e.ID)
			all = append(all, e)
		}
		answer, err := http.Post(l.url+"/publish?ack=store", "application/x-ndjson", strings.NewReader(body.String()))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatal(answer.Status)
		}
	}
	topic := func(i int) string { return fmt.Sprint("t", i%topics) }
	for round := range rounds {
		for range 3 {
			r := &streamReader{begin: random.Int63n(int64(len(all) + 1)), url: &url}
			if n := random.Intn(topics + 2); n < topics {
				r.topic = topic(n)
			}
			readers = append(readers, r)
			running.Go(func() { r.run(ctx, t) })
		}
		for range 10 {
			publish(func(int) string { return topic(random.Intn(1 + random.Intn(topics))) }, 1+random.Intn(60))
			time.Sleep(time.Duration(random.Intn(20)) * time.Millisecond)
		}
		if round%4 == 3 {
			l.end(t)
			if round == rounds-1 { // nothing expires that readers are waited for with
				l = begin(t, dir, 0)
			} else {
				l = begin(t, dir, retention)
			}
			url.Store(&l.url)
		}
	}
	publish(topic, topics)
	end := int64(len(all))
	for _, r := range readers {
		last := end
		if r.topic != "" {
			last = end - topics + 1 + int64(r.topic[1]-'0')
		}
		for began := time.Now(); !r.has(last); time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("reader of %q from %d does not come to %d", r.topic, r.begin, last)
			}
		}
	}
	cancel()
	running.Wait()
	state := l.p.Counters()
	missing := 0
	for _, r := range readers {
		missing += r.check(t, all, state.ExpiredSeq)
	}
	if state.Expired == 0 || missing == 0 {
		t.Errorf("%d events expired, %d were missing for it: nothing was tried", state.Expired, missing)
	}
	l.end(t)
}
