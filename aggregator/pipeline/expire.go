package pipeline

import (
	"context"
	"errors"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/stage"
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
	if w.cfg.Retention == 0 || w.cfg.Node != nil || w.cannotExpire || w.clock.resting() != "" {
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
	w.watches.expire(state.ExpiredSeq)
	return expired == blocks, w.checkpoint(ctx)
}

const (
	// expireStep is how many seqs a control expires at most: its transaction holds the writer of every
	// replica. expireSteps are proposed at a time, once a second, which is more than comes.
	expireStep  = 1 << 14
	expireSteps = 8
	// expiryLost is after how long a proposal that has not been applied is taken for lost.
	expiryLost = 10 * time.Second
)

// runExpiry proposes, as long as it is this node that does, what all replicas of a cluster are to
// let expire, until ctx ends. They apply it where it stands in the log, and ask no clock.
func (p *Pipeline) runExpiry(ctx context.Context) {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	var proposed int64
	var at time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if expired := p.Counters().ExpiredSeq; expired < proposed && time.Since(at) < expiryLost {
			continue // it is under way
		}
		through, err := p.proposeExpiry(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.log.Warn("what is to expire was not proposed", "error", err)
		case through > 0:
			proposed, at = through, time.Now()
		}
	}
}

// proposeExpiry tells all replicas what has come to its end, and returns up to where; 0: nothing
// has.
func (p *Pipeline) proposeExpiry(ctx context.Context) (through int64, err error) {
	node := p.cfg.Node
	retention := node.Retention()
	if retention == 0 || p.clock.resting() != "" || !node.Proposes() {
		return 0, nil
	}
	earliest, known := node.Earliest(p.clock.now())
	if !known {
		return 0, nil
	}
	end, err := p.store.LastBefore(ctx, earliest.Add(-retention).UTC().Format(ReceivedLayout))
	if err != nil {
		return 0, err
	}
	from := p.Counters().ExpiredSeq
	for range expireSteps {
		if from >= end {
			break
		}
		from = min(end, from+expireStep)
		if err := node.Tell(cluster.Control{Expire: from}); err != nil {
			return through, err
		}
		through = from
	}
	return through, nil
}
