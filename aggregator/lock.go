package aggregator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sekali/aggregator/internal/disk"
	"sekali/aggregator/store"
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

// lockByHand is lock for a command that writes to a data folder which an aggregator is to open
// afterwards. What root makes there an aggregator of another user could not open.
func lockByHand(dir string) (unlock func(), err error) {
	if uid, _ := ownerOf(dir); uid != 0 && os.Geteuid() == 0 {
		name := fmt.Sprintf("#%d", uid)
		if u, err := user.LookupId(name[1:]); err == nil {
			name = u.Username
		}
		return nil, fmt.Errorf("-data: %s belongs to the user %s, who could not open what root makes there: run this command by `sudo -u '%s'`", dir, name, name)
	}
	return lock(dir)
}

// ownerOf is whose aggregator a folder is: who has the database, or the folder if there is none. It
// is root where that is not known.
func ownerOf(dir string) (uid, gid int) {
	for _, path := range []string{filepath.Join(dir, store.File), dir} {
		var stat unix.Stat_t
		if unix.Stat(path, &stat) == nil {
			return int(stat.Uid), int(stat.Gid)
		}
	}
	return 0, 0
}

// giveToOwner gives the lock that root has just made to whose folder it is in, as SQLite does with
// its files. Where that cannot be, it stays root's. Nothing else is given: whose folder it is may
// have put a link in its place.
func giveToOwner(f *os.File, dir string) {
	var stat unix.Stat_t
	uid, gid := ownerOf(dir)
	if uid == 0 || os.Geteuid() != 0 || unix.Fstat(int(f.Fd()), &stat) != nil {
		return
	}
	if stat.Uid == 0 && stat.Nlink == 1 && stat.Size == 0 && stat.Mode&unix.S_IFMT == unix.S_IFREG {
		_ = f.Chown(uid, gid)
	}
}

// taken is a data folder that this process alone has, and what of it was not there before.
type taken struct {
	dir    string
	unlock func()
	made   []string // folders, the innermost first
	lock   bool     // the file of the lock
}

// takeFolder is lock for who gives the folder back as it was, if nothing comes of it.
func takeFolder(dir string) (*taken, error) {
	t := &taken{dir: dir}
	for d := filepath.Clean(dir); isMissing(d); d = filepath.Dir(d) {
		t.made = append(t.made, d)
	}
	t.lock = isMissing(filepath.Join(dir, lockFile))
	var err error
	if t.unlock, err = lockByHand(dir); err != nil {
		t.removeFolders()
		return nil, err
	}
	return t, nil
}

// giveBack ends the taking, and removes what takeFolder has made, but for folders in which
// something else is now. The lock's file is removed while it is locked: see take.
func (t *taken) giveBack() error {
	var err error
	if t.lock {
		err = os.Remove(filepath.Join(t.dir, lockFile))
	}
	t.removeFolders()
	t.unlock()
	return err
}

func (t *taken) removeFolders() {
	for _, dir := range t.made {
		_ = os.Remove(dir) // one that is not empty stays
	}
}

func isMissing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
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

// take locks the file under the lock's name. Who gives a folder back may have removed the file that
// was opened: a lock of that one keeps nobody out, and the file that is there now is tried.
func take(dir string, flags, how int) (unlock func(), err error) {
	path := filepath.Join(dir, lockFile)
	for {
		f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("-data: %w", err)
		}
		giveToOwner(f, dir)
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("%w %s, or a check of it", errRuns, dir), f.Close())
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("-data: lock %s: %w", dir, err), f.Close())
		}
		if isAt(f, path) {
			return func() { f.Close() }, nil
		}
		f.Close()
	}
}

// isAt reports that an open file is the one under a name.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, named)
}
