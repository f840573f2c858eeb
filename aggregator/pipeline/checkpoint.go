package pipeline

import (
	"context"
	"errors"
	"time"

	"sekali/aggregator/crash"
	"sekali/aggregator/stage"
	"sekali/aggregator/store"
)

// The WAL lengths at which copying it into the database begins: 256 MB while more waits than
// calmEvents, since a page that many batches rewrite is copied once, and the database synced once;
// else 4 MB, since the journal's syncs wait behind a copy.
// docs/design/decisions/10-large-transactions.md has what both cost. The price of a long WAL is
// disk, and reading that much again after a crash.
const (
	checkpointPages     = 32_000 / crash.Smaller
	calmCheckpointPages = 500 / crash.Smaller
	// calmEvents is more than waits when the writer keeps up: at half of saturation it was 1 500 in
	// the median (steady).
	calmEvents = 5_000
)

// A long WAL is copied beside the writer, which goes on with it meanwhile; what it has added is
// copied next, until the rest is short and the writer copies it itself: only between two commits
// can the copy reach the end, from where the next commit begins the WAL anew.
const (
	finishPages  = 4 * calmCheckpointPages // 16 MB
	copiesBeside = 3
)

// walPages is the WAL length at which the writer stops until it is given back: 1 GB. A reader that
// never ends its transaction keeps all that was written since. Meanwhile publishers get 503.
const walPages = 4 * checkpointPages

// ErrWALHeld means that somebody else's transaction keeps the WAL from being given back.
var ErrWALHeld = errors.New("the WAL is full: a reader of the database has held its snapshot for too long")

// walPause is how often the writer then looks again.
const walPause = 100 * time.Millisecond

// checkpoint runs after the answers went out.
func (w *writer) checkpoint(ctx context.Context) error {
	stage.Checkpoint.Enter()
	wal, err := w.copyWAL()
	if err != nil {
		return w.checkpointFailed(ctx, err)
	}
	w.setWAL(wal)
	if wal.Pages >= walPages && wal.Copied < wal.Pages {
		return w.waitForWAL(ctx)
	}
	return nil
}

// copyWAL begins what copying is due, and returns the WAL as it is then.
func (w *writer) copyWAL() (store.WAL, error) {
	wal, err := w.store.WAL()
	if err != nil {
		return wal, err
	}
	if w.copying != nil {
		if len(w.copying) == 0 && wal.Pages < walPages {
			return wal, nil
		}
		if err := w.copied(); err != nil {
			return wal, err
		}
		if wal, err = w.store.WAL(); err != nil {
			return wal, err
		}
	}
	switch rest := wal.Pages - wal.Copied; {
	case w.copies == 0 && rest < w.checkpointAt():
		return wal, nil
	case w.copies < copiesBeside && rest > finishPages:
		w.copies++
		w.copying = make(chan error, 1)
		go func() {
			stage.Checkpoint.Enter()
			w.copying <- w.copyNow(w.store.CheckpointBeside)
		}()
		return wal, nil
	default:
		w.copies = 0
		err := w.copyNow(func() (err error) {
			wal, err = w.store.Checkpoint()
			return err
		})
		return wal, err
	}
}

func (w *writer) copyNow(checkpoint func() error) error {
	crash.Here(crash.Checkpoint)
	err := checkpoint()
	crash.Here(crash.Checkpointed)
	w.mu.Lock()
	w.counters.Checkpoints++
	w.mu.Unlock()
	return err
}

// copied waits for the copy that is under way.
func (w *writer) copied() (err error) {
	if w.copying != nil {
		err = <-w.copying
		w.copying = nil
	}
	return err
}

// checkpointAt is the length of the WAL, in pages, at which it is copied now.
func (w *writer) checkpointAt() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	// A long WAL takes its length twice more: in its file, and in the database.
	if w.counters.QueueDepth > calmEvents && w.freeBytes-w.keptFree() > 2*checkpointPages*store.PageBytes {
		return checkpointPages
	}
	return calmCheckpointPages
}

// checkpointFailed opens the store anew: nothing is lost by a checkpoint that fails, but the
// connection is not trusted.
func (w *writer) checkpointFailed(ctx context.Context, failed error) error {
	_, err := w.recoverStore(ctx, "checkpoint", failed, w.state, func() (store.State, error) {
		_, err := w.store.Checkpoint()
		return w.state, err
	})
	return err
}

// waitForWAL holds the writer up until the WAL is copied, so that the next commit begins it anew.
func (w *writer) waitForWAL(ctx context.Context) error {
	w.log.Error(ErrWALHeld.Error(), "pages", walPages)
	w.setStoreFailing(ErrWALHeld)
	for {
		select {
		case <-ctx.Done():
			return nil // RunWriter sees it too
		case <-time.After(walPause):
		}
		wal, err := w.store.Checkpoint()
		if err != nil {
			return w.checkpointFailed(ctx, err)
		}
		if wal.Copied == wal.Pages {
			w.log.Info("the WAL is given back")
			w.setStoreFailing(nil)
			return nil
		}
	}
}
