package api

import (
	"net"
	"testing"
	"time"

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
