package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"sekali/aggregator/internal/disk"
	"sekali/internal/sqlite"
)

// What an opening finds need not be on the disk. After a kill the WAL may show a commit whose sync
// never came. After a sync that failed, Linux may count the pages as clean, so that the next sync
// writes none of them. So the last commit that is found is written again before anything is built
// upon it: see settle. All commits before it were synced before it was written, if they are ours. A
// foreign writer's need not be: after a failure within the process the whole WAL is written again.

const (
	walHeaderBytes   = 32 // of the file
	frameHeaderBytes = 24 // of each page in it
)

var (
	// ErrReopening means that the store is being opened anew, and cannot be read meanwhile.
	ErrReopening = errors.New("the database is being opened anew")
	// ErrHeldOpen means that a failed checkpoint cannot be begun anew: only the first who opens
	// the database begins at the WAL's beginning, and somebody else has it open.
	ErrHeldOpen = errors.New("a checkpoint has failed, and another process has the database open: it must close it")
)

// settle makes durable what the opening has found: it writes the WAL's header and its last commit
// again, after a failure all of it, as they are, and syncs the WAL and its name. A checkpoint would
// not do: where pages of the WAL are lost it writes into the database what the WAL cannot repeat,
// so a power cut in the middle of it would leave half of a commit. And a foreign reader can hold a
// checkpoint up, but not this.
func (s *Store) settle(c *sqlite.Conn) (err error) {
	wal, err := checkpoint(c, "NOOP")
	if err != nil {
		return err
	}
	if s.checkpointFailed.Load() && wal.Checkpointed > 0 {
		return ErrHeldOpen
	}
	if wal.Pages > 0 {
		if err := s.renewWAL(c, wal.Pages); err != nil {
			return fmt.Errorf("make the WAL durable: %w", err)
		}
	}
	return disk.SyncDir(filepath.Dir(s.path))
}

// renewWAL writes again those of the WAL's first pages that may not be on the disk. Nobody can
// write to it meanwhile.
func (s *Store) renewWAL(c *sqlite.Conn, pages int64) (err error) {
	var pageSize int64
	if err := c.Row("PRAGMA page_size", &pageSize); err != nil {
		return err
	}
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Exec("ROLLBACK")) }()
	// SQLite's locks are on the other two files: closing this one drops none.
	f, err := os.OpenFile(s.path+"-wal", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	from, err := s.renewFrom(f, pages, pageSize)
	if err == nil {
		err = disk.Renew(f, 0, walHeaderBytes)
	}
	if err == nil {
		err = disk.Renew(f, from, walOffset(pages, pageSize))
	}
	return errors.Join(err, f.Close())
}

// renewFrom is where what may not be on the disk begins in a WAL of so many pages: its last commit,
// or, where the process had it open before, and so a failure came before, all of it.
func (s *Store) renewFrom(wal io.ReaderAt, pages, pageSize int64) (offset int64, err error) {
	if s.Info != (Info{}) {
		return walHeaderBytes, nil
	}
	return lastCommit(wal, pages, pageSize)
}

// walOffset is where so many pages of a WAL end.
func walOffset(pages, pageSize int64) int64 {
	return walHeaderBytes + pages*(frameHeaderBytes+pageSize)
}

// lastCommit is where the last commit begins in a WAL of so many pages, the last of which ends it.
func lastCommit(wal io.ReaderAt, pages, pageSize int64) (offset int64, err error) {
	for before := pages - 1; before > 0; before-- {
		offset = walOffset(before, pageSize)
		var databasePages [4]byte // of the page before, if it ends a commit; else 0
		if _, err := wal.ReadAt(databasePages[:], walOffset(before-1, pageSize)+4); err != nil {
			return 0, err
		}
		if binary.BigEndian.Uint32(databasePages[:]) > 0 {
			return offset, nil
		}
	}
	return walHeaderBytes, nil
}

// keep holds the index of the WAL open beside the writer. It knows only commits that were synced.
// So what a failed one has left in the WAL is not found when the writer opens the database again,
// and no reader ever sees it.
func (s *Store) keep() error {
	if s.keeper != nil {
		return nil
	}
	c, err := sqlite.Open(dsn(s.path, "mode=ro"))
	if err != nil {
		return err
	}
	if _, err := readState(c); err != nil { // it opens the WAL
		return errors.Join(err, c.Close())
	}
	s.keeper = c
	return nil
}

// forget closes all connections but the writer's, once those who read have ended. A checkpoint
// that failed may have been counted as done in part: the first who opens the database begins it
// anew.
func (s *Store) forget() error {
	if !s.shut {
		if end := s.copying.Load(); end != nil {
			(*end)()
		}
		s.reading.Lock() // readers end within their own time
		s.shut = true
	}
	s.Pool.SetMaxIdleConns(-1)
	if s.keeper == nil {
		return nil
	}
	err := s.keeper.Close()
	s.keeper = nil
	return err
}

// remember ends forget.
func (s *Store) remember() {
	s.checkpointFailed.Store(false)
	if s.shut {
		s.Pool.SetMaxIdleConns(readers)
		s.shut = false
		s.reading.Unlock()
	}
}

// read calls a function that reads from the pool, once a connection is free. Of a Pool's contexts
// only this one ends a wait.
func (s *Store) read(ctx context.Context, f func(*Pool) error) error {
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turns }()
	return s.beside(func() error { return f(s.Pool) })
}

// beside calls a function that no failed checkpoint may be settled beside.
func (s *Store) beside(f func() error) error {
	if !s.reading.TryRLock() {
		return ErrReopening
	}
	defer s.reading.RUnlock()
	return f()
}

// noteCheckpoint notes what became of a checkpoint. One that has filled the disk has lost nothing.
func (s *Store) noteCheckpoint(err error) error {
	if err != nil && !IsFull(err) {
		s.checkpointFailed.Store(true)
	}
	return err
}

// touch makes the file for its owner alone, before SQLite would make it for all, and what is in it
// durable: it may have been put there a moment ago. Of a database that is just made, the first page
// is written again: the sync of it may have failed, and until the first checkpoint nobody else
// writes it. Nobody may have it open: closing it would drop SQLite's locks.
func touch(path string) error {
	how, size := os.O_RDONLY, int64(0)
	if info, err := os.Stat(path); err == nil && info.Size() <= PageBytes {
		how, size = os.O_RDWR, info.Size()
	}
	f, err := os.OpenFile(path, how|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(disk.Renew(f, 0, size), f.Close())
}

// forgetUnwritten empties a database that is one page of zeros, as a power cut leaves one that was
// just being made: SQLite would take it for no database. What is in its WAL decides before this.
func forgetUnwritten(path string, wal walFound) error {
	unwritten, err := isUnwritten(path)
	if err != nil || !unwritten || wal.frames > 0 {
		return err
	}
	return os.Truncate(path, 0)
}

// isUnwritten reports that a database has no more than one page, all of zeros.
func isUnwritten(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || info.Size() == 0 || info.Size() > PageBytes {
		return false, err
	}
	content, err := os.ReadFile(path)
	return err == nil && len(bytes.Trim(content, "\x00")) == 0, err
}
