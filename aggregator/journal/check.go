package journal

import (
	"errors"
	"os"
)

// Waiting is what a journal holds beyond a position.
type Waiting struct {
	Frames int
	Events int
}

// Begun reports that the journal in dir has a segment.
func Begun(dir string) (bool, error) {
	numbers, err := (&Journal{dir: dir}).list()
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return len(numbers) > 0, err
}

// Check reads the journal in dir as Open would, and changes nothing.
func Check(dir string, committed Position) (w Waiting, err error) {
	j := &Journal{dir: dir}
	numbers, err := j.list()
	if errors.Is(err, os.ErrNotExist) {
		return Waiting{}, nil
	}
	if err != nil {
		return Waiting{}, err
	}
	for len(numbers) > 0 && numbers[0] < committed.Segment {
		numbers = numbers[1:]
	}
	found, _, err := j.openAll(numbers, committed, os.O_RDONLY)
	defer func() {
		for _, s := range found {
			err = errors.Join(err, s.file.Close())
		}
	}()
	if err != nil {
		return Waiting{}, err
	}
	frames, _, err := examine(found, committed)
	for _, frame := range frames {
		w.Frames++
		w.Events += frame.Events
	}
	return w, err
}
