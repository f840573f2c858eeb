// Package logs writes a log to where it may not be taken: to a pipe that nobody reads or whose
// reader is gone, a terminal that stands still, a full disk. None of them may hold up who logs.
package logs

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// queued is how many lines wait for a slow reader; those beyond are dropped and counted.
	queued = 1024
	// closeBudget is how long Close waits until what is queued is written.
	closeBudget = time.Second
)

// Writer hands lines to a goroutine of its own. Write never waits and never fails.
type Writer struct {
	lines chan []byte
	done  chan struct{} // closed when all is written

	mu      sync.Mutex
	dropped int // since the last line that was queued
	closed  bool
}

// NewWriter returns a Writer to w, which the caller closes.
func NewWriter(w io.Writer) *Writer {
	l := &Writer{lines: make(chan []byte, queued), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for line := range l.lines {
			_, _ = w.Write(line) // there is nobody who could be told
		}
	}()
	return l
}

// Write queues a copy of p, or drops it.
func (l *Writer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return len(p), nil
	}
	line := bytes.Clone(p)
	if l.dropped > 0 {
		line = append(fmt.Appendf(nil, `{"time":%q,"level":"WARN","msg":"log lines were dropped: nobody took them","lines":%d}`+"\n",
			time.Now().Format(time.RFC3339Nano), l.dropped), line...)
	}
	select {
	case l.lines <- line:
		l.dropped = 0
	default:
		l.dropped++
	}
	return len(p), nil
}

// Close gives what is queued a second to be written. Where nobody reads, the goroutine stays in its
// write.
func (l *Writer) Close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.lines)
	}
	l.mu.Unlock()
	timer := time.NewTimer(closeBudget)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
	}
}
