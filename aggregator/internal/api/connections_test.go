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
	s := connections{open: map[net.Conn]*connection{}, most: maxConnections}
	client := func() net.Conn {
		here, there := net.Pipe()
		t.Cleanup(func() { there.Close() })
		return s.add(here)
	}
	idled, slow := client(), client()
	s.track(idled, fasthttp.StateActive)
	s.track(idled, fasthttp.StateIdle)
	s.open[idled].since = time.Now().Add(-time.Minute)
	s.track(slow, fasthttp.StateActive)
	s.receive(slow)
	s.open[slow].since = time.Now().Add(-2 * evictAfter)
	s.track(idled, fasthttp.StateActive)
	s.receive(idled)
	s.evictBody()
	if s.open[idled] == nil || s.open[slow] != nil {
		t.Fatal("the body that had just begun was cut off, and not the slow one")
	}
	if s.evictBody(); s.open[idled] == nil {
		t.Fatal("a body that had just begun was cut off")
	}
	s.open[idled].since = time.Now().Add(-2 * evictAfter)
	if s.evictBody(); s.open[idled] != nil {
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
