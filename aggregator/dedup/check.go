package dedup

import (
	"errors"
	"fmt"
	"os"
)

// Check compares the runs of a list with the events, changes nothing, and returns what is wrong. A
// file that is missing, as beside a backup, or that another version wrote, is no fault: the next
// start makes it again.
func Check(c Config) (faults []string, err error) {
	x := &Index{hasher: c.hasher}
	if err := x.setHasher(c); err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	for _, named := range c.Runs {
		r, err := openRun(c.Dir, named)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, errVersion) {
			continue
		}
		if err != nil {
			faults = append(faults, fmt.Sprintf("dedup: %v", err))
			continue
		}
		err = x.checkRun(r, c)
		if err = errors.Join(err, r.file.Close()); err != nil {
			faults = append(faults, fmt.Sprintf("dedup: %v", err))
		}
	}
	return faults, nil
}

// checkRun reads a run from end to end and looks up each event that it covers.
func (x *Index) checkRun(r *run, c Config) error {
	var keys int64
	cursor := newCursor(r)
	last := entry{}
	for {
		ok, err := cursor.advance()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if keys > 0 && byHash(last, cursor.entry) >= 0 {
			return fmt.Errorf("%s: entry %d is out of order", r.File, keys)
		}
		last = entry{hash: cursor.entry.hash, seq: cursor.entry.seq}
		keys++
	}
	if keys != r.Keys {
		return fmt.Errorf("%s: %d keys, the list says %d", r.File, keys, r.Keys)
	}
	var events int64
	var k key
	err := c.Events(r.First, r.Last, func(seq int64, topic, id string, content Content) error {
		var hash uint64
		k, hash = appendKey(x.hasher, k[:0], topic, id)
		found, known, ok, err := r.find(hash, k)
		if err == nil && (!ok || found != seq || !r.filter.has(hash)) {
			err = fmt.Errorf("%s does not know event %d", r.File, seq)
		}
		if err == nil && content.Conflicts(known) {
			err = fmt.Errorf("%s has another content of event %d", r.File, seq)
		}
		events++
		return err
	})
	if err == nil && events != keys {
		err = fmt.Errorf("%s: %d keys for %d events", r.File, keys, events)
	}
	return err
}
