package ledger

import (
	"bufio"
	"compress/gzip"
	"io"
	"strconv"
	"sync"
)

const header = "request,attempt,phase,planned_ns,sent_ns,done_ns,status,cause,accepted,rejected,duplicates,bytes\n"

// maxPending bounds the attempts that wait to be written (about 6 MB). A sender
// that meets it waits for the disk: at the 12 000 requests/s where vegeta ends,
// that is a disk that stood still for 5 s.
const maxPending = 1 << 16

// Writer writes attempts in the order they arrive. Writing costs the caller an
// append under a lock; encoding, compression and disk are a goroutine's.
type Writer struct {
	mu      sync.Mutex
	changed sync.Cond // pending grew from empty, was taken, or closed changed
	pending []Attempt
	closed  bool

	done chan struct{}
	err  error // of the goroutine; read after done
}

// NewWriter starts a Writer. Close must be called; w itself stays open.
func NewWriter(w io.Writer) *Writer {
	lw := &Writer{done: make(chan struct{})}
	lw.changed.L = &lw.mu
	go lw.run(w)
	return lw
}

// Write never fails: an error of the disk is Close's to tell. Not after Close.
func (w *Writer) Write(a Attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pending) >= maxPending {
		w.changed.Wait()
	}
	w.pending = append(w.pending, a)
	if len(w.pending) == 1 {
		w.changed.Broadcast()
	}
}

// Close writes what is pending and returns the first error of all writes.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.changed.Broadcast()
	w.mu.Unlock()
	<-w.done
	return w.err
}

func (w *Writer) run(to io.Writer) {
	defer close(w.done)
	zip := gzip.NewWriter(to)
	buffered := bufio.NewWriterSize(zip, 64<<10)
	buffered.WriteString(header) // bufio keeps its error for Flush
	var row []byte
	var spare []Attempt
	for {
		attempts, more := w.take(spare)
		for _, a := range attempts {
			row = a.appendRow(row[:0])
			buffered.Write(row)
		}
		spare = attempts[:0]
		if !more {
			break
		}
	}
	w.err = buffered.Flush()
	if err := zip.Close(); w.err == nil {
		w.err = err
	}
}

// take waits for attempts and exchanges them for an empty slice; more is false
// with the last of them.
func (w *Writer) take(empty []Attempt) (attempts []Attempt, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pending) == 0 && !w.closed {
		w.changed.Wait()
	}
	attempts, w.pending = w.pending, empty
	w.changed.Broadcast()
	return attempts, !w.closed
}

func (a Attempt) appendRow(dst []byte) []byte {
	dst = strconv.AppendUint(dst, a.Request, 10)
	for _, v := range [...]int64{int64(a.Attempt), int64(a.Phase), a.PlannedNS, a.SentNS, a.DoneNS, int64(a.Status)} {
		dst = strconv.AppendInt(append(dst, ','), v, 10)
	}
	dst = append(dst, ',')
	for i := range len(a.Cause) { // a server's code must not be able to forge a row
		if c := a.Cause[i]; c > ' ' && c < 0x7f && c != ',' && c != '"' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '?')
		}
	}
	for _, v := range [...]int{a.Accepted, a.Rejected, a.Duplicates, a.Bytes} {
		dst = strconv.AppendInt(append(dst, ','), int64(v), 10)
	}
	return append(dst, '\n')
}
