package api

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// maxConnections bounds the connections served at one time, DefaultMaxStreams streams among them.
	maxConnections = 512
	// evictAfter is how long a connection may keep the server waiting, for a request or for the rest
	// of one, while others want its place. Before that the newcomer is refused: neighbours that all
	// work must not push each other out.
	evictAfter = time.Second
	// sendBuffer bounds what the kernel keeps of answers that a client does not read. Left alone it
	// grows to megabytes a connection, and a client that reads nothing is served until they are full.
	sendBuffer = 128 << 10
	// refusalBudget bounds the answer to a connection that is refused; the kernel's buffer takes it at
	// once.
	refusalBudget = 100 * time.Millisecond
)

// phase is what a connection is at.
type phase int

const (
	idle      phase = iota // nothing of a request has come
	receiving              // a part of a request has come
	serving                // the request is complete
)

// connection is one client's. fasthttp reads and writes it in one goroutine; connections.mu guards
// phase, since and body.
type connection struct {
	net.Conn
	phase phase
	since time.Time // when the server began to wait, for a request or for the rest of one; while it serves, without meaning
	body  bool      // it holds a part of the bodies' budget

	writing     atomic.Pointer[time.Time] // when the write under way began; nil: there is none
	requestLine requestLine               // its goroutine's alone
}

// Write notes since when the server waits for the client to read.
func (c *connection) Write(b []byte) (int, error) {
	now := time.Now()
	c.writing.Store(&now)
	defer c.writing.Store(nil)
	return c.Conn.Write(b)
}

// Read looks at the request's line before fasthttp does.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.requestLine.look(b[:n])
	return n, err
}

// waiting is since when the client keeps the server waiting, for a request, for the rest of one, or
// until it reads; false: it does not. connections.mu is held.
func (c *connection) waiting() (time.Time, bool) {
	if c.phase != serving {
		return c.since, true
	}
	if began := c.writing.Load(); began != nil {
		return *began, true
	}
	return time.Time{}, false
}

// connections knows what every connection is at: those that wait longest make room for others, and
// those that wait for a request need not hold up a stop.
type connections struct {
	mu     sync.Mutex
	open   map[net.Conn]*connection
	most   int // that may be open
	closed bool
}

// mostConnections leaves as many connections to others, however many streams there may be.
func mostConnections(streams int) int {
	return maxConnections + max(0, streams-DefaultMaxStreams)
}

// add takes a connection that was accepted, in the place of one that waits if there is no other;
// nil: it cannot.
func (s *connections) add(accepted net.Conn) *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= s.most && !s.evict(func(*connection) bool { return true }) {
		return nil
	}
	c := &connection{Conn: accepted, since: time.Now()}
	s.open[c] = c
	return c
}

// evictBody closes the connection whose body has been on its way longest.
func (s *connections) evictBody() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict(func(c *connection) bool { return c.body })
}

// evict closes the connection that keeps the server waiting longest, if it has for evictAfter. The
// caller holds mu.
func (s *connections) evict(candidate func(*connection) bool) bool {
	var oldest net.Conn
	since := time.Now().Add(-evictAfter)
	for c, is := range s.open {
		if began, waits := is.waiting(); waits && candidate(is) && began.Before(since) {
			oldest, since = c, began
		}
	}
	if oldest == nil {
		return false
	}
	delete(s.open, oldest)
	go oldest.Close() // over TLS it says goodbye first, which may take seconds
	return true
}

// Connections returns the number of clients' connections.
func (a *Server) Connections() int {
	a.conns.mu.Lock()
	defer a.conns.mu.Unlock()
	return len(a.conns.open)
}

// track is the server's ConnState hook.
func (s *connections) track(c net.Conn, state fasthttp.ConnState) {
	if own, ok := c.(*connection); ok {
		own.requestLine.track(state)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.open[c]
	if is == nil {
		return // evicted
	}
	switch state {
	case fasthttp.StateActive:
		is.phase, is.since, is.body = receiving, time.Now(), false
	case fasthttp.StateIdle:
		if s.closed {
			go c.Close()
		}
		is.phase, is.since = idle, time.Now()
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		delete(s.open, c)
	}
}

// receive says that c's body is about to be read, serve that its request is complete.
func (s *connections) receive(c net.Conn) { s.set(c, receiving, true) }
func (s *connections) serve(c net.Conn)   { s.set(c, serving, false) }

func (s *connections) set(c net.Conn, p phase, body bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if is := s.open[c]; is != nil {
		is.phase, is.body = p, body
	}
}

// close closes those that are idle, and from now on every one that becomes so.
func (s *connections) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c, is := range s.open {
		if is.phase == idle {
			go c.Close()
		}
	}
}

// listener accepts as many connections as may be served, and tells the others so.
type listener struct {
	net.Listener
	connections *connections
}

func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if tcp, ok := underTLS(c).(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(sendBuffer) // fails only with the connection
		}
		if taken := l.connections.add(c); taken != nil {
			return taken, nil
		}
		if _, secure := c.(*tls.Conn); !secure { // a handshake would keep the others waiting
			_ = c.SetWriteDeadline(time.Now().Add(refusalBudget)) // fails only with the connection
			_, _ = c.Write(refusal(l.connections.most))
		}
		c.Close()
	}
}

func underTLS(c net.Conn) net.Conn {
	if secure, ok := c.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c
}

// refusal answers a connection beyond the bound, whatever it asks.
func refusal(most int) []byte {
	body := problemBody(fasthttp.StatusServiceUnavailable, "busy", fmt.Sprintf("%d connections are open, that is the most", most))
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nConnection: close\r\nRetry-After: " +
		strconv.Itoa(retryAfterSeconds) + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n")
	b.Write(body)
	return b.Bytes()
}
