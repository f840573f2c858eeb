// Package disk makes files, and the names they have, durable.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"sekali/aggregator/crash"
)

// Sync makes f durable with all that is known of it; of a folder, the names in it.
func Sync(f *os.File) error {
	if crash.NoSync {
		return nil
	}
	return f.Sync()
}

// renewBytes is how much of a file Renew holds at a time.
const renewBytes = 1 << 20

// Renew writes f from one offset to another again as it is, and makes it durable. A page whose sync
// has failed may count as clean: then another sync would not write it.
func Renew(f *os.File, from, to int64) error {
	buf := make([]byte, min(renewBytes, to-from))
	for from < to {
		piece := buf[:min(int64(len(buf)), to-from)]
		if _, err := f.ReadAt(piece, from); err != nil {
			return err
		}
		if _, err := f.WriteAt(piece, from); err != nil {
			return err
		}
		from += int64(len(piece))
	}
	return Sync(f)
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(Sync(d), d.Close())
}

// MakeDir makes dir and what is missing above it, for their owner alone, and each new name durable
// before there is anything behind it: a power loss that took the name would take all that was
// synced in the folder since. So a folder that has something in it is left as it is; an empty one
// may be what a start that was cut off has left.
func MakeDir(dir string) error {
	dir = filepath.Clean(dir) // or its parent might be itself
	empty, err := isEmpty(dir)
	missing := errors.Is(err, fs.ErrNotExist)
	parent := filepath.Dir(dir)
	switch {
	case missing && parent != dir:
		if err := MakeDir(parent); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrPermission): // it is there, and not made here
		return nil
	case err != nil || !empty || parent == dir:
		return err
	}
	p, err := os.Open(parent)
	if errors.Is(err, fs.ErrPermission) && !missing {
		return nil // likewise
	}
	if err != nil {
		return err
	}
	if missing {
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil || errors.Is(err, fs.ErrExist) { // somebody was faster
		err = Sync(p)
	}
	return errors.Join(err, p.Close())
}

func isEmpty(dir string) (bool, error) {
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	_, err = d.Readdirnames(1)
	if err == io.EOF {
		return true, nil
	}
	return false, err
}
