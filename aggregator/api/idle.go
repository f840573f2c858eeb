package api

import (
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// idleConns knows the connections that wait for a request, so that they need not hold
// up a stop: fasthttp itself leaves an idle connection some seconds.
type idleConns struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// track is the server's ConnState hook.
func (i *idleConns) track(c net.Conn, state fasthttp.ConnState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch waits := state == fasthttp.StateNew || state == fasthttp.StateIdle; {
	case !waits:
		delete(i.conns, c)
	case i.closed:
		c.Close()
	default:
		if i.conns == nil {
			i.conns = map[net.Conn]struct{}{}
		}
		i.conns[c] = struct{}{}
	}
}

// close closes them, and from now on every connection that becomes idle.
func (i *idleConns) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	for c := range i.conns {
		c.Close()
	}
}
