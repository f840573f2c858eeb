package pipeline

import (
	"context"
	"errors"

	"sekali/aggregator/stage"
	"sekali/aggregator/store"
)

const (
	// expirePerEvents is how many events a commit has for each block that expires after it. A usual
	// block has twice as many, so what is to expire is worked off twice as fast as events come.
	expirePerEvents = 64
	// expireBlocks is how many blocks expire in one transaction while nothing waits: an event that
	// comes then waits for them.
	expireBlocks = 64
)

// expireAll lets expire what has, until something waits.
func (w *writer) expireAll(ctx context.Context) error {
	for ctx.Err() == nil {
		if more, err := w.expire(ctx, expireBlocks); err != nil || !more || w.waits() {
			return err
		}
	}
	return nil
}

// waits reports that there is something to commit.
func (w *writer) waits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue.waiting()) > 0
}

// expire takes the content of so many blocks at most whose events are older than the retention. Of
// a block that is damaged, nothing is left to tell its events by: expiry stops there, for good, and
// says so.
func (w *writer) expire(ctx context.Context, blocks int) (more bool, err error) {
	if w.cfg.Retention == 0 || w.cannotExpire || w.clock.resting() != "" {
		return false, nil
	}
	stage.Events.Enter()
	state, expired, err := w.apply.Expire(w.state, w.clock.now().Add(-w.cfg.Retention).UTC().Format(ReceivedLayout), blocks)
	switch {
	case errors.Is(err, store.ErrLocked): // there is a next time
		return false, nil
	case errors.Is(err, store.ErrDamaged):
		w.cannotExpire = true
		w.log.Error("nothing expires any more: stop, and run `aggregator check`", "error", err)
		return false, nil
	case err != nil:
		nothing := func() (store.State, error) { return w.state, nil } // the next tick tries again
		if state, err = w.recoverStore(ctx, "store", err, state, nothing); err != nil {
			return false, err
		}
	case expired == 0:
		return false, nil
	}
	w.mu.Lock()
	w.state = state
	w.mu.Unlock()
	return expired == blocks, w.checkpoint(ctx)
}
