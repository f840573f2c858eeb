package pipeline

import (
	"context"
	"errors"
	"time"

	"sekali/aggregator/crash"
	"sekali/aggregator/internal/stage"
	"sekali/aggregator/store"
)

// The WAL lengths at which checkpointing it into the database begins: 256 MB while more waits than
// calmEvents, since a page that many batches rewrite is written once, and the database synced once;
// else 4 MB, since the journal's syncs wait behind it.
// docs/design/decisions/10-large-transactions.md has what both cost. The price of a long WAL is
// disk, and reading that much again after a crash.
const (
	checkpointPages     = 32_000 / crash.Smaller
	calmCheckpointPages = 500 / crash.Smaller
	// calmEvents is more than waits when the writer keeps up: at half of saturation it was 1 500 in
	// the median (steady).
	calmEvents = 5_000
)

// A long WAL is checkpointed beside the writer, which goes on with it meanwhile; what it has added
// is next, until the rest is short and the writer does it itself: only between two commits can a
// checkpoint reach the end, from where the next commit begins the WAL anew.
const (
	finishPages = 4 * calmCheckpointPages // 16 MB
	mostBeside  = 3
)

// walPages is the WAL length at which the writer stops until it is given back: 1 GB. A reader that
// never ends its transaction keeps all that was written since. Meanwhile only the journal takes
// more, up to its own bound, as while the database is locked.
const walPages = 4 * checkpointPages

// WALBytes is that length in bytes.
const WALBytes = walPages * store.PageBytes

// ErrWALHeld means that somebody else's transaction keeps the WAL from being given back.
var ErrWALHeld = errors.New("the WAL is full: a reader of the database has held its snapshot for too long")

// walPause is how often the writer then looks again.
const walPause = 100 * time.Millisecond

// checkpoint runs after the answers went out.
func (w *writer) checkpoint(ctx context.Context) error {
	stage.Checkpoint.Enter()
	wal, err := w.checkpointDue()
	if err != nil {
		return w.checkpointFailed(ctx, err)
	}
	w.setWAL(wal)
	if wal.Pages >= walPages && wal.Checkpointed < wal.Pages {
		return w.waitForWAL(ctx)
	}
	return nil
}

// checkpointDue begins what checkpointing is due, and returns the WAL as it is then.
func (w *writer) checkpointDue() (store.WAL, error) {
	wal, err := w.store.WAL()
	if err != nil {
		return wal, err
	}
	if w.beside != nil {
		if len(w.beside) == 0 && wal.Pages < walPages {
			return wal, nil
		}
		if err := w.awaitCheckpoint(); err != nil {
			return wal, err
		}
		if wal, err = w.store.WAL(); err != nil {
			return wal, err
		}
	}
	switch rest := wal.Pages - wal.Checkpointed; {
	case w.checkpointsBeside == 0 && rest < w.checkpointAt():
		return wal, nil
	case w.checkpointsBeside < mostBeside && rest > finishPages:
		w.checkpointsBeside++
		w.beside = make(chan error, 1)
		go func() {
			stage.Checkpoint.Enter()
			w.beside <- w.checkpointNow(w.store.CheckpointBeside)
		}()
		return wal, nil
	default:
		w.checkpointsBeside = 0
		err := w.checkpointNow(func() (err error) {
			wal, err = w.store.Checkpoint()
			return err
		})
		return wal, err
	}
}

func (w *writer) checkpointNow(checkpoint func() error) error {
	crash.Here(crash.Checkpoint)
	err := checkpoint()
	crash.Here(crash.Checkpointed)
	w.mu.Lock()
	w.counters.Checkpoints++
	w.mu.Unlock()
	return err
}

// awaitCheckpoint waits for the checkpoint that is under way.
func (w *writer) awaitCheckpoint() (err error) {
	if w.beside != nil {
		err = <-w.beside
		w.beside = nil
	}
	return err
}

// checkpointAt is the length of the WAL, in pages, at which a checkpoint is due.
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

// waitForWAL holds the writer up until the WAL is checkpointed, so that the next commit begins it
// anew.
func (w *writer) waitForWAL(ctx context.Context) error {
	w.log.Error(ErrWALHeld.Error(), "pages", walPages)
	w.setLocked(ErrWALHeld)
	defer w.setLocked(nil)
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
		if wal.Checkpointed == wal.Pages {
			w.log.Info("the WAL is given back")
			return nil
		}
	}
}
