package api

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// deadlineConn sets the runtime's timers late. fasthttp sets four deadlines for each request, which
// takes as long as to decode a small one, and nearly none is ever waited for. So a deadline is
// noted, and the runtime is told of it where a read or write would end too late without; where it
// ends too early, the time that is left is asked for then. One that becomes earlier counts from the
// next read or write on.
type deadlineConn struct {
	net.Conn
	read, write deadline
}

// deadline is of one direction. Both times are since processStart, none is 0.
type deadline struct {
	wanted, armed atomic.Int64
}

var processStart = time.Now()

// sinceStart is a time that no clock's jump moves, and cheaper than a time.Time.
func sinceStart() time.Duration { return time.Since(processStart) }

func (d *deadline) note(t time.Time) error {
	if t.IsZero() {
		d.wanted.Store(0)
	} else {
		d.wanted.Store(int64(max(t.Sub(processStart), 1)))
	}
	return nil // a connection that is closed says so at the next read or write
}

// arm has the runtime end what begins now, as late as is wanted or earlier.
func (d *deadline) arm(set func(time.Time) error) error {
	wanted, armed := d.wanted.Load(), d.armed.Load()
	if wanted == 0 || armed != 0 && armed <= wanted {
		return nil
	}
	return d.set(wanted, set)
}

// renew reports that an operation was ended too early, and may go on.
func (d *deadline) renew(err error, set func(time.Time) error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	wanted := d.wanted.Load()
	return (wanted == 0 || wanted > d.armed.Load()) && d.set(wanted, set) == nil
}

func (d *deadline) set(wanted int64, set func(time.Time) error) error {
	d.armed.Store(wanted)
	if wanted == 0 {
		return set(time.Time{})
	}
	return set(processStart.Add(time.Duration(wanted)))
}

func (c *deadlineConn) SetReadDeadline(t time.Time) error  { return c.read.note(t) }
func (c *deadlineConn) SetWriteDeadline(t time.Time) error { return c.write.note(t) }
func (c *deadlineConn) SetDeadline(t time.Time) error {
	return errors.Join(c.read.note(t), c.write.note(t))
}

func (c *deadlineConn) Read(b []byte) (n int, err error) {
	if err := c.read.arm(c.Conn.SetReadDeadline); err != nil {
		return 0, err
	}
	for {
		n, err = c.Conn.Read(b)
		if err == nil || n > 0 || !c.read.renew(err, c.Conn.SetReadDeadline) {
			return n, err
		}
	}
}

func (c *deadlineConn) Write(b []byte) (written int, err error) {
	if err := c.write.arm(c.Conn.SetWriteDeadline); err != nil {
		return 0, err
	}
	for {
		n, err := c.Conn.Write(b[written:])
		written += n
		if err == nil || !c.write.renew(err, c.Conn.SetWriteDeadline) {
			return written, err
		}
	}
}

// deadlineListener accepts such connections. TLS lies above them, for it takes no write that went
// on after its time.
type deadlineListener struct{ net.Listener }

func (l deadlineListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // fails only with the connection
	}
	return &deadlineConn{Conn: c}, nil
}
