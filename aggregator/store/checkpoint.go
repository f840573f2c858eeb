package store

import (
	"errors"
	"fmt"

	"sekali/internal/sqlite"
)

// WAL is the state of the write-ahead log, in pages.
type WAL struct {
	Pages        int64 // in the log
	Checkpointed int64 // of them, those the database has too
}

// WAL returns the state of the write-ahead log.
func (s *Store) WAL() (WAL, error) { return checkpoint(s.writer, "NOOP") }

// Checkpoint writes the WAL into the database as far as no reader holds it back.
// When all of it is there, the next commit begins the WAL anew.
func (s *Store) Checkpoint() (WAL, error) {
	wal, err := checkpoint(s.writer, "PASSIVE")
	return wal, s.noteCheckpoint(err)
}

// TruncateWAL is Checkpoint, and takes the WAL's file from the disk, unless somebody reads from it
// just now.
func (s *Store) TruncateWAL() (WAL, error) {
	// Nobody is waited for: the writer has others to serve.
	if err := s.writer.Exec("PRAGMA busy_timeout=0"); err != nil {
		return WAL{}, fmt.Errorf("store: checkpoint: %w", err)
	}
	wal, err := checkpoint(s.writer, "TRUNCATE")
	if again := s.writer.Exec(fmt.Sprintf("PRAGMA busy_timeout=%d", busyTimeoutMS)); again != nil {
		err = errors.Join(err, fmt.Errorf("store: checkpoint: %w", again))
	}
	return wal, s.noteCheckpoint(err)
}

// CheckpointBeside checkpoints what is committed when it begins, on a connection of its own, and
// may be called beside the writer.
func (s *Store) CheckpointBeside() (err error) {
	c, err := s.openConn()
	if err != nil {
		return fmt.Errorf("store: checkpoint: %w", err)
	}
	defer func() { err = s.noteCheckpoint(errors.Join(err, c.Close())) }()
	if err := c.Exec("PRAGMA synchronous=" + synchronousPragma()); err != nil {
		return fmt.Errorf("store: checkpoint: %w", err)
	}
	_, err = checkpoint(c, "PASSIVE")
	return err
}

func checkpoint(c *sqlite.Conn, mode string) (WAL, error) {
	var busy int64
	var w WAL
	if err := c.Row("PRAGMA wal_checkpoint("+mode+")", &busy, &w.Pages, &w.Checkpointed); err != nil {
		return WAL{}, fmt.Errorf("store: checkpoint: %w", err)
	}
	return w, nil
}
