package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/store"
)

// A transaction costs its pages and its sync however little is in it. So one that nobody
// waits for begins commitEvery after the one before, or once gatherEvents wait; the first after a
// pause begins at once. Of a cluster see replicaEvery.
const (
	commitEvery  = 5 * time.Millisecond
	gatherEvents = 500
)

// flushInterval is how late the count of refused events may be committed when nothing
// else is: a kill forgets at most that much of it.
const flushInterval = time.Second

// ReceivedLayout has a fixed width, so that text order is time order.
const ReceivedLayout = "2006-01-02T15:04:05.000000000Z"

// writer is the state of RunWriter's goroutine. next is another's, which reads it, while preparing
// is not nil.
type writer struct {
	*Pipeline
	batch, next *batch
	preparing   chan error // the result of reading next; nil: it is empty

	committing time.Time // when the last batch was begun
	pace       pace

	checkpointsBeside int        // begun since the WAL was last checkpointed to its end
	beside            chan error // the result of the one under way; nil: none is

	cannotExpire bool     // a block is damaged
	oneByOne     bool     // a batch is one message of a cluster's log
	released     released // of a cluster

	quiet int // ticks of flushInterval since the last event
}

func newWriter(p *Pipeline) *writer {
	return &writer{Pipeline: p, batch: &batch{Batch: p.store.NewBatch()}, next: &batch{Batch: p.store.NewBatch()}}
}

// RunWriter commits batch after batch until the pipeline is closed and empty, or
// until ctx ends. It returns an error when the store's disk has failed for good.
func (p *Pipeline) RunWriter(ctx context.Context) error {
	w := newWriter(p)
	defer w.abandon()
	defer w.awaitCheckpoint()
	defer w.awaitNext()
	for {
		err := w.run(ctx)
		if ctx.Err() != nil && errors.Is(err, store.ErrLocked) {
			return w.leave()
		}
		var panicked *cluster.Panic
		if !errors.As(err, &panicked) {
			return err
		}
		if goOn, err := w.isolate(ctx, panicked); !goOn {
			return err
		}
	}
}

// run is RunWriter until a message of a cluster's log makes it panic.
func (w *writer) run(ctx context.Context) error {
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
			case <-w.queueReady:
			case <-wake.C:
			case <-ctx.Done():
			}
			wake.Stop()
			continue
		}
		if err := w.takeBatch(); err != nil {
			return err
		}
		if n := len(w.batch.Rows); len(w.batch.parts) > 0 || w.refusedWait() {
			w.quiet = 0
			if err := w.commit(ctx); err != nil {
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
		case <-w.queueReady:
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
	return p.closed && p.committerDone && len(p.queue.waiting()) == 0 && len(p.refused) == 0 && p.replication.idle()
}

// gathered reports that as much waits as one transaction is worth. mu is held.
func (p *Pipeline) gathered() bool {
	waiting := p.counters.QueueDepth - int64(p.unread)
	if p.cfg.Node != nil {
		return p.replicaGathered(waiting)
	}
	return waiting >= int64(min(gatherEvents, p.cfg.BatchEvents))
}

// pause is how long the next batch may gather yet, while nobody waits for its commit.
func (w *writer) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue.waiting()) == 0 || w.closed || w.hurried() || w.gathered() {
		return 0
	}
	every := commitEvery
	if w.cfg.Node != nil {
		every = w.replication.commitEvery
	}
	return every - time.Since(w.committing)
}

// commit applies the batch in one transaction, and tells those
// who wait. It tries until it succeeds; the batch is kept meanwhile.
func (w *writer) commit(ctx context.Context) error {
	b := w.batch
	b.Journal, b.JournalApplied = w.position(b.parts)
	w.mu.Lock()
	b.Rejected = w.rejected
	w.mu.Unlock()
	w.takeRefused()
	w.takeEntries()
	if len(b.parts) > 0 && !w.oneByOne {
		w.prepareNext()
	}
	start := time.Now()
	w.committing = start
	out, err := w.applyUntilDone(ctx, b.Batch)
	if err != nil {
		return err
	}
	slowed(time.Since(start))
	w.learn(len(b.Rows), time.Since(start)-out.Committing-out.Held)
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

// applyUntilDone applies the batch, again and again if the disk fails.
func (w *writer) applyUntilDone(ctx context.Context, batch store.Batch) (store.Outcome, error) {
	out, err := w.applyOnce(batch)
	if errors.Is(err, store.ErrDamaged) { // of a control that expires what is in a block
		err = fmt.Errorf("%w: make it from another replica's copy: %w", cluster.ErrHalted, err)
	}
	if errors.Is(err, cluster.ErrHalted) { // nothing was applied, and trying again would end the same
		return out, err
	}
	if errors.Is(err, store.ErrLocked) {
		out, err = w.awaitLock(ctx, batch, err)
	}
	var panicked *cluster.Panic
	if err == nil || errors.Is(err, store.ErrLocked) || errors.As(err, &panicked) {
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
		out, err = w.applyOnce(batch)
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

// flushCounters commits what only the counters know: refused events since the last
// batch.
func (w *writer) flushCounters(ctx context.Context) error {
	w.mu.Lock()
	n := w.rejected
	w.mu.Unlock()
	if n == 0 && !w.releasable() {
		return nil
	}
	if err := w.takeBatch(); err != nil {
		return err
	}
	return w.commit(ctx)
}

// abandon answers those whose commit will not come in this life of the process. Nobody is taken
// after them, whom nobody would answer.
func (w *writer) abandon() {
	w.Close()
	close(w.replication.ended)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settleRefused(len(w.refused), ErrDiskFailing)
	for _, i := range w.queue.waiting() {
		if i.waiter != nil {
			i.waiter.err = ErrDiskFailing
			close(i.waiter.done)
			i.waiter = nil
		}
	}
}
