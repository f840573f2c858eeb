package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sekali/aggregator/crash"
	"sekali/aggregator/internal/disk"
	"sekali/internal/sqlite"
)

// ErrReadOnlyWAL means a folder that cannot be written, whose WAL holds commits: SQLite reads a WAL
// only where it may write beside it.
var ErrReadOnlyWAL = errors.New("holds commits, and its folder cannot be written: copy the folder to where it can be, and use the copy")

// Stopped reports whether the database in dir has to be opened as a file that nobody writes: its
// folder cannot be written, and no aggregator has left anything beside it. The caller has to see to
// it that none starts meanwhile.
func Stopped(dir string) (bool, error) {
	if unix.Access(dir, unix.W_OK) == nil {
		return false, nil
	}
	wal, empty := filepath.Join(dir, File+"-wal"), false
	switch info, err := os.Stat(wal); {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	default:
		empty = info.Size() == 0 // as beside an aggregator that has copied all of it
	}
	switch _, err := os.Stat(filepath.Join(dir, File+"-shm")); {
	case errors.Is(err, fs.ErrNotExist) && !empty:
		return false, fmt.Errorf("%s %w", wal, ErrReadOnlyWAL)
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	default: // SQLite reads a WAL by it
		return false, err
	}
}

// readOnly is the URI of the database in dir for those who change nothing; an aggregator may be
// running on it.
func readOnly(dir string, query ...string) (string, error) {
	path := filepath.Join(dir, File)
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	wal, err := recognised(path)
	if err != nil {
		return "", err
	}
	if err := hasTables(path, wal); err != nil {
		return "", err
	}
	stopped, err := Stopped(dir)
	if err != nil {
		return "", err
	}
	query = append(query, "mode=ro")
	if stopped { // SQLite makes no files beside it then, and takes no locks
		query = append(query, "immutable=1")
	}
	return dsn(path, query...), nil
}

// openReadOnly opens the database in dir as it is. What does not fit where it is sorted stays in
// memory: an image has no /tmp.
func openReadOnly(dir string) (*sql.DB, error) {
	uri, err := readOnly(dir, "_pragma=temp_store(2)", fmt.Sprintf("_pragma=busy_timeout(%d)", busyTimeoutMS))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db, err := sql.Open("sqlite", uri)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db.SetMaxOpenConns(1)
	if err := isOurs(db, filepath.Join(dir, File)); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", err), db.Close())
	}
	return db, nil
}

// openConnReadOnly is openReadOnly on SQLite's own interface.
func openConnReadOnly(dir string) (*sqlite.Conn, error) {
	uri, err := readOnly(dir)
	if err != nil {
		return nil, err
	}
	c, err := sqlite.Open(uri)
	if err != nil {
		return nil, err
	}
	if err := c.Exec("PRAGMA temp_store=MEMORY"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// View calls a function with a connection to the database in dir that changes nothing; an
// aggregator may be running on it.
func View(dir string, view func(c *sqlite.Conn) error) error {
	c, err := openConnReadOnly(dir)
	if err != nil {
		return err
	}
	return errors.Join(view(c), c.Close())
}

// Backup writes a copy of what is committed in dir's database to the new file to, also
// while an aggregator runs there. What only its journal holds is not in the copy. While it
// runs, the WAL cannot be given back.
func Backup(ctx context.Context, dir, to string) (err error) {
	db, err := openReadOnly(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // VACUUM INTO takes an empty file
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return errors.Join(fmt.Errorf("store: backup: %w", explained(filepath.Join(dir, File), err)), os.Remove(to))
	}
	if err := makeDurable(to); err != nil {
		return errors.Join(fmt.Errorf("store: backup: %w", err), os.Remove(to))
	}
	return nil
}

// copyFile is where Copy writes, beside the database. No person would call a backup so: what is
// left under this name is removed.
const copyFile = "copying.db"

// ErrNoRoom means that the disk has not as much room left as a copy takes.
var ErrNoRoom = errors.New("the disk has no room for a copy")

// Copy returns a copy of what is committed, as an open file of size bytes that has no name any
// more: it is gone when it is closed. One is made at a time. It reads in a transaction of its own,
// so that the WAL cannot be given back meanwhile, and it ends early where a failed checkpoint wants
// all connections closed.
func (s *Store) Copy(ctx context.Context) (f *os.File, size int64, err error) {
	to := filepath.Join(filepath.Dir(s.path), copyFile)
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("store: copy: %w", err)
	}
	database, wal := s.Sizes()
	if free, err := disk.Free(filepath.Dir(s.path)); err != nil || free < database+wal+copyLeaves {
		return nil, 0, errors.Join(fmt.Errorf("store: %w of %d bytes", ErrNoRoom, database+wal), err)
	}
	if f, err = os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
		return nil, 0, fmt.Errorf("store: copy: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = s.beside(func() error {
		s.copying.Store(&cancel)
		defer s.copying.Store(nil)
		if s.checkpointFailed.Load() { // forget may have asked for copying before
			return ErrReopening
		}
		return s.copyTo(ctx, to)
	})
	crash.Here(crash.CopyMade)
	if err = errors.Join(err, os.Remove(to)); err == nil {
		var info os.FileInfo
		if info, err = f.Stat(); err == nil {
			return f, info.Size(), nil
		}
	}
	return nil, 0, errors.Join(fmt.Errorf("store: copy: %w", err), f.Close())
}

// copyLeaves is how much room a copy leaves to the aggregator on the disk.
const copyLeaves = 64 << 20

// copyTo copies over a connection of its own: the pool's may not write, be it elsewhere.
func (s *Store) copyTo(ctx context.Context, to string) (err error) {
	db, err := sql.Open("sqlite", dsn(s.path, "mode=ro", "_pragma=temp_store(2)", fmt.Sprintf("_pragma=busy_timeout(%d)", busyTimeoutMS)))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	return errors.Join(err, db.Close())
}

// RemoveCopy removes what a Copy has left that was killed.
func RemoveCopy(dir string) error {
	for _, name := range []string{copyFile, copyFile + "-journal"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// makeDurable makes a file and its name durable: a copy counts once it would survive a power loss.
func makeDurable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), disk.SyncDir(filepath.Dir(path)))
}
