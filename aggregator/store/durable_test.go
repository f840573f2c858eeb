package store

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestReopenAfterFailedCopy: a copy of the WAL that failed counts as copied in part, and what it
// counts may be lost. So the next opening begins at the WAL's beginning, or is refused while
// somebody else has the database open. Meanwhile nobody reads.
func TestReopenAfterFailedCopy(t *testing.T) {
	dir := t.TempDir()
	s, state, err := Open(dir, Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := NewApplier(s).Apply(state, Batch{Rows: killRows(0)})
	if err != nil {
		t.Fatal(err)
	}
	if wal, err := s.Checkpoint(); err != nil || wal.Checkpointed == 0 {
		t.Fatal(wal, err)
	}
	other, err := sql.Open("sqlite", dsn(filepath.Join(dir, File), "mode=ro")) // it cannot copy the WAL when it is closed
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var n int64
	if err := other.QueryRow("SELECT count(*) FROM state").Scan(&n); err != nil {
		t.Fatal(err)
	}
	_ = s.noteCheckpoint(errors.New("fsync: EIO"))
	if _, err := s.Reopen(); !errors.Is(err, ErrHeldOpen) {
		t.Fatalf("opened beside another: %v", err)
	}
	page := Page{Limit: 1, Bytes: 1}
	if _, _, _, err := s.Events(t.Context(), nil, page, JSON); !errors.Is(err, ErrReopening) {
		t.Errorf("read while it is not open: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := s.Reopen()
	if err != nil || again != out.State {
		t.Fatalf("%+v, %v; want %+v", again, err, out.State)
	}
	if wal, err := s.WAL(); err != nil || wal.Checkpointed != 0 || wal.Pages == 0 {
		t.Errorf("%+v %v: it does not begin at the WAL's beginning", wal, err)
	}
	if _, _, n, err := s.Events(t.Context(), nil, page, JSON); err != nil || n != 1 {
		t.Errorf("%d events, %v", n, err)
	}
}

// TestNoCopyBesideAFailedCheckpoint: a copy that begins between a failed checkpoint and the opening
// that follows ends at once. That opening has not found a copy to end, and would wait for this one.
func TestNoCopyBesideAFailedCheckpoint(t *testing.T) {
	s, _, err := Open(t.TempDir(), Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_ = s.noteCheckpoint(errors.New("fsync: EIO"))
	if _, _, err := s.Copy(t.Context()); !errors.Is(err, ErrReopening) {
		t.Errorf("%v, want %v", err, ErrReopening)
	}
	if _, err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	f, _, err := s.Copy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestNobodyReadsWhileItReopens: a connection that a reader opens then would keep what the failed
// sync has left.
func TestNobodyReadsWhileItReopens(t *testing.T) {
	s, _, err := Open(t.TempDir(), Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.forget(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for name, read := range map[string]func() error{
		"Events":         func() error { _, _, _, err := s.Events(ctx, nil, Page{Limit: 1, Bytes: 1}, JSON); return err },
		"Skip":           func() error { _, err := s.Skip(ctx, Page{Since: "2026-11-28T00:00:00Z"}); return err },
		"LastSeq":        func() error { _, err := s.LastSeq(ctx); return err },
		"DeadLetters":    func() error { _, _, err := s.DeadLetters(ctx, Page{Limit: 1, Bytes: 1}); return err },
		"LastDeadLetter": func() error { _, err := s.LastDeadLetter(ctx); return err },
	} {
		if err := read(); !errors.Is(err, ErrReopening) {
			t.Errorf("%s: %v, want %v", name, err, ErrReopening)
		}
	}
	s.remember()
}

// TestLastCommit: a start writes again what the last commit has written, whatever lay in the file
// before the WAL began anew; an opening after a failure writes all of it.
func TestLastCommit(t *testing.T) {
	dir := t.TempDir()
	s, state, err := Open(dir, Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for round := range int64(40) {
		rows := killRows(round)
		for len(rows) < int(round%7)*150 { // commits of few pages and of many
			rows = append(rows, rows...)
		}
		before, err := s.WAL()
		if err != nil {
			t.Fatal(err)
		}
		out, err := NewApplier(s).Apply(state, Batch{Rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		state = out.State
		after, err := s.WAL()
		if err != nil {
			t.Fatal(err)
		}
		want := before.Pages
		if after.Pages <= before.Pages { // the WAL has begun anew
			want = 0
		}
		wal, err := os.Open(s.path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := lastCommit(wal, after.Pages, PageBytes); err != nil || got != walOffset(want, PageBytes) {
			t.Errorf("round %d: the last commit begins at %d, %v; want %d: behind %d of %d pages", round, got, err, walOffset(want, PageBytes), want, after.Pages)
		}
		if got, err := new(Store).renewFrom(wal, after.Pages, PageBytes); err != nil || got != walOffset(want, PageBytes) {
			t.Errorf("round %d: a start writes from %d on again, %v", round, got, err)
		}
		if got, err := s.renewFrom(wal, after.Pages, PageBytes); err != nil || got != walHeaderBytes {
			t.Errorf("round %d: after a failure it is written again from %d on, %v", round, got, err)
		}
		if err := wal.Close(); err != nil {
			t.Fatal(err)
		}
		if round%9 == 8 {
			if _, err := s.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
