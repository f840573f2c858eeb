package aggregator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sekali/aggregator/store"
)

// home is a data folder as it was when it was opened. A folder that is removed, replaced or
// unmounted while it is open can be written to all the same, and nobody finds again what is written.
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
