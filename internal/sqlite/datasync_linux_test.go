package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"
)

// synced is what fdatasync was asked for until the test ends: the files' names. fail, if it is not
// nil, is what it returns.
func synced(t *testing.T, fail *error) *[]string {
	names := &[]string{}
	fdatasync = func(fd int) error {
		path, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
		if err != nil {
			t.Error(err)
		}
		*names = append(*names, filepath.Base(path))
		if fail != nil && *fail != nil {
			return *fail
		}
		return unix.Fdatasync(fd)
	}
	t.Cleanup(func() { fdatasync = unix.Fdatasync })
	return names
}

// openDurable opens a new database whose commits are durable, with a table that has a row.
func openDurable(t *testing.T, query string) *Conn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Open("file:" + path + query)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, sql := range []string{"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA wal_autocheckpoint=0", "CREATE TABLE t (n)"} {
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestCommitsAreSyncedByFdatasync: a commit syncs the WAL, and a checkpoint the database, by one
// fdatasync each. The first commit has made the new WAL's name durable, by what SQLite has for
// that.
func TestCommitsAreSyncedByFdatasync(t *testing.T) {
	names := synced(t, nil)
	c := openDurable(t, "")
	for range 3 {
		*names = nil
		if err := c.Exec("INSERT INTO t VALUES (1)"); err != nil {
			t.Fatal(err)
		}
		if want := []string{"events.db-wal"}; !slices.Equal(*names, want) {
			t.Errorf("a commit synced %q, want %q", *names, want)
		}
	}
	*names = nil
	if err := c.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"events.db-wal", "events.db"}; !slices.Equal(*names, want) {
		t.Errorf("a checkpoint synced %q, want %q", *names, want)
	}
}

// TestFailedFdatasyncFailsTheCommit: it is an error of the commit, and nothing of it is visible.
func TestFailedFdatasyncFailsTheCommit(t *testing.T) {
	var fail error
	synced(t, &fail)
	c := openDurable(t, "")
	fail = unix.EIO
	err := c.Exec("INSERT INTO t VALUES (1)")
	var e *Error
	if !errors.As(err, &e) || e.Code != sqlite3.SQLITE_IOERR_FSYNC {
		t.Fatalf("a commit whose sync fails: %v, want SQLITE_IOERR_FSYNC", err)
	}
	fail = nil
	var rows int64
	if err := c.Row("SELECT count(*) FROM t", &rows); err != nil || rows != 0 {
		t.Errorf("%d rows, %v; want none", rows, err)
	}
}

// TestAnotherFileSystemCanBeNamed: vfs=unix is SQLite's own, with fsync.
func TestAnotherFileSystemCanBeNamed(t *testing.T) {
	names := synced(t, nil)
	c := openDurable(t, "?vfs=unix")
	if err := c.Exec("INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	if len(*names) > 0 {
		t.Errorf("fdatasync was asked for %q", *names)
	}
}
