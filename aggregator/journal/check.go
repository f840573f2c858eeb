package journal

import (
	"errors"
	"os"
)

// Waiting is what a journal holds beyond a position.
type Waiting struct {
	Frames    int
	Events    int
	TornBytes int64 // of a frame that a crash has cut; Open would cut it off
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
	if err := contiguous(numbers, committed); err != nil {
		return Waiting{}, err
	}
	for i, segment := range numbers {
		last := i == len(numbers)-1
		f, err := os.Open(j.path(segment))
		if err != nil {
			return Waiting{}, err
		}
		frames, end, size, err := examine(f, segment, committed, last)
		err = errors.Join(err, f.Close())
		if last && size < headerBytes && segment != committed.Segment {
			return w, nil // a crash came while it was begun
		}
		if err != nil {
			return Waiting{}, err
		}
		w.Frames += len(frames)
		for _, frame := range frames {
			w.Events += frame.Events
		}
		w.TornBytes = size - end
	}
	return w, nil
}
