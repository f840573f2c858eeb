package aggregator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sekali/aggregator/internal/disk"
)

// errRuns means a data folder that another process has taken.
var errRuns = errors.New("another aggregator runs on")

// lockFile is a file of its own: opening and closing the database file would drop SQLite's locks.
const lockFile = "lock"

// lock makes the data folder and takes it for this process alone.
func lock(dir string) (unlock func(), err error) {
	if err := disk.MakeDir(dir); err != nil {
		return nil, fmt.Errorf("-data: %w", err)
	}
	return take(dir, os.O_RDWR|os.O_CREATE, unix.LOCK_EX)
}

// lockShared takes a data folder for this process and others that change nothing. A folder that
// cannot be written and has no lock is one that no aggregator ever ran on, such as a backup's.
func lockShared(dir string) (unlock func(), err error) {
	unlock, err = take(dir, os.O_RDWR|os.O_CREATE, unix.LOCK_SH)
	if errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) {
		unlock, err = take(dir, os.O_RDONLY, unix.LOCK_SH)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	return unlock, err
}

func take(dir string, flags, how int) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("-data: %w", err)
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("%w %s, or a check of it", errRuns, dir), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("-data: lock %s: %w", dir, err), f.Close())
	}
	return func() { f.Close() }, nil
}
