package pipeline

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"sekali/aggregator/event"
	"sekali/aggregator/store"
)

// TestStopWhileLocked: what is only counted, events that were refused, is committed at a stop.
// Where another process holds the database until the time is over, that count is left, and the stop
// is no failure.
func TestStopWhileLocked(t *testing.T) {
	r := newRig(t, roomy)
	defer r.remove()
	r.open()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(r.dir, store.File))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	bad, err := event.ParseJSON([]byte(`[{"topic":"t"}]`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.p.Publish(Journal, bad); err != nil || r.p.Counters().Rejected != 1 {
		t.Fatalf("%+v, %v", r.p.Counters(), err)
	}
	r.run()
	r.p.Close()
	within(t, 20*time.Second, "the warning", r.toldOfLock)
	r.abandon() // which fails with an error of the writer
}

// TestNobodyIsTakenAfterTheEnd: once the committer or the writer has ended, whoever comes hears so.
// Nobody would answer them any more.
func TestNobodyIsTakenAfterTheEnd(t *testing.T) {
	for name, run := range map[string]func(*Pipeline, context.Context) error{
		"committer": (*Pipeline).RunCommitter, "writer": (*Pipeline).RunWriter,
	} {
		r := newRig(t, roomy)
		defer r.remove()
		r.open()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := run(r.p, ctx); err != nil {
			t.Fatal(err)
		}
		for _, level := range []Level{Memory, Journal, Store} {
			of, heard := request(t, "t", 1, 1), make(chan error, 1)
			go func() {
				_, err := r.p.Publish(level, of)
				heard <- err
			}()
			select {
			case err := <-heard:
				if !errors.Is(err, ErrShuttingDown) {
					t.Errorf("at %s behind the %s: %v", level, name, err)
				}
			case <-time.After(5 * time.Second):
				t.Errorf("at %s behind the %s: no answer", level, name)
			}
		}
		if err := errors.Join(r.s.Close(), r.j.Close()); err != nil {
			t.Error(err)
		}
	}
}
