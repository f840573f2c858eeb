package pipeline

import (
	"context"
	"errors"
	"time"

	"sekali/aggregator/crash"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

// A message of a cluster's log at which the writer panics would end every node, and each of its
// starts again. So the messages of a batch that panics are applied one by one, on a store that was
// opened anew. The one that panics again, by itself, is where every replica comes to, however its
// batches are cut: the node halts there, and stays up, until an operator has told to pass over it.

// skipPause is how long the writer rests when the log cannot say whether to pass over a message.
const skipPause = 200 * time.Millisecond

// guarded calls do, in a cluster with a panic as its error.
func (w *writer) guarded(do func() error) error {
	if w.cfg.Node == nil {
		return do()
	}
	return cluster.Guard(do)
}

// applyOnce applies the batch.
func (w *writer) applyOnce(b store.Batch) (out store.Outcome, err error) {
	err = w.guarded(func() error {
		out, err = w.apply.Apply(w.state, b)
		return err
	})
	return out, err
}

// mistake is called in the transaction that applies an event of a cluster's log, with its topic. It
// is nil but in tests and in their build, where it panics.
var mistake = crash.Poison()

// mistaken calls mistake for the rows of a batch before what else its transaction does.
func mistaken(rows []store.Row, also func(*sqlite.Conn, *store.Outcome) error) func(*sqlite.Conn, *store.Outcome) error {
	if mistake == nil {
		return also
	}
	return func(c *sqlite.Conn, out *store.Outcome) error {
		for i := range rows {
			mistake(rows[i].Topic)
		}
		return also(c, out)
	}
}

// isolate applies the messages of a batch that has panicked one by one. If none of them panics
// again it was not their doing, and the process ends by that panic, as any other does. goOn is
// false where the writer has to end.
func (w *writer) isolate(ctx context.Context, first *cluster.Panic) (goOn bool, err error) {
	_ = w.awaitNext() // it is read again
	messages := len(w.batch.parts)
	w.log.Error("messages of the log are applied one by one", "error", first, "messages", messages, "stack", string(first.Stack))
	if err := w.openAnew(first); err != nil {
		return false, err
	}
	w.oneByOne = true
	defer func() { w.oneByOne = false }()
	for range messages {
		if err = w.takeBatch(); err == nil {
			err = w.commit(ctx)
		}
		var again *cluster.Panic
		switch {
		case errors.As(err, &again):
			return w.poison(ctx, again)
		case errors.Is(err, store.ErrLocked):
			return false, w.leave()
		case err != nil:
			return false, err
		}
	}
	panic(first.Value)
}

// openAnew opens the store anew after a panic, which has left a transaction open. If that came
// behind a commit, the process ends by it: what is durable is no message's doing any more, and the
// next start goes on behind it.
func (w *writer) openAnew(p *cluster.Panic) error {
	state, err := w.reopen()
	if err == nil && state != w.state {
		panic(p.Value)
	}
	w.apply = w.newApplier() // nobody knows what the panic has left in the other
	return err
}

// poison deals with the batch's message, which panics by itself: it goes on behind it if a control
// of the log says so, and else halts and waits until the pipeline is closed.
func (w *writer) poison(ctx context.Context, p *cluster.Panic) (goOn bool, err error) {
	if err := w.openAnew(p); err != nil {
		return false, err
	}
	i := w.batch.parts[0].item
	skip, ok := w.toSkip(ctx, i.entry.At)
	if !ok {
		return false, nil
	}
	if skip {
		w.passOver(i)
		return true, nil
	}
	w.cfg.Node.HaltAt(i.entry.At, p)
	close(w.replication.stuck)
	why := w.cfg.Node.Halted()
	w.mu.Lock()
	w.halted = why
	w.settleRefused(len(w.refused), why)
	w.mu.Unlock()
	select {
	case <-w.closing:
	case <-ctx.Done():
	}
	return false, nil
}

// toSkip asks the log until it has said whether to pass over a message. ok is false if the writer
// is to end.
func (w *writer) toSkip(ctx context.Context, at uint64) (skip, ok bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-w.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	for told := false; ; told = true {
		skip, err := w.cfg.Node.ToSkip(ctx, at)
		if err == nil {
			return skip, true
		}
		if !told {
			w.log.Warn("the log does not say whether to pass over a message", "position", at, "error", err)
		}
		select {
		case <-ctx.Done():
			return false, false
		case <-time.After(skipPause):
		}
	}
}

// passOver makes an item of the queue one that leads to nothing. Its events were never received.
func (w *writer) passOver(i *item) {
	w.log.Warn("a message of the log is passed over, as a control says", "position", i.entry.At, "events", i.events)
	w.cfg.Node.PassOver(i.entry)
	over := i.entry.PassedOver()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counters.Received -= int64(i.events)
	w.counters.QueueDepth -= int64(i.events)
	w.queue.memoryEvents -= i.events
	i.entry, i.events = over, 0
}
