package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sekali/aggregator/internal/disk"
	"sekali/aggregator/journal"
	"sekali/internal/sqlite"
)

// Adopt makes a copy of another aggregator's database, which nobody has open, one of this: it says
// from where on the journal beside it has what is not applied, for the copy knows only the position
// in the other's journal. look reads the copy in the same transaction, and may refuse it.
func Adopt(dir string, at journal.Position, applied int, look func(c *sqlite.Conn) error) (err error) {
	c, err := sqlite.Open(dsn(filepath.Join(dir, File), "mode=rw"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	state, err := prepare(c, Design{}, &Info{})
	if err != nil {
		return err
	}
	return c.Transaction(func() error {
		if err := look(c); err != nil {
			return err
		}
		state.Journal, state.JournalApplied = at, applied
		return writeState(c, state)
	})
}

// Replace puts the database of one folder, in which nobody has it open, in the place of another's.
// A crash leaves the one or the other whole. The runs are made again.
func Replace(from, to string) error {
	path := filepath.Join(from, File)
	if err := makeDurable(path); err != nil {
		return err
	}
	for _, side := range []string{"-wal", "-shm", "-journal"} { // closed in order, there is none
		for _, dir := range []string{from, to} {
			if info, err := os.Stat(filepath.Join(dir, File+side)); err == nil && info.Size() > 0 {
				return fmt.Errorf("store: %s%s is not empty", filepath.Join(dir, File), side)
			}
		}
	}
	if err := os.Rename(path, filepath.Join(to, File)); err != nil {
		return err
	}
	return disk.SyncDir(to)
}
