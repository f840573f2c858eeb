package dedup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Decide returns for each event of the batch the seq under which it is stored: its own if it is
// new, that of an earlier one if it is a duplicate. The batch's first event has the seq first. The
// slice is valid until the next Decide, and the batch is the index's until then or until it is
// committed.
func (x *Index) Decide(b *Batch, first int64) ([]int64, error) {
	x.batch, x.first = b, first
	began := time.Now()
	runs, immutable, err := x.awaitWorker()
	x.held = time.Since(began)
	if err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	b.Sort()
	x.seqs = slices.Grow(x.seqs[:0], len(b.probes))[:len(b.probes)]
	x.stored = append(x.stored[:0], b.contents...)
	x.absent = x.absent[:0]
	repeats := false
	for i, p := range b.probes {
		k := b.key(p.at)
		seq, content, ok := x.memtable.find(p.hash, k)
		for t := len(immutable) - 1; !ok && t >= 0; t-- {
			seq, content, ok = immutable[t].find(p.hash, k)
		}
		if ok {
			x.stored[p.at] = content
		}
		for j := i - 1; !ok && j >= 0 && b.probes[j].hash == p.hash; j-- {
			if q := b.probes[j]; string(b.key(q.at)) == string(k) {
				seq, ok, repeats = -1-int64(q.at), true, true // as that row, whatever the runs say of it
			}
		}
		if !ok {
			seq = x.first + int64(p.at)
			x.absent = append(x.absent, p)
		}
		x.seqs[p.at] = seq
	}
	for _, r := range slices.Backward(runs) {
		if err := x.search(r); err != nil {
			return nil, fmt.Errorf("dedup: %w", discard(err))
		}
	}
	for i := range x.seqs {
		for repeats && x.seqs[i] < 0 {
			row := -1 - x.seqs[i]
			x.seqs[i], x.stored[i] = x.seqs[row], x.stored[row]
		}
	}
	return x.seqs, nil
}

// Conflicts returns the rows of the batch that was decided last which say something else than what
// is stored under their identity. It is valid until the next call.
func (x *Index) Conflicts() []int {
	x.conflicts = x.conflicts[:0]
	for i, content := range x.batch.contents {
		if content.Conflicts(x.stored[i]) {
			x.conflicts = append(x.conflicts, i)
		}
	}
	return x.conflicts
}

// search looks for what is absent so far in one more run.
func (x *Index) search(r *run) error {
	remaining := x.absent[:0]
	for _, p := range x.absent {
		if r.filter.has(p.hash) {
			seq, content, ok, err := r.find(p.hash, x.batch.key(p.at))
			if err != nil {
				return err
			}
			if ok {
				x.seqs[p.at], x.stored[p.at] = seq, content
				continue
			}
		}
		remaining = append(remaining, p)
	}
	x.absent = remaining
	return nil
}

// awaitWorker waits until not too many tables wait to be written, and returns what is to be
// searched.
func (x *Index) awaitWorker() (runs []*run, immutable []*memtable, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken != nil {
		return nil, nil, x.broken
	}
	for x.unwritten > maxUnwritten {
		if x.failing != nil {
			return nil, nil, x.failing
		}
		x.changed.Wait()
	}
	return x.runs, x.immutable, nil
}

// discard removes the file of a run that turned out to be damaged.
func discard(err error) error {
	var d *damage
	if errors.As(err, &d) {
		err = errors.Join(err, os.Remove(d.run.path))
	}
	return err
}
