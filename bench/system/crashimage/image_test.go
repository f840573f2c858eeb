package crashimage

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestFailedSyncOfAnotherDescriptor: a failed sync takes what its own descriptor wrote, and a later
// sync does not bring it back. What another descriptor wrote is durable with that one's sync.
func TestFailedSyncOfAnotherDescriptor(t *testing.T) {
	for fd, mayBeLost := range map[string]bool{"5": true, "6": false} {
		lost := false
		for seed := range uint64(64) {
			trace := NewTrace("/data")
			trace.Ops = []Op{
				{kind: create, path: "/data/wal"},
				{kind: syncBegin, path: "/data"}, {kind: syncEnd, path: "/data", begin: 1},
				{kind: write, path: "/data/wal", fd: fd, data: []byte("commit")},
				{kind: syncBegin, path: "/data/wal", fd: "5"}, {kind: syncFailed, path: "/data/wal", fd: "5", begin: 4},
				{kind: syncBegin, path: "/data/wal", fd: "6"}, {kind: syncEnd, path: "/data/wal", fd: "6", begin: 6},
			}
			dir := t.TempDir()
			if err := trace.Write(dir, len(trace.Ops), Rules{}, rand.New(rand.NewPCG(seed, 1))); err != nil {
				t.Fatal(err)
			}
			have, err := os.ReadFile(filepath.Join(dir, "wal"))
			if err != nil {
				t.Fatal(err)
			}
			lost = lost || string(have) != "commit"
		}
		if lost != mayBeLost {
			t.Errorf("written by %s, the sync of 5 failed, that of 6 did not: lost %v, want %v", fd, lost, mayBeLost)
		}
	}
}
