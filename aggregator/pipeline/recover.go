package pipeline

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"sekali/aggregator/store"
)

const (
	// A failing disk is tried again after retryFirst, then twice as long each time up
	// to retryMost; after diskAttempts the process gives up (about four minutes). Those
	// at which the disk is full are not among them: that heals by itself when there is room.
	retryFirst   = 100 * time.Millisecond
	retryMost    = 2 * time.Second
	diskAttempts = 120
)

// retryDisk calls try until it succeeds, with growing pauses. It gives up when ctx ends,
// or after diskAttempts failures that are not just a full disk.
func (p *Pipeline) retryDisk(ctx context.Context, what string, try func() error) error {
	pause, failures := retryFirst, 0
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil {
			p.log.Info(what+" works again", "attempts", attempt)
			return nil
		}
		if !diskFull(err) {
			failures++
		}
		if failures >= diskAttempts {
			return fmt.Errorf("%s: given up after %d attempts: %w", what, attempt, err)
		}
		p.log.Warn(what+" still failing", "attempt", attempt, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w, while failing: %w", what, ctx.Err(), err)
		}
		pause = min(2*pause, retryMost)
	}
}

func diskFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || store.IsFull(err) }

// isFull reports that all of err, if it is joined of several, means a full disk.
func isFull(errs ...error) bool {
	found := false
	for _, err := range errs {
		if err != nil && !diskFull(err) {
			return false
		}
		found = found || err != nil
	}
	return found
}

// recoverStore opens the store anew after what has failed on it, until that works and again, which
// tries it once more, succeeds. The state that is found says what has happened: it is the writer's,
// or the one that the failed transaction leads to, whose COMMIT was durable all the same. Any other
// was written by another process. It returns the state that the store has then.
func (w *writer) recoverStore(ctx context.Context, what string, failed error, tried store.State,
	again func() (tried store.State, err error)) (state store.State, err error) {
	w.log.Error(what+" failing", "error", failed)
	w.storeFails(failed)
	err = w.retryDisk(ctx, what, func() (err error) {
		defer func() {
			if err != nil {
				w.storeFails(err)
			}
		}()
		if state, err = w.reopen(); err != nil {
			return err
		}
		switch state {
		case w.state:
		case tried:
			return nil
		default:
			return fmt.Errorf("the store is at commit %d, want %d: another process writes to it", state.Commits, w.state.Commits)
		}
		if diskFull(failed) { // the WAL may have what is wanted
			if err := w.truncateWAL(); err != nil {
				return err
			}
		}
		tried, err = again()
		state = tried
		return err
	})
	if err == nil {
		w.setStoreFailing(nil)
	}
	return state, err
}

// reopen opens the store anew. A checkpoint beside the writer has to end first: only the first
// connection begins at the WAL's beginning.
func (w *writer) reopen() (store.State, error) {
	if err := w.awaitCheckpoint(); err != nil {
		w.log.Warn("the checkpoint beside the writer failed", "error", err)
	}
	w.checkpointsBeside = 0
	return w.store.Reopen()
}

func (w *writer) storeFails(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.storeFailing = err
	w.counters.FailedCommits++
}

func (w *writer) setStoreFailing(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.storeFailing = err
}
