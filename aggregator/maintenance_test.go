package aggregator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

// TestCheckOfTimesAhead: times that lie in the future are a fault of an aggregator that is alone,
// which mend-time mends. Those of a replica are the same on all, and nobody mends them: check tells
// of them, and no join is refused for them.
func TestCheckOfTimesAhead(t *testing.T) {
	for name, replica := range map[string]bool{"alone": false, "replica": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, _, err := store.Open(dir, store.Design{})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Change(func(c *sqlite.Conn) error {
				if replica {
					if err := cluster.MakeReplica(c, cluster.Identity{Cluster: "c", Epoch: 1, Created: time.Now()}, cluster.ApplyVersion); err != nil {
						return err
					}
				}
				return c.Exec("UPDATE state SET last_received_at = '2136-11-28T00:00:00.000000000Z'")
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			err = Check(t.Context(), dir, &said)
			if (err == nil) != replica || !strings.Contains(said.String(), "ahead of the clock") || strings.Contains(said.String(), "mend-time") == replica {
				t.Errorf("%v: %s", err, said.String())
			}
			if _, faults, err := store.Check(t.Context(), dir); err != nil || len(faults) > 0 {
				t.Errorf("a join would be refused: %q, %v", faults, err)
			}
		})
	}
}

// TestNothingIsOpened: a database of which a disk has left one page of zeros, beside a WAL whose
// header is damaged, is refused by all that would open it, and nothing of it changes.
func TestNothingIsOpened(t *testing.T) {
	dir := t.TempDir()
	s, state, err := store.Open(dir, store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	b := s.NewBatch()
	b.Rows = append(b.Rows, store.Row{ReceivedAt: "2026-11-30T06:41:10.000000000Z"})
	b.Rows[0].Topic, b.Rows[0].ID, b.Rows[0].Timestamp = "t", "i", "2026-11-30T06:41:10Z"
	b.Prepare()
	if _, err := store.NewApplier(s).Apply(state, b); err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(filepath.Join(dir, store.File+"-wal"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	j, _, err := journal.Open(filepath.Join(dir, "journal"), state.Journal)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wal[0] ^= 1
	files := map[string][]byte{store.File: make([]byte, store.PageBytes), store.File + "-wal": wal}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, open := range map[string]func() error{
		"a start":      func() error { return journalBegun(dir) },
		"mend-time":    func() error { return MendTime(dir, time.Now(), t.Output()) },
		"new-epoch":    func() error { _, _, _, err := openStopped(dir); return err },
		"init-cluster": func() error { _, _, err := openBegun(dir); return err },
		"join":         func() error { _, err := (&joiner{ClusterConfig: &ClusterConfig{Data: dir}}).ownState(); return err },
	} {
		if err := open(); err == nil || !strings.Contains(err.Error(), "is damaged at byte") {
			t.Errorf("%s: %v, want that the WAL is damaged", name, err)
		}
		for file, want := range files {
			if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != string(want) {
				t.Fatalf("%s: %s has changed: %d bytes, %v", name, file, len(got), err)
			}
		}
	}
}
