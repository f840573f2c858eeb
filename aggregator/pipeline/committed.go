package pipeline

import (
	"slices"
	"time"

	"sekali/aggregator/crash"
	"sekali/aggregator/store"
)

// committed moves the counters and the queue, at one moment, and answers who waits.
func (w *writer) committed(out store.Outcome, now time.Time) {
	free := w.askFree()
	w.mu.Lock()
	c := &w.counters
	w.rejected -= w.batch.Rejected
	w.settleRefused(w.batch.refused, nil)
	w.batch.Refused, w.batch.refused = nil, 0
	w.state = out.State
	w.refreshFree(free)
	for _, part := range w.batch.parts {
		i := part.item
		i.applied = part.to
		c.QueueDepth -= int64(part.to - part.from)
		if i.applied == i.events {
			w.queue.pop()
			c.QueueBytes -= i.memoryBytes()
			c.BacklogBytes -= i.frame.Unpacked
		}
	}
	c.BacklogBytes -= w.batch.released
	w.mu.Unlock()
	w.entriesCommitted(out)
	w.watches.tell(out.FirstSeq, w.batch.Rows, out.Stored, out.State.ExpiredSeq)

	crash.Here(crash.WriterAnswer)
	if n := len(out.Failed); n > 0 {
		w.log.Error("the database refused events: see GET /dead-letters", "events", n)
	}
	seqs, stored := out.Seqs, out.Stored
	row := 0 // of the part's first event
	for _, part := range w.batch.parts {
		n := part.to - part.from
		w.Timings.Processing.Record(now.Sub(part.item.acceptedAt), int64(n))
		if waiter := part.item.waiter; waiter != nil {
			waiter.outcome = Outcome{Stored: slices.Clone(stored[:n]), Seqs: slices.Clone(seqs[:n]), Failed: failedOf(out.Failed, row, n)}
			close(waiter.done)
		}
		seqs, stored, row = seqs[n:], stored[n:], row+n
	}
}

// failedOf is, for each of n rows from the row first on, whether it failed; nil if none did.
func failedOf(failed map[int]bool, first, n int) (of []bool) {
	for i := range n {
		if failed[first+i] {
			if of == nil {
				of = make([]bool, n)
			}
			of[i] = true
		}
	}
	return of
}
