package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
	"sekali/aggregator/journal"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

// serveNode serves the only node of a cluster whose log is in memory, until the test ends.
func serveNode(t *testing.T, log *memorylog.Log) (url string, p *pipeline.Pipeline) {
	t.Helper()
	dir, quiet := t.TempDir(), slog.New(slog.DiscardHandler)
	s, state, err := store.Open(dir, store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	j, backlog, err := journal.Open(filepath.Join(dir, "journal"), state.Journal)
	if err != nil {
		t.Fatal(err)
	}
	cfg := cluster.Config{Name: "a", Log: log, Registry: log.Registry(), MaxLag: 5 * time.Second, Journal: j, Logger: quiet}
	err = s.Change(func(c *sqlite.Conn) (err error) {
		if err = cluster.MakeReplica(c, log.Identity(), cluster.ApplyVersion); err == nil {
			cfg.Replica, cfg.Cursor, err = cluster.OpenReplica(c)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p = pipeline.New(pipeline.Config{QueueEvents: 1000, QueueBytes: 64 << 20, BacklogBytes: 64 << 20, BatchEvents: 100, Node: cluster.Open(cfg, nil)}, s, j, state, backlog, quiet)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{Ack: pipeline.Replicated, MaxBodyBytes: 1 << 20}, p, s, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	parts := []func(context.Context) error{p.RunCommitter, p.RunWriter, p.RunNode, func(context.Context) error { return a.Serve(ln, nil) }}
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() { ended <- part(ctx) }()
	}
	t.Cleanup(func() {
		p.Close()
		err := a.Shutdown(5 * time.Second)
		cancel()
		for range parts {
			err = errors.Join(err, <-ended)
		}
		if err = errors.Join(err, s.Close(), j.Close()); err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String(), p
}

// TestPositions: answers carry their position; a reader waits for one, and a place of another epoch
// is refused, whether a request has it or a stream's id; what a halted replica shows is marked.
func TestPositions(t *testing.T) {
	log := memorylog.New("a")
	url, p := serveNode(t, log)
	do := func(method, path, body, id string) (status int, text string, header http.Header) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		if id != "" {
			request.Header.Set("Last-Event-ID", id)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.Header.Get("Content-Type") == "text/event-stream" {
			text := make([]byte, 4<<10)
			n, _ := io.ReadAtLeast(answer.Body, text, len("retry: 1000\nid: 1-0\n\nid: 1-1\ndata:"))
			return answer.StatusCode, string(text[:n]), answer.Header
		}
		all, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(all), answer.Header
	}
	for end := time.Now().Add(10 * time.Second); p.Ready(pipeline.Replicated) != nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	status, text, header := do("POST", "/publish", `{"topic":"t","event_id":"1","timestamp":"2026-11-23T06:41:10Z"}`, "")
	if status != 202 || !strings.Contains(text, `"position":"1-1"`) || header.Get(positionHeader) != "1-1" {
		t.Fatal(status, text, header)
	}
	for _, c := range []struct {
		path, id string
		status   int
		says     string
	}{
		{"/events?min_position=1-1", "", 200, `"event_id":"1"`},
		{"/events?min_position=1-1&after=1-0", "", 200, `"event_id":"1"`},
		{"/events?after=1-1", "", 200, `"events":[]`},
		{"/events?after=1-9", "", 503, "lagging"},
		{"/events/stream", "1-9", 503, "lagging"},
		{"/events?after=9", "", 409, "cursor_beyond_end"},
		{"/events?after=2-0", "", 409, "epoch_changed"},
		{"/events?after=1-x", "", 400, "after="},
		{"/events?after=-1", "", 400, "after="},
		{"/events?after=1-1&after=1-0", "", 400, "twice"},
		{"/events?min_position=2-1", "", 409, "epoch_changed"},
		{"/events?min_position=1", "", 400, "min_position="},
		{"/events?min_position=1-9", "", 503, "lagging"},
		{"/stats?min_position=1-1", "", 200, `"position":1`},
		{"/events/stream?after=0", "", 200, "id: 1-1\ndata: "},
		{"/events/stream", "1-0", 200, "id: 1-1\ndata: "},
		{"/events/stream", "0-1", 409, "epoch_changed"},
		{"/events/stream", "2-1", 409, "epoch_changed"},
	} {
		status, text, header := do("GET", c.path, "", c.id)
		if status != c.status || !strings.Contains(text, c.says) || status == 200 && header.Get(positionHeader) != "1-1" || header.Get(staleHeader) != "" {
			t.Errorf("%s %s: %d %s %v, want %d %s", c.path, c.id, status, text, header, c.status, c.says)
		}
	}
	// A reader who comes from a replica that is ahead by a moment is kept waiting, not sent away.
	behind := make(chan string, 1)
	go func() {
		status, text, _ := do("GET", "/events?after=1-2", "", "")
		behind <- fmt.Sprint(status, text)
	}()
	time.Sleep(100 * time.Millisecond)
	select {
	case early := <-behind:
		t.Errorf("a cursor that this replica has not come to: %s, want a wait", early)
	default:
	}
	do("POST", "/publish", `{"topic":"t","event_id":"2","timestamp":"2026-11-23T06:41:10Z"}`, "")
	if text := <-behind; !strings.HasPrefix(text, "200") || !strings.Contains(text, `"events":[]`) {
		t.Errorf("a cursor that this replica then came to: %s", text)
	}
	log.Put([]byte("poison"))
	for end := time.Now().Add(10 * time.Second); p.Node().Halted() == nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if status, text, header := do("GET", "/events", "", ""); status != 200 || !strings.Contains(text, `"event_id":"1"`) || header.Get(staleHeader) != "true" {
		t.Errorf("a halted replica shows %d %s %v", status, text, header)
	}
	if status, text, _ := do("GET", "/events?min_position=1-3", "", ""); status != 503 || !strings.Contains(text, `"halted"`) {
		t.Errorf("a position that a halted replica does not come to: %d %s", status, text)
	}
	for _, c := range []struct{ path, id string }{{"/events?after=1-9", ""}, {"/events?after=9", ""}, {"/events/stream", "1-9"}} {
		if status, text, _ := do("GET", c.path, "", c.id); status != 503 || !strings.Contains(text, `"halted"`) {
			t.Errorf("%s %s, to which a halted replica does not come: %d %s", c.path, c.id, status, text)
		}
	}
	if status, text, _ := do("GET", "/readyz", "", ""); status != 503 || !strings.Contains(text, "halted") {
		t.Errorf("/readyz of a halted replica: %d %s", status, text)
	}
}
