package pipeline

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/aggregator/store"
)

// toldOfLock reports that a warning tells of a database that nothing is committed to.
func (r *rig) toldOfLock() bool {
	return slices.ContainsFunc(r.p.Warnings(), func(w string) bool { return strings.HasPrefix(w, "database_locked: ") })
}

// TestAHeldWAL: a reader's snapshot keeps the WAL from being given back. Meanwhile the journal
// takes what fits into its backlog, and no other level takes anything; then all of it is stored.
func TestAHeldWAL(t *testing.T) {
	cfg := roomy
	cfg.BacklogBytes = 2000
	r := newRig(t, cfg)
	defer r.remove()
	r.open()
	ctx, cancel := context.WithCancel(t.Context())
	r.abort = cancel
	r.done.Go(func() { r.failed <- r.p.RunCommitter(ctx) })
	db, err := sql.Open("sqlite", "file:"+filepath.Join(r.dir, store.File)+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM state").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if _, err := r.p.Publish(Journal, request(t, "t", 0, 0)); err != nil {
		t.Fatal(err)
	}
	w, ended := newWriter(r.p), make(chan error, 1)
	if err := errors.Join(w.takeBatch(), w.commit(ctx)); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- w.waitForWAL(ctx) }()
	within(t, 10*time.Second, "the warning", r.toldOfLock)
	for _, level := range []Level{Memory, Store} {
		if _, err := r.p.Publish(level, request(t, "t", 0, -1)); !errors.Is(err, ErrLocked) || !errors.Is(err, ErrWALHeld) {
			t.Errorf("at %s: %v", level, err)
		}
	}
	accepted := 1
	for ; err == nil && accepted < 1000; accepted++ {
		_, err = r.p.Publish(Journal, request(t, "t", 0, accepted))
	}
	if accepted--; !errors.Is(err, ErrBacklogFull) || accepted < 2 {
		t.Errorf("at journal, after %d events: %v", accepted, err)
	}
	if c := r.p.Counters(); c.BacklogBytes > cfg.BacklogBytes || c.Failing != nil {
		t.Errorf("%+v", c)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil || r.toldOfLock() {
		t.Errorf("the reader has ended: %v", err)
	}
	if _, err := r.p.Publish(Memory, request(t, "t", 0, -1)); err != nil {
		t.Error(err)
	}
	r.done.Go(func() { r.failed <- r.p.RunWriter(ctx) })
	if c := r.drain(); c.UniqueProcessed != int64(accepted)+1 {
		t.Errorf("%+v, want %d stored", c, accepted+1)
	}
	r.stop()
}
