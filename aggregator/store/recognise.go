package store

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sekali/internal/sqlite"
)

// What SQLite says of files that are damaged, or are no database, names neither the file nor what
// is to be done. So they are looked at before it opens them, and what it says all the same is
// explained.

// databaseMagic is how a database begins.
const databaseMagic = "SQLite format 3\x00"

// Other places in the first page of a database.
const (
	pageSizeAt    = 16
	changesAt     = 24 // the number of its changes …
	pagesAt       = 28 // of the file
	pagesOfChange = 92 // … at which pagesAt was written
)

// toDo is what a person does about a damaged database.
const toDo = "keep a copy of the folder, and restore a backup"

// errForeign means a database that is not an aggregator's.
var errForeign = errors.New("is a database of another program: none of its tables is an aggregator's")

// recognised is what SQLite will find in the WAL of the database at path, unless either is none of
// an aggregator's.
func recognised(path string) (wal walFound, err error) {
	if err := recognise(path); err != nil {
		return wal, err
	}
	return belongs(path)
}

// recognise says why what lies at path is no database; nil: it may be one, or nothing lies there.
func recognise(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a folder, and no database", path)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file, and so no database", path)
	}
	header, err := databaseHeader(path)
	if err != nil {
		return err
	}
	if unwritten, err := isUnwritten(path); err != nil || unwritten {
		return err
	}
	switch {
	case header == nil && info.Size() > 0:
		return fmt.Errorf("%s is no database: it has %d bytes", path, info.Size())
	case header != nil && !bytes.HasPrefix(header, []byte(databaseMagic)):
		return fmt.Errorf("%s is no database of SQLite, or damaged: it begins with %.15q. If it was one, %s", path, header, toDo)
	}
	return nil
}

// whole refuses a database that is shorter than it says, as SQLite does. Nobody may write to it.
// Where its WAL has a commit, that says how long it is.
func whole(path string, wal walFound) error {
	header, err := databaseHeader(path)
	if err != nil || header == nil || wal.taken > 0 {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint16(header[pageSizeAt:]))
	if size == 1 {
		size = 64 << 10
	}
	known := bytes.Equal(header[changesAt:changesAt+4], header[pagesOfChange:pagesOfChange+4])
	if want := size * int64(binary.BigEndian.Uint32(header[pagesAt:])); known && info.Size() < want {
		return fmt.Errorf("%s is cut: it has %d bytes, and had %d. Now %s", path, info.Size(), want, toDo)
	}
	return nil
}

// hasTables says why SQLite will find nothing at path.
func hasTables(path string, wal walFound) error {
	header, err := databaseHeader(path)
	if err != nil || wal.taken > 0 || header != nil && binary.BigEndian.Uint32(header[schemaCookieAt:]) > 0 {
		return err
	}
	switch {
	case wal.bytes == 0:
		return fmt.Errorf("%s is empty, and no WAL lies beside it. If events were stored there, %s", path, toDo)
	case wal.wrong != "":
		return fmt.Errorf("%s is empty, and %s-wal is damaged at byte %d of %d: %s. If events were stored there, %s",
			path, path, wal.end, wal.bytes, wal.wrong, toDo)
	default:
		return fmt.Errorf("%s is empty, and %s-wal, of %d bytes, has no commit. If events were stored there, %s", path, path, wal.bytes, toDo)
	}
}

// Begun says why the database in dir, of which something is known to have been committed once, has
// nothing; nil: it has, or there is neither a database nor a WAL.
func Begun(dir string) error {
	path := filepath.Join(dir, File)
	wal, err := recognised(path)
	if _, absent := os.Stat(path); err == nil && (wal.bytes > 0 || !errors.Is(absent, fs.ErrNotExist)) {
		err = hasTables(path, wal)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// WALEnd says what lies behind the whole pages of the WAL in dir, "" if there is nothing that was
// part of it. A commit that a power cut has ended looks like damage.
func WALEnd(dir string) (string, error) {
	path := filepath.Join(dir, File)
	wal, err := belongs(path)
	if err != nil || wal.wrong == "" {
		return "", err
	}
	return fmt.Sprintf("%s-wal has %d whole pages up to byte %d of %d; then %s, as after damage, or where a power cut has ended a commit",
		path, wal.frames, wal.end, wal.bytes, wal.wrong), nil
}

// isOurs refuses another program's database. It is the first that reads one.
func isOurs(db *sql.DB, path string) error {
	var tables int
	if err := db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'state'").Scan(&tables); err != nil {
		return explained(path, err)
	}
	if tables == 0 {
		return explained(path, errForeign)
	}
	return nil
}

// notForeign refuses another program's database before anything is changed in it.
func notForeign(c *sqlite.Conn) error {
	if err := c.Exec(fmt.Sprintf("PRAGMA busy_timeout=%d", busyTimeoutMS)); err != nil {
		return err
	}
	var all, ours int64
	err := c.Row("SELECT count(*), coalesce(sum(type = 'table' AND name = 'state'), 0) FROM sqlite_schema", &all, &ours)
	if err == nil && all > 0 && ours == 0 {
		err = errForeign
	}
	return err
}

// explained adds to an error of SQLite's which file it is about, and what to do.
func explained(path string, err error) error {
	if sqlite.IsDamage(err) {
		return fmt.Errorf("%s is damaged: %w. Now %s", path, err, toDo)
	}
	if errors.Is(err, errForeign) {
		return fmt.Errorf("%s %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}
