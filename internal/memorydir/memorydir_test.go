package memorydir

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMake: two folders, wherever they lie, are two, and take files.
func TestMake(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		dir, err := Make("memorydir")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 || seen[dir] {
			t.Errorf("%s: %d entries, %v", dir, len(entries), err)
		}
		seen[dir] = true
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
			t.Error(err)
		}
	}
}
