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

// maxFirstAnswers bounds the connections whose first answers are kept.
const maxFirstAnswers = 10_000

// Connections is what the attack saw of the connections that it opened. Who keeps them meets a
// server's slow beginnings in the warm-up alone, which is not measured.
type Connections struct {
	Opened uint64
	First  []time.Duration // first byte written → first byte answered, of those that were answered
}

// Median of the first answers, 0 if there are none.
func (c Connections) Median() time.Duration {
	if len(c.First) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(c.First))
	return sorted[len(sorted)/2]
}

// dialer opens connections and times the first answer of each.
type dialer struct {
	net.Dialer

	mu   sync.Mutex
	seen Connections
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen.Opened++
	return &timedConn{Conn: conn, first: d.answered}, nil
}

func (d *dialer) answered(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.seen.First) < maxFirstAnswers {
		d.seen.First = append(d.seen.First, took)
	}
}

func (d *dialer) connections() Connections {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Connections{d.seen.Opened, slices.Clone(d.seen.First)}
}

// timedConn calls first once. One goroutine writes and another reads, as net/http has it.
type timedConn struct {
	net.Conn
	first func(time.Duration)
	begun atomic.Int64 // nanoseconds of the first write; -1: it is answered
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
	if begun := c.begun.Load(); n > 0 && begun > 0 && c.begun.CompareAndSwap(begun, -1) {
		c.first(time.Since(zero) - time.Duration(begun))
	}
	return n, err
}
