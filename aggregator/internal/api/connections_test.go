package api

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
)

// TestEvictedIsWhoKeepsWaiting: a connection that was idle for long and has just begun a request is
// not the one that has kept the server waiting longest: it goes after a body that has been on its
// way for longer, and before evictAfter not at all.
func TestEvictedIsWhoKeepsWaiting(t *testing.T) {
	s := connections{open: map[*connection]struct{}{}, most: maxConnections}
	client := func() *connection {
		here, there := net.Pipe()
		t.Cleanup(func() { there.Close() })
		return s.add(here)
	}
	idled, slow := client(), client()
	waits := func(c *connection, since time.Duration) { c.since.Store(int64(sinceStart() - since)) }
	open := func(c *connection) bool { _, is := s.open[c]; return is }
	track(idled, fasthttp.StateActive)
	track(idled, fasthttp.StateIdle)
	waits(idled, time.Minute)
	track(slow, fasthttp.StateActive)
	receiveBody(slow)
	waits(slow, 2*evictAfter)
	track(idled, fasthttp.StateActive)
	receiveBody(idled)
	s.evictBody()
	if !open(idled) || open(slow) {
		t.Fatal("the body that had just begun was cut off, and not the slow one")
	}
	if s.evictBody(); !open(idled) {
		t.Fatal("a body that had just begun was cut off")
	}
	waits(idled, 2*evictAfter)
	if s.evictBody(); open(idled) {
		t.Fatal("a slow body was not cut off")
	}
}

// TestMostConnections: streams beyond the usual bound take no place of others.
func TestMostConnections(t *testing.T) {
	for streams, want := range map[int]int{1: maxConnections, DefaultMaxStreams: maxConnections, 1000: maxConnections + 1000 - DefaultMaxStreams} {
		if most := mostConnections(streams); most != want {
			t.Errorf("%d streams: %d connections, want %d", streams, most, want)
		}
	}
}

// TestRefusedConnectionsAreCounted: who finds all places taken is told so, and counted. No handler
// sees them.
func TestRefusedConnectionsAreCounted(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a := New(Config{MaxBodyBytes: 1 << 20}, nil, nil, slog.New(slog.DiscardHandler))
	a.conns.most = 1
	taken := make(chan net.Conn, 1)
	go func() {
		for l := (listener{ln, &a.conns}); ; {
			c, err := l.Accept()
			if err != nil {
				return
			}
			taken <- c
		}
	}()
	first, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	defer (<-taken).Close()
	for range 2 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 503 ") {
			t.Errorf("%q, %v", text, err)
		}
		c.Close()
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(a)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sekali_refused_connections_total" {
			if n := f.GetMetric()[0].GetCounter().GetValue(); n != 2 {
				t.Errorf("%v connections were refused, want 2", n)
			}
			return
		}
	}
	t.Error("refused connections are in no metric")
}
