package api

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// countedConn counts how often the runtime is told of a deadline.
type countedConn struct {
	net.Conn
	told int
}

func (c *countedConn) SetReadDeadline(t time.Time) error {
	c.told++
	return c.Conn.SetReadDeadline(t)
}

func (c *countedConn) SetWriteDeadline(t time.Time) error {
	c.told++
	return c.Conn.SetWriteDeadline(t)
}

// TestDeadlines: a deadline that moves on with each request is told to the runtime once, and a read
// or a write ends when the last one says: not earlier, where the runtime has an earlier one, and
// not later, where it has a later one.
func TestDeadlines(t *testing.T) {
	const (
		short = 100 * time.Millisecond
		long  = time.Hour
	)
	here, there := net.Pipe()
	defer there.Close()
	told := &countedConn{Conn: here}
	c := &deadlineConn{Conn: told}
	defer c.Close()
	b := make([]byte, 1)
	ask := func() {
		t.Helper()
		go there.Write(b)
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	within := func(d time.Duration) time.Time { return time.Now().Add(d) }
	for range 100 {
		c.SetReadDeadline(within(short))
		c.SetReadDeadline(within(long))
		ask()
	}
	if told.told != 1 {
		t.Errorf("the runtime was told of %d deadlines, want 1", told.told)
	}
	ends := func(what string, at time.Time, operation func([]byte) (int, error)) {
		t.Helper()
		n, err := operation(b)
		if late := time.Since(at); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || late < 0 || late > 10*time.Second {
			t.Errorf("%s: %d bytes, %v, %v after its time", what, n, err, late)
		}
	}
	at := within(short)
	c.SetReadDeadline(at)
	ends("a read earlier than the one before", at, c.Read)
	c.SetReadDeadline(within(short))
	ask() // armed for short
	at = within(3 * short)
	c.SetReadDeadline(at)
	ends("a read later than the one before", at, c.Read)
	c.SetReadDeadline(time.Time{})
	ask()

	go io.Copy(io.Discard, io.LimitReader(there, 1))
	c.SetDeadline(within(short))
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	at = within(3 * short)
	c.SetWriteDeadline(at)
	ends("a write later than the one before", at, c.Write)
}
