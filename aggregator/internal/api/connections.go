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
	// pieceBytes is how much of an answer the kernel is handed at once. It has room for twice as
	// much: while a client reads, no write is under way for long, and who does not read as much in
	// evictAfter may have to make room for others.
	pieceBytes = sendBuffer / 2
	// refusalBudget bounds the answer to a connection that is refused; the kernel's buffer takes it at
	// once.
	refusalBudget = 100 * time.Millisecond
)

// phase is what a connection is at.
type phase = int32

const (
	idle      phase = iota // nothing of a request has come
	receiving              // a part of a request has come
	bodied                 // and it holds a part of the bodies' budget
	serving                // the request is complete
)

// connection is one client's. fasthttp reads and writes it in one goroutine, which alone changes
// what it is at; others look at it.
type connection struct {
	net.Conn
	of *connections

	// Times are since processStart.
	phase   atomic.Int32
	since   atomic.Int64 // when the server began to wait, for a request or for the rest of one; while it serves, without meaning
	writing atomic.Int64 // when the write under way began; 0: there is none
	reads   atomic.Bool  // its request is a GET's, since the last time that it was idle

	// Its goroutine's alone.
	requestLine requestLine
	late        bool // the last read had its time and got nothing
}

// Write notes since when the server waits for the client to read, piece by piece: one who reads all
// the time, of a long page too, keeps it waiting for less than one who has stopped.
func (c *connection) Write(b []byte) (written int, err error) {
	defer c.writing.Store(0)
	for {
		piece := b[written:min(len(b), written+pieceBytes)]
		c.writing.Store(int64(sinceStart()))
		n, err := c.Conn.Write(piece)
		if written += n; err != nil || written == len(b) {
			return written, err
		}
	}
}

// Read looks at the request's line before fasthttp does.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.requestLine.look(b[:n])
	c.late = err != nil && isTimeout(err)
	return n, err
}

// waiting is since when the client keeps the server waiting, for a request, for the rest of one, or
// until it reads; false: it does not.
func (c *connection) waiting() (time.Duration, bool) {
	if c.phase.Load() != serving { // before since, which is stored first
		return time.Duration(c.since.Load()), true
	}
	began := c.writing.Load()
	return time.Duration(began), began != 0
}

// connections knows what every connection is at: those that wait longest make room for others, and
// those that wait for a request need not hold up a stop.
type connections struct {
	closed  atomic.Bool
	refused atomic.Int64 // since the start, for want of a place
	most    int          // that may be open

	mu   sync.Mutex
	open map[*connection]struct{}
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
	c := &connection{Conn: accepted, of: s}
	c.since.Store(int64(sinceStart()))
	s.open[c] = struct{}{}
	return c
}

// evictBody closes the connection whose body has been on its way longest.
func (s *connections) evictBody() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict(func(c *connection) bool { return c.phase.Load() == bodied })
}

// evictUnread closes the connection of the reader that has not read its answer for longest. The
// answer to who publishes stays: its events would only come again.
func (s *connections) evictUnread() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict(func(c *connection) bool { return c.phase.Load() == serving && c.reads.Load() })
}

// evict closes the connection that keeps the server waiting longest, if it has for evictAfter. The
// caller holds mu.
func (s *connections) evict(candidate func(*connection) bool) bool {
	var oldest *connection
	since := sinceStart() - evictAfter
	for c := range s.open {
		if began, waits := c.waiting(); waits && candidate(c) && began < since {
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
func track(c net.Conn, state fasthttp.ConnState) {
	own, ok := c.(*connection)
	if !ok { // as in a test
		return
	}
	own.requestLine.track(state)
	switch state {
	case fasthttp.StateActive:
		own.wait(receiving)
	case fasthttp.StateIdle:
		own.wait(idle)
		if own.reads.Load() {
			own.reads.Store(false)
		}
		if own.of.closed.Load() { // after the phase, as close looks at them the other way round
			go own.Close()
		}
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		own.of.mu.Lock()
		delete(own.of.open, own)
		own.of.mu.Unlock()
	}
}

// wait says that the server waits from now on.
func (c *connection) wait(p phase) {
	c.since.Store(int64(sinceStart()))
	c.phase.Store(p)
}

// serveReader says that c's request is complete, and asks for something to read.
func serveReader(c net.Conn) {
	serve(c)
	if own, ok := c.(*connection); ok {
		own.reads.Store(true)
	}
}

// receiveBody says that c's body is about to be read, serve that its request is complete.
func receiveBody(c net.Conn) { setPhase(c, bodied) }
func serve(c net.Conn)       { setPhase(c, serving) }

func setPhase(c net.Conn, p phase) {
	if own, ok := c.(*connection); ok {
		own.phase.Store(p)
	}
}

// close closes those that are idle, and from now on every one that becomes so.
func (s *connections) close() {
	s.closed.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if c.phase.Load() == idle {
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
		if taken := l.connections.add(c); taken != nil {
			return taken, nil
		}
		l.connections.refused.Add(1)
		if _, secure := c.(*tls.Conn); !secure { // a handshake would keep the others waiting
			_ = c.SetWriteDeadline(time.Now().Add(refusalBudget)) // fails only with the connection
			_, _ = c.Write(refusal(l.connections.most))
		}
		c.Close()
	}
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
