package aggregator

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"sekali/aggregator/internal/disk"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// home is a data folder as it was when it was opened. A folder that is removed, replaced or
// unmounted while it is open can be written to all the same, and nobody finds again what is
// written.
type home struct {
	paths []string
	found []os.FileInfo // by path
}

var errMoved = errors.New("the data folder is not the one that was opened")

func newHome(data string) (*home, error) {
	h := &home{paths: []string{filepath.Join(data, store.File), filepath.Join(data, "journal"), filepath.Join(data, "lock")}}
	for _, path := range h.paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("-data: %w", err)
		}
		h.found = append(h.found, info)
	}
	return h, nil
}

// intact says what of the folder has gone from its place; nil: nothing has.
func (h *home) intact() error {
	for i, path := range h.paths {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("%w: %w", errMoved, err)
		}
		if !os.SameFile(info, h.found[i]) {
			return fmt.Errorf("%w: %s was replaced", errMoved, path)
		}
	}
	return nil
}

const (
	// reserveFile is given up by a start that has no room at all: SQLite wants 32 KiB for the index of
	// the WAL before anything can be read.
	reserveFile  = "reserve"
	reserveBytes = 256 << 10
)

// keepReserve makes the reserve of a data folder, unless it is there, or the room is wanted for
// what was taken.
func keepReserve(data string) {
	path := filepath.Join(data, reserveFile)
	if _, err := os.Stat(path); err == nil || freeBytes(data) < pipeline.RoomLeast {
		return
	}
	if os.WriteFile(path, make([]byte, reserveBytes), 0o600) != nil {
		_ = os.Remove(path)
	}
}

// openStore opens the store, if need be with the room of the reserve.
func openStore(cfg Config, told *starting) (*store.Store, store.State, error) {
	if err := told.at("opening the database"); err != nil {
		return nil, store.State{}, err
	}
	design := store.Design{Dedup: store.Dedup(cfg.Dedup), Layout: store.Layout(cfg.Layout)}
	s, state, err := store.OpenAndTell(cfg.Data, design, told.keys)
	if err == nil || errors.Is(err, errEnded) || freeBytes(cfg.Data) >= reserveBytes || os.Remove(filepath.Join(cfg.Data, reserveFile)) != nil {
		return s, state, err
	}
	return store.OpenAndTell(cfg.Data, design, told.keys)
}

// freeBytes is what the disk has left; one that cannot be asked is not what is wrong.
func freeBytes(data string) int64 {
	free, err := disk.Free(data)
	if err != nil {
		return math.MaxInt64
	}
	return free
}
