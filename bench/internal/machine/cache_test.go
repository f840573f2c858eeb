package machine

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPageCache: what was just written is in the cache, in all folders below; what the kernel was
// told to forget is not, nor is a hole that nobody has read.
func TestPageCache(t *testing.T) {
	dir := t.TempDir()
	const size = 8<<20 + 100 // the last page is not full
	page := int64(os.Getpagesize())
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]*os.File{}
	for _, name := range []string{"one", "below/two", "empty", "hole"} {
		file, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		files[name] = file
	}
	for _, name := range []string{"one", "below/two"} {
		if _, err := files[name].Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := files["hole"].Truncate(3 << 30); err != nil {
		t.Fatal(err)
	}
	whole := int64(8<<20) + page
	if got, err := PageCache(dir); err != nil || got != 2*whole {
		t.Errorf("%d bytes, want %d: %v", got, 2*whole, err)
	}
	if Filesystem(dir) == "tmpfs" {
		t.Log("skipped: a tmpfs forgets nothing")
	} else if err := files["one"].Sync(); err != nil {
		t.Fatal(err)
	} else if err := unix.Fadvise(int(files["one"].Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	} else if got, err := PageCache(dir); err != nil || got >= whole+whole/2 {
		t.Errorf("of two files one is forgotten, and %d bytes are cached: %v", got, err)
	}
	if _, err := PageCache(filepath.Join(dir, "none")); err == nil {
		t.Error("there is no such folder")
	}
}
