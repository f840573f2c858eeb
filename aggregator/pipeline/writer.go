package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"sekali/aggregator/crash"
	"sekali/aggregator/event"
	"sekali/aggregator/journal"
	"sekali/aggregator/stage"
	"sekali/aggregator/store"
)

// A transaction costs its pages and its sync however little is in it. So one of journaled events
// begins commitEvery after the one before, or once gatherEvents wait; the first after a pause
// begins at once.
const (
	commitEvery  = 5 * time.Millisecond
	gatherEvents = 500
)

// flushInterval is how late the count of refused events may be committed when nothing
// else is: a kill forgets at most that much of it.
const flushInterval = time.Second

// receivedLayout has a fixed width, so that text order is time order.
const receivedLayout = "2006-01-02T15:04:05.000000000Z"

// part is what a batch takes of one item.
type part struct {
	item     *item
	from, to int // of its events
}

// batch is what one transaction applies.
type batch struct {
	store.Batch
	parts  []part
	frames []byte // of the journal, as the rows were read from them
}

// writer is the state of RunWriter; nobody else has it.
type writer struct {
	*Pipeline
	batch, next *batch
	preparing   chan error // the result of reading next; nil: it is empty

	committing time.Time // when the last batch was begun

	copies  int        // of the WAL, begun beside the writer since it was last copied to its end
	copying chan error // the result of the one under way; nil: none is

	cannotExpire bool // a block is damaged

	quiet int // ticks of flushInterval since the last event
}

func newWriter(p *Pipeline) *writer {
	return &writer{Pipeline: p, batch: &batch{Batch: p.store.NewBatch()}, next: &batch{Batch: p.store.NewBatch()}}
}

// BatchBytes ends a batch of large events, so that what it takes of the memory does not depend on
// what waits: a batch of 50 000 usual events has 12 MB. One item is taken whatever it has.
const BatchBytes = 32 << 20

// RunWriter commits batch after batch until the pipeline is closed and empty, or
// until ctx ends. It returns an error when the store's disk has failed for good.
func (p *Pipeline) RunWriter(ctx context.Context) error {
	w := newWriter(p)
	defer w.abandon()
	defer w.copied()
	defer w.prepared()
	flush := time.NewTicker(flushInterval)
	defer flush.Stop()
	if err := w.giveBackWAL(ctx); err != nil {
		return err
	}
	for {
		if ctx.Err() != nil {
			return w.leave()
		}
		if pause := w.pause(); pause > 0 {
			wake := time.NewTimer(pause)
			select {
			case <-p.queueReady:
			case <-wake.C:
			case <-ctx.Done():
			}
			wake.Stop()
			continue
		}
		if err := w.takeBatch(); err != nil {
			return err
		}
		if n := len(w.batch.Rows); n > 0 {
			w.quiet = 0
			if err := w.commit(ctx); errors.Is(err, store.ErrLocked) {
				return w.leave()
			} else if err != nil {
				return err
			}
			// As much expires as comes, and a little more.
			if _, err := w.expire(ctx, n/expirePerEvents+1); err != nil {
				return err
			}
			continue
		}
		if w.drained() {
			return w.flushCounters(ctx)
		}
		select {
		case <-p.queueReady:
		case <-flush.C:
			if err := w.flushCounters(ctx); err != nil {
				return err
			}
			if err := w.expireAll(ctx); err != nil {
				return err
			}
			w.quiet++
			if err := w.giveBackWAL(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
		}
	}
}

// leave ends the writer although events wait. Those in the journal are applied at the
// next start; those that were only in memory are lost, which is an error.
func (p *Pipeline) leave() error {
	p.mu.Lock()
	lost, backlog := p.queue.memoryEvents, p.counters.BacklogBytes
	p.mu.Unlock()
	if lost > 0 {
		return fmt.Errorf("out of time: %d events that waited in memory are lost", lost)
	}
	if backlog > 0 {
		p.log.Warn("out of time: the journal's backlog is left to the next start", "backlog_bytes", backlog)
	}
	return nil
}

// drained reports that nothing waits and nothing will come.
func (p *Pipeline) drained() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed && p.committerDone && len(p.queue.waiting()) == 0
}

// pause is how long the next batch may gather yet, while all that waits is safe in the journal and
// nobody waits for its commit.
func (w *writer) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue.waiting()) == 0 || w.closed || w.queue.memoryEvents > 0 || w.counters.QueueDepth >= int64(min(gatherEvents, w.cfg.BatchEvents)) {
		return 0
	}
	return commitEvery - time.Since(w.committing)
}

// takeBatch makes batch the next one to commit; it has no rows if nothing waits.
func (w *writer) takeBatch() error {
	if w.preparing != nil {
		err := w.prepared()
		w.batch, w.next = w.next, w.batch
		return err
	}
	w.choose(w.batch, nil)
	return w.read(w.batch, w.state.LastReceivedAt)
}

// prepareNext reads the next batch beside the commit of this one, if there is a full one: less
// would gain company meanwhile.
func (w *writer) prepareNext() {
	if !w.choose(w.next, w.batch.parts) {
		return
	}
	last := w.batch.Rows[len(w.batch.Rows)-1].ReceivedAt
	w.preparing = make(chan error, 1)
	go func() { w.preparing <- w.read(w.next, last) }()
}

// prepared waits for the next batch to be read.
func (w *writer) prepared() (err error) {
	if w.preparing != nil {
		err = <-w.preparing
		w.preparing = nil
	}
	return err
}

// choose says what b applies, behind the parts that are being applied: whole items in order up to
// BatchBytes, and the beginning of one that has too many events. A request at the store level is
// never cut, since one transaction has to answer it. It returns whether more would not have fit.
func (w *writer) choose(b *batch, behind []part) (full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.parts = b.parts[:0]
	waiting, from := w.queue.waiting(), 0
	if n := len(behind); n > 0 {
		waiting = waiting[n-1:]
		if from = behind[n-1].to; from == waiting[0].events {
			waiting, from = waiting[1:], 0
		}
	} else if len(waiting) > 0 {
		from = waiting[0].applied
	}
	room, bytes := w.cfg.BatchEvents, int64(0)
	for _, i := range waiting {
		if bytes += i.frame.Bytes + i.memoryBytes(); bytes > BatchBytes && len(b.parts) > 0 {
			return true
		}
		to := i.events
		if to-from > room {
			if i.waiter == nil {
				to = from + room
			} else if len(b.parts) > 0 {
				return true
			}
		}
		b.parts = append(b.parts, part{i, from, to})
		if room -= to - from; room <= 0 {
			return true
		}
		from = 0
	}
	return false
}

// commit applies the batch in one transaction, and tells those
// who wait. It tries until it succeeds; the batch is kept meanwhile.
func (w *writer) commit(ctx context.Context) error {
	b := w.batch
	b.Journal, b.JournalApplied = w.position(b.parts)
	w.mu.Lock()
	b.Rejected = w.rejected
	w.mu.Unlock()
	if len(b.parts) > 0 {
		w.prepareNext()
	}
	start := time.Now()
	w.committing = start
	out, err := w.applyUntilDone(ctx, b.Batch)
	if err != nil {
		return err
	}
	slowed(time.Since(start))
	if err := w.awaitFolder(ctx); err != nil {
		return err
	}
	// The transaction is durable: if we crash from here on, it is not applied again,
	// for the journal position went with it.
	now := time.Now()
	if wal, err := w.store.WAL(); err == nil { // else the checkpoint says what is wrong
		w.setWAL(wal) // before the room that was kept for the batch is free for others
	}
	w.Timings.Commit.Record(now.Sub(start), 1)
	w.Timings.RunsHeld.Record(out.Held, 1)
	if len(b.Rows) > 0 {
		w.Timings.BatchEvents.RecordValue(int64(len(b.Rows)), 1)
	}
	w.committed(out, now)
	b.recycle()
	if err := w.journal.Release(out.State.Journal); err != nil {
		w.log.Warn("journal segment not removed", "error", err)
	}
	return w.checkpoint(ctx)
}

// read fills the batch's rows with the events of all its parts; the event before them was received
// at last.
func (w *writer) read(b *batch, last string) error {
	stage.Read.Enter()
	frames := 0
	for _, part := range b.parts {
		frames += int(part.item.frame.Bytes)
	}
	b.Rows, b.frames = b.Rows[:0], slices.Grow(b.frames[:0], frames)
	for _, part := range b.parts {
		// Two levels wait different times before the queue; its order is the truth.
		last = max(last, part.item.receivedAt().UTC().Format(receivedLayout))
		if err := w.readPart(b, part, last); err != nil {
			return err
		}
	}
	stage.Dedup.Enter()
	b.Prepare()
	return nil
}

// readPart appends a part's events to the rows. An item that several batches share is read by each
// of them.
func (w *writer) readPart(b *batch, part part, receivedAt string) (err error) {
	i, data := part.item, part.item.data
	if !i.inMemory() {
		from := len(b.frames)
		b.frames = b.frames[:from+int(i.frame.Bytes)]
		if data, err = w.journal.Read(i.frame, b.frames[from:from:len(b.frames)]); err != nil {
			return err
		}
	}
	// Nobody writes to data until recycle: events may point into it.
	rest := unsafe.String(unsafe.SliceData(data), len(data))
	for n := range part.to {
		var e event.Event
		if e, rest, err = event.Next(rest); err != nil {
			return fmt.Errorf("writer: %w", err)
		}
		if n >= part.from {
			b.Rows = append(b.Rows, store.Row{Event: e, ReceivedAt: receivedAt})
		}
	}
	if left := i.events - part.to; (left == 0) != (rest == "") {
		return fmt.Errorf("writer: %d bytes are left where %d events are", len(rest), left)
	}
	return nil
}

// recycle ends the batch: nothing points any more into what it was read from. An idle writer holds
// no row of it.
func (b *batch) recycle() {
	clear(b.Rows)
	if cap(b.frames) > BatchBytes {
		b.frames = nil
	}
	for _, part := range b.parts {
		// A publisher at the store level may still read its own.
		if i := part.item; part.to == i.events && i.inMemory() && i.waiter == nil {
			event.Recycle(i.data)
		}
	}
}

// position is the journal position once the parts are applied.
func (w *writer) position(parts []part) (at journal.Position, applied int) {
	at, applied = w.state.Journal, w.state.JournalApplied
	for _, part := range parts {
		i := part.item
		switch {
		case i.inMemory():
		case part.to == i.events:
			at, applied = i.frame.End(), 0
		default:
			at, applied = i.frame.Start, part.to
		}
	}
	return at, applied
}

// applyUntilDone applies the batch, again and again if the disk fails.
func (w *writer) applyUntilDone(ctx context.Context, batch store.Batch) (store.Outcome, error) {
	out, err := w.apply.Apply(w.state, batch)
	if errors.Is(err, store.ErrLocked) {
		out, err = w.awaitLock(ctx, batch, err)
	}
	if err == nil || errors.Is(err, store.ErrLocked) {
		return out, err
	}
	_, err = w.recoverStore(ctx, "store", err, out.State, func() (store.State, error) {
		var err error
		out, err = w.apply.Apply(w.state, batch)
		return out.State, err
	})
	return out, err
}

// awaitLock applies the batch once the database's write lock is free, or has another error. When
// ctx ends, it gives up with ErrLocked. It needs no pause: SQLite waits before it says that it is
// locked.
func (w *writer) awaitLock(ctx context.Context, batch store.Batch, locked error) (out store.Outcome, err error) {
	w.log.Warn("nothing is committed while the database is locked", "error", locked)
	w.setLocked(locked)
	defer w.setLocked(nil)
	for err = locked; errors.Is(err, store.ErrLocked) && ctx.Err() == nil; {
		out, err = w.apply.Apply(w.state, batch)
	}
	if err == nil {
		w.log.Info("the database's lock is free again")
	}
	return out, err
}

func (w *writer) setLocked(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.locked = err
}

// committed moves the counters and the queue, at one moment, and answers who waits.
func (w *writer) committed(out store.Outcome, now time.Time) {
	free := w.askFree()
	w.mu.Lock()
	c := &w.counters
	w.rejected -= w.batch.Rejected
	w.state = out.State
	w.refreshFree(free)
	for _, part := range w.batch.parts {
		i := part.item
		i.applied = part.to
		c.QueueDepth -= int64(part.to - part.from)
		if i.applied == i.events {
			w.queue.pop()
			c.QueueBytes -= i.memoryBytes()
			c.BacklogBytes -= i.frame.Bytes
		}
	}
	w.mu.Unlock()
	w.watches.tell(len(w.batch.Rows), func(i int) string { return w.batch.Rows[i].Topic }, out.Stored)

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

// flushCounters commits what only the counters know: refused events since the last
// batch.
func (w *writer) flushCounters(ctx context.Context) error {
	w.mu.Lock()
	n := w.rejected
	w.mu.Unlock()
	if n == 0 {
		return nil
	}
	if err := w.takeBatch(); err != nil {
		return err
	}
	return w.commit(ctx)
}

// abandon answers those whose commit will not come in this life of the process.
func (w *writer) abandon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.queue.waiting() {
		if i.waiter != nil {
			i.waiter.err = ErrDiskFailing
			close(i.waiter.done)
			i.waiter = nil
		}
	}
}
