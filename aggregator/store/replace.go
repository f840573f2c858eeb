package store

import (
	"fmt"
	"os"
	"path/filepath"

	"sekali/aggregator/disk"
	"sekali/aggregator/journal"
	"sekali/internal/sqlite"
)

// SetJournal says from where on the journal beside a store has what is not applied: a copy of
// another aggregator's store knows only the position in that one's journal. Nobody may apply
// anything meanwhile.
func (s *Store) SetJournal(at journal.Position, applied int) error {
	return s.Change(func(c *sqlite.Conn) error {
		state, err := readState(c)
		if err != nil {
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
	for _, side := range []string{"-wal", "-shm"} { // closed in order, there is none
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
