package aggregator

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sekali/aggregator/store"
)

// TestRootLeavesTheFolderToItsOwner: what root runs by hand on another user's data folder leaves no
// file there that this user's aggregator cannot open, or is refused.
func TestRootLeavesTheFolderToItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: needs root")
	}
	const nobody = 65534
	dir, left := t.TempDir(), t.TempDir()
	s, _, err := store.Open(left, store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(left)); err != nil { // as a kill leaves it, with a WAL
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	each := func(do func(path string) error) {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return do(path)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, store.File+"-shm")); err != nil {
		t.Fatal(err)
	}
	each(func(path string) error { return os.Chown(path, nobody, nobody) })
	for name, command := range map[string]func() error{
		"mend-time":    func() error { return MendTime(dir, time.Now(), io.Discard) },
		"cluster join": func() error { _, err := takeFolder(dir); return err },
		"new-epoch":    func() error { _, _, _, err := openStopped(dir); return err },
	} {
		if err := command(); err == nil || !strings.Contains(err.Error(), "belongs to the user") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Backup(t.Context(), dir, filepath.Join(t.TempDir(), "copy.db")); err != nil {
		t.Errorf("backup: %v", err)
	}
	if err := Check(t.Context(), dir, t.Output()); err != nil {
		t.Errorf("check: %v", err)
	}
	files := 0
	each(func(path string) error {
		var stat unix.Stat_t
		if err := unix.Stat(path, &stat); err != nil {
			return err
		}
		if files++; stat.Uid != nobody || stat.Gid != nobody {
			t.Errorf("%s belongs to %d:%d", path, stat.Uid, stat.Gid)
		}
		return nil
	})
	if files < 3 { // the folder, the database and the lock
		t.Errorf("%d files are left", files)
	}
}

// TestRootGivesNothingElse: a link that the folder's owner has put where the lock is leads nowhere:
// the file that it names stays root's.
func TestRootGivesNothingElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: needs root")
	}
	const nobody = 65534
	for name, link := range map[string]func(old, new string) error{"symbolic": os.Symlink, "hard": os.Link} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			dir, other := filepath.Join(base, "data"), filepath.Join(base, "roots")
			err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, nobody, nobody), os.WriteFile(other, nil, 0o600), link(other, filepath.Join(dir, lockFile)))
			if err != nil {
				t.Fatal(err)
			}
			if unlock, err := lockShared(dir); err == nil {
				unlock()
			}
			var stat unix.Stat_t
			if err := unix.Stat(other, &stat); err != nil || stat.Uid != 0 {
				t.Errorf("it belongs to %d: %v", stat.Uid, err)
			}
		})
	}
}
