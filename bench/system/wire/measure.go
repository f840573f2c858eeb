package wire

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// The shortest of so many round trips is the network's: what the machine adds is not in all.
	roundTrips = 5
	// senders fill the network together: one alone would be held back by its own window.
	senders = 8
	// They get so long to fill it, and tripsToFill round trips more: TCP begins slowly.
	fillTime    = 200 * time.Millisecond
	tripsToFill = 10
	// measureTime is how long is counted what arrives.
	measureTime = 500 * time.Millisecond
)

// Measured is what a network does.
type Measured struct {
	RTT      time.Duration
	MbitPerS float64 // from publishers to the aggregator, without the headers of packets; 0: there is no limit
}

// Measure takes a second or so.
func (w *Wire) Measure(ctx context.Context) (m Measured, err error) {
	if m.RTT, err = w.roundTrip(ctx); err != nil || w.limit.MbitPerS == 0 {
		return m, err
	}
	m.MbitPerS, err = w.fill(ctx)
	return m, err
}

// roundTrip is how long a byte takes there and back.
func (w *Wire) roundTrip(ctx context.Context) (shortest time.Duration, err error) {
	listener, err := w.listen()
	if err != nil {
		return 0, err
	}
	var answering sync.WaitGroup
	defer answering.Wait()
	defer listener.Close()
	answering.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(dialTimeout))
		_, _ = io.Copy(conn, conn) // until the asker ends it
	})
	conn, err := w.Dial(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return 0, fmt.Errorf("wire: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	for range roundTrips {
		began := time.Now()
		if _, err = conn.Write([]byte{0}); err == nil {
			_, err = io.ReadFull(conn, make([]byte, 1))
		}
		if err != nil {
			return 0, fmt.Errorf("wire: %w", err)
		}
		if took := time.Since(began); shortest == 0 || took < shortest {
			shortest = took
		}
	}
	return shortest, nil
}

// fill sends as much as passes, and says how many million bits a second that is.
func (w *Wire) fill(ctx context.Context) (mbitPerS float64, err error) {
	listener, err := w.listen()
	if err != nil {
		return 0, err
	}
	var running sync.WaitGroup
	var arrived atomic.Int64
	defer running.Wait()
	defer listener.Close()
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				// Until the sender ends it, with an error. The packet that says so may be lost.
				_ = conn.SetDeadline(time.Now().Add(dialTimeout + fillTime + tripsToFill*w.limit.RTT + measureTime))
				_, _ = io.Copy(counter{&arrived}, conn)
			})
		}
	})
	for range senders {
		conn, err := w.Dial(ctx, "tcp", listener.Addr().String())
		if err != nil {
			return 0, fmt.Errorf("wire: %w", err)
		}
		defer conn.Close()
		_ = conn.(*net.TCPConn).SetLinger(0)                 // what is not sent yet at the end is not sent
		running.Go(func() { _, _ = io.Copy(conn, zeros{}) }) // until it is closed
	}
	if !wait(ctx, fillTime+tripsToFill*w.limit.RTT) {
		return 0, ctx.Err()
	}
	before, began := arrived.Load(), time.Now()
	if !wait(ctx, measureTime) {
		return 0, ctx.Err()
	}
	return float64(arrived.Load()-before) * 8 / 1e6 / time.Since(began).Seconds(), nil
}

// listen is at this end.
func (w *Wire) listen() (net.Listener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(w.host, "0"))
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	return listener, nil
}

// wait is false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// counter counts bytes.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
