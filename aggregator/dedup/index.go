package dedup

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sekali/aggregator/crash"
)

const (
	// memtableKeys is how many keys wait in memory to become a run, some 20 MB. More would be written
	// less often; after a crash as many, and those of a run not yet on the list, are read back from
	// the events.
	memtableKeys = 1 << 18 / crash.Smaller
	// maxUnwritten bounds the immutable memtables that wait for the worker: a disk that takes no run
	// for so long holds the writer up.
	maxUnwritten = 4
)

// Index answers whether an event is stored. Its methods have one caller, the writer.
type Index struct {
	// Set by Open, and only read.
	dir          string
	hasher       hasher
	memtableKeys int
	done         chan struct{} // closed when the worker has ended

	// Owned by the writer, and by Open before there is one.
	memtable *memtable
	spare    *memtable // once immutable, now a run; the next memtable
	batch    *Batch    // that is decided on
	first    int64     // the seq of its first event
	absent   []ranked  // what no table and no run has had yet
	// By row: what is stored under the same identity, if anything is.
	seqs      []int64
	stored    []Content
	conflicts []int         // rows
	held      time.Duration // what the batch has waited for the worker

	tables memtableSorter // of who writes tables: the worker, and Open before there is one

	mu           sync.Mutex  // guards all below
	changed      sync.Cond   // on mu: something below has changed
	runs         []*run      // by First; replaced, never changed in place
	immutable    []*memtable // oldest first; those not yet in runs
	unwritten    int         // of immutable, the last so many have no file yet
	finished     []Change    // by the worker; not yet installed
	taken        int64       // keys that Committed has taken over
	lastBatch    time.Time   // when
	obsolete     []*obsolete // files that the list has left behind
	removed      time.Time   // when the last piece of one was
	failing      error       // the worker's last attempt
	mergesAt     time.Time   // after a merge failed: not before
	mergesFailed int         // one behind the other
	broken       error       // a run is damaged: the index has to be opened again
	closed       bool
}

// Change is a step of the list: what it lists instead of what.
type Change struct {
	Add, Remove []Run

	add    []*run
	remove []*run
	table  *memtable // that became a run
}

// Changes returns the steps of the list that the next transaction has to record.
func (x *Index) Changes() []Change {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clip(x.finished)
}

// Committed takes over what a transaction has made durable: the batch, of which those rows are
// stored that are marked so, and the changes. last is the highest seq it used. It returns how long
// the index has held the batch up beside deciding on it: for the worker to make room, and to hand
// over to it and take over from it.
func (x *Index) Committed(stored []bool, last int64, changes []Change) (held time.Duration) {
	taken := 0
	for _, p := range x.batch.probes {
		if stored[p.at] {
			x.memtable.add(p.hash, x.batch.key(p.at), x.first+int64(p.at), x.batch.contents[p.at])
			taken++
		}
	}
	began := time.Now()
	if len(x.batch.probes) > 0 {
		x.mu.Lock()
		x.taken, x.lastBatch = x.taken+int64(taken), began
		x.mu.Unlock()
		x.changed.Broadcast()
	}
	if len(x.memtable.entries) >= x.memtableKeys {
		x.rotate(last)
	}
	if len(changes) > 0 {
		x.install(changes)
	}
	return x.held + time.Since(began)
}

// rotate begins a new table and leaves the full one to the worker.
func (x *Index) rotate(last int64) {
	x.memtable.last = last
	x.mu.Lock()
	x.immutable = append(slices.Clip(x.immutable), x.memtable)
	x.unwritten++
	x.mu.Unlock()
	x.changed.Broadcast()
	if x.spare == nil {
		x.spare = newMemtable(0, x.memtableKeys, cap(x.memtable.keys))
	}
	x.memtable, x.spare = x.spare, nil
	x.memtable.reset(last + 1)
}

// install puts the changes into force and leaves to the worker the files that nobody reads any
// more.
func (x *Index) install(changes []Change) {
	x.mu.Lock()
	defer x.mu.Unlock()
	runs := slices.Clone(x.runs)
	for _, c := range changes {
		runs = slices.DeleteFunc(runs, func(r *run) bool { return slices.Contains(c.remove, r) })
		runs = append(runs, c.add...)
		if c.table != nil {
			x.immutable = slices.DeleteFunc(slices.Clone(x.immutable), func(t *memtable) bool { return t == c.table })
			x.spare = c.table
		}
		for _, named := range c.Remove {
			g := &obsolete{path: filepath.Join(x.dir, named.File)}
			for _, r := range c.remove {
				if r.Run == named {
					g.file, g.remaining = r.file, r.size()
				}
			}
			x.obsolete = append(x.obsolete, g)
		}
	}
	slices.SortFunc(runs, func(a, b *run) int { return int(a.First - b.First) })
	// A copy: the rest of a slice would keep what is before it, tables and filters.
	x.runs, x.finished = runs, append([]Change(nil), x.finished[len(changes):]...)
	x.changed.Broadcast()
}

// MemoryBytes is what the runs take of the memory, and the merges that are under way.
func (x *Index) MemoryBytes() (bytes int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.runs {
		n := 8 * int64(len(r.filter)+len(r.sparse))
		if r.merging { // what it becomes has as much
			n *= 2
		}
		bytes += n
	}
	return bytes
}

// Close ends the worker and closes the files. What only memory knows is read from the events at the
// next Open.
func (x *Index) Close() error {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	x.changed.Broadcast()
	<-x.done
	for _, g := range x.obsolete {
		g.end()
	}
	runs := x.runs
	for _, c := range x.finished {
		runs = append(runs, c.add...)
	}
	return closeRuns(runs)
}

func closeRuns(runs []*run) error {
	var errs []error
	for _, r := range runs {
		errs = append(errs, r.file.Close())
	}
	return errors.Join(errs...)
}
