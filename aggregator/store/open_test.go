package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sekali/aggregator/event"
)

// TestOpeningIsEnded: whoever opens hears how far the keys of the events are read, and may end it.
// The runs that were made by then are removed, and the next opening knows every event.
func TestOpeningIsEnded(t *testing.T) {
	const events, newest = 12 * progressEvery, progressEvery
	dir := t.TempDir()
	reopen := func(tell Progress) (*Store, State, error) {
		return open(&Store{path: filepath.Join(dir, File), memtableKeys: newest, progress: tell})
	}
	var rows []Row
	for i := range events {
		e := event.Event{Topic: "t", ID: fmt.Sprint(i), Timestamp: "2026-11-23T06:41:10Z", Payload: "1"}
		rows = append(rows, Row{Event: e, ReceivedAt: "2026-11-23T06:41:10.000000000Z"})
	}
	s, state, err := reopen(nil)
	if err != nil {
		t.Fatal(err)
	}
	apply := func() {
		t.Helper()
		applier := NewApplier(s)
		for some := range slices.Chunk(rows, newest) {
			out, err := applier.Apply(state, Batch{Rows: some})
			if err != nil {
				t.Fatal(err)
			}
			state = out.State
		}
	}
	apply()
	runs := filepath.Join(dir, dedupDir)
	if err := errors.Join(s.Close(), os.RemoveAll(runs)); err != nil {
		t.Fatal(err)
	}
	files := func() int {
		found, err := os.ReadDir(runs)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	ended, told := errors.New("ended"), int64(0)
	_, _, err = reopen(func(seq, last int64) error {
		if seq <= told || last != events {
			t.Errorf("behind %d it tells of %d, of %d", told, seq, last)
		}
		if told = seq; told <= events/2 || files() == 0 {
			return nil
		}
		return ended
	})
	if !errors.Is(err, ended) {
		t.Fatalf("up to %d it was told, and ended with %v", told, err)
	}
	if n := files(); n > 0 {
		t.Errorf("%d files are left", n)
	}
	told = 0
	s, state, err = reopen(func(seq, _ int64) error { told = seq; return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	if told != events {
		t.Errorf("it was told up to %d, want %d", told, int64(events))
	}
	if apply(); state.UniqueProcessed != events || state.DuplicateDropped != events {
		t.Errorf("all of it again: %+v", state)
	}
}
