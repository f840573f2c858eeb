package attack

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxFirstAnswers bounds the connections whose first answers are kept.
	maxFirstAnswers = 10_000
	// A later answer that took slowAnswer is kept, up to maxSlowAnswers of them.
	slowAnswer     = 20 * time.Millisecond
	maxSlowAnswers = 10_000
)

// Connections is what the attack saw of the connections that it opened. Who keeps them meets a
// server's slow beginnings in the warm-up alone, which is not measured.
type Connections struct {
	Opened uint64
	First  []Wait // those that were answered
	Slow   []Wait // later answers on the same connections, of those that took long
}

// Wait is from the first byte written of a request to the first byte of its answer, by one clock.
type Wait struct{ Begun, Done time.Duration }

func (w Wait) took() time.Duration { return w.Done - w.Begun }

// Median of what the first answers took beyond the others of their time, 0 if there are none. Under
// an open load a connection is opened when all others wait. What they waited for is no slowness of
// its own.
func (c Connections) Median() time.Duration {
	if len(c.First) == 0 {
		return 0
	}
	own := make([]time.Duration, len(c.First))
	for i, first := range c.First {
		var longest time.Duration
		for _, other := range c.Slow {
			if other.Begun < first.Done && first.Begun < other.Done {
				longest = max(longest, other.took())
			}
		}
		own[i] = max(0, first.took()-longest)
	}
	slices.Sort(own)
	return own[len(own)/2]
}

// dialer opens connections and times the answers on each.
type dialer struct {
	open func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	seen Connections
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.open(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen.Opened++
	return &timedConn{Conn: conn, dialer: d}, nil
}

func (d *dialer) answered(w Wait, first bool) {
	if !first && w.took() < slowAnswer {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case first && len(d.seen.First) < maxFirstAnswers:
		d.seen.First = append(d.seen.First, w)
	case !first && len(d.seen.Slow) < maxSlowAnswers:
		d.seen.Slow = append(d.seen.Slow, w)
	}
}

func (d *dialer) connections() Connections {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Connections{d.seen.Opened, slices.Clone(d.seen.First), slices.Clone(d.seen.Slow)}
}

// timedConn tells the dialer of each answer. One goroutine writes and another reads, as net/http
// has it.
type timedConn struct {
	net.Conn
	dialer *dialer
	begun  atomic.Int64 // nanoseconds of a request's first write; 0: none is under way
	later  bool         // the first has been answered; of the goroutine that reads
}

var zero = time.Now() // of begun

func (c *timedConn) begin() { c.begun.CompareAndSwap(0, int64(time.Since(zero))) }

func (c *timedConn) Write(p []byte) (int, error) {
	c.begin()
	return c.Conn.Write(p)
}

// ReadFrom keeps the way in which a TCP connection takes a body.
func (c *timedConn) ReadFrom(r io.Reader) (int64, error) {
	c.begin()
	return io.Copy(c.Conn, r)
}

func (c *timedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 {
		return n, err
	}
	if begun := c.begun.Swap(0); begun > 0 {
		c.dialer.answered(Wait{time.Duration(begun), time.Since(zero)}, !c.later)
		c.later = true
	}
	return n, err
}
