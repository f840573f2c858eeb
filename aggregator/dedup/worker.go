package dedup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sekali/aggregator/crash"
	"sekali/aggregator/internal/stage"
)

const (
	// fanIn is how many neighbours of a level are merged into one run of the next. More are written
	// less often and looked through more often: at 20 M keys a key is written three times, and up to
	// 22 M no more than 11 runs were seen.
	fanIn = 8
	// workerPause is how long a worker that failed waits before it tries again.
	workerPause = time.Second
	// mergesPause is how long it leaves merges at most, twice as long after each failure: one that a
	// full disk ends has filled it each time, and begins anew.
	mergesPause = 64 * workerPause
	// A file that a merge has left behind is cut down by removeBytes, and again removePause later,
	// before its name is removed: the blocks of a file of 64 MB that was removed at once, on ext4 with
	// discard, held every sync on the disk up for 17 ms.
	removeBytes = 2 << 20
	removePause = 10 * time.Millisecond
)

// work writes immutable memtables and merges runs until the index is closed. What is smaller goes
// first, so that a large merge never lets many small runs gather.
func (x *Index) work() {
	defer close(x.done)
	stage.Runs.Enter()
	merges := map[int]*merge{} // by level
	defer func() {
		for _, m := range merges {
			m.out.abandon()
		}
	}()
	for {
		job := x.next(merges)
		if job == nil {
			return
		}
		x.report(job())
	}
}

// next waits for something to do: a table to write, a file to remove, or a level whose merge goes
// on or begins. It is nil once the index is closed.
func (x *Index) next(merges map[int]*merge) (job func() error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for !x.closed {
		var soonest time.Time // when something is due for which time has to pass
		now := time.Now()
		due := func(at time.Time) bool {
			if at.After(now) && (soonest.IsZero() || at.Before(soonest)) {
				soonest = at
			}
			return !at.After(now)
		}
		// Before tables: a full disk may want the room for them.
		if len(x.obsolete) > 0 && due(x.removed.Add(removePause)) {
			g := x.obsolete[0]
			return func() error { x.remove(g); return nil }
		}
		if x.unwritten > 0 {
			t := x.immutable[len(x.immutable)-x.unwritten]
			return func() error { return x.write(t) }
		}
		if due(x.mergesAt) {
			for level := range x.levels() {
				if m := merges[level]; m == nil && x.neighbours(level) != nil || m != nil && due(x.mergeDue(m)) {
					return func() error { return x.mergeStep(merges, level) }
				}
			}
		}
		x.wait(soonest)
	}
	return nil
}

// wait waits until something has changed or the time has come; the zero time never does. The caller
// holds mu.
func (x *Index) wait(until time.Time) {
	if !until.IsZero() {
		timer := time.AfterFunc(time.Until(until), func() {
			x.mu.Lock() // or it might be heard by nobody, between a look at the clock and the wait
			defer x.mu.Unlock()
			x.changed.Broadcast()
		})
		defer timer.Stop()
	}
	x.changed.Wait()
}

// mergeDue returns when a merge may go on. The caller holds mu.
func (x *Index) mergeDue(m *merge) time.Time {
	if !m.paced || m.moved()+m.slice <= mergeCredit*(x.taken-m.from) {
		return time.Time{}
	}
	idle, least := x.lastBatch.Add(mergeIdle), m.last.Add(mergeLeast)
	if idle.Before(least) {
		return idle
	}
	return least
}

// report remembers what became of the worker's last attempt, and pauses after a failure.
func (x *Index) report(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failing = err
	x.changed.Broadcast()
	if err == nil {
		return
	}
	for until := time.Now().Add(workerPause); !x.closed && time.Now().Before(until); {
		x.wait(until)
	}
}

// obsolete is a run's file that is not on the list any more, and that nobody reads.
type obsolete struct {
	path      string
	file      *os.File // nil: not open
	remaining int64    // bytes
}

// remove goes on to remove the first of the obsolete files.
func (x *Index) remove(g *obsolete) {
	crash.Here(crash.RunsReplaced)
	if g.remaining -= removeBytes; g.remaining > 0 && os.Truncate(g.path, g.remaining) == nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.removed = time.Now()
		return
	}
	g.end()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.removed, x.obsolete = time.Now(), x.obsolete[1:]
}

// end removes what is left of a file, or the next start does; a damaged one may be gone.
func (g *obsolete) end() {
	if g.file != nil {
		_ = g.file.Close() // it was only read
	}
	_ = os.Remove(g.path)
}

// write makes a immutable memtable a run.
func (x *Index) write(t *memtable) error {
	r, err := x.writeMemtable(t)
	if err != nil {
		return err
	}
	crash.Here(crash.RunDurable)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unwritten--
	x.finished = append(x.finished, Change{Add: []Run{r.Run}, add: []*run{r}, table: t})
	return nil
}

func (x *Index) writeMemtable(t *memtable) (*run, error) {
	b, err := newBuilder(x.dir, Run{File: newFile(), First: t.first, Last: t.last}, int64(len(t.entries)))
	if err != nil {
		return nil, err
	}
	if err := x.tables.each(t, b.add); err != nil {
		b.abandon()
		return nil, fmt.Errorf("write a run: %w", err)
	}
	r, err := b.finish()
	if err != nil {
		b.abandon()
		return nil, fmt.Errorf("write a run: %w", err)
	}
	return r, nil
}

// mergeStep begins a level's merge or takes it a step further.
func (x *Index) mergeStep(merges map[int]*merge, level int) error {
	m := merges[level]
	if m == nil {
		x.mu.Lock()
		inputs := x.neighbours(level)
		x.mu.Unlock()
		var err error
		if m, err = newMerge(x.dir, newFile(), inputs); err != nil {
			return x.mergeFailed(nil, inputs, err)
		}
		merges[level] = m
		m.paced = level > 0
		x.mu.Lock()
		m.from = x.taken
		for _, r := range inputs {
			r.merging = true
		}
		x.mu.Unlock()
	}
	crash.Here(crash.MergeStep)
	merged, err := m.step()
	m.last = time.Now()
	if err != nil {
		delete(merges, level)
		return x.mergeFailed(m, m.inputs, err)
	}
	if merged == nil {
		return nil
	}
	crash.Here(crash.MergeDurable)
	delete(merges, level)
	c := Change{Add: []Run{merged.Run}, add: []*run{merged}, remove: m.inputs}
	for _, r := range m.inputs {
		c.Remove = append(c.Remove, r.Run)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.finished, x.mergesFailed = append(x.finished, c), 0
	return nil
}

// mergeFailed gives the inputs free again, and puts merges off.
func (x *Index) mergeFailed(m *merge, inputs []*run, err error) error {
	full := errors.Is(err, unix.ENOSPC)
	if m != nil && full {
		m.out.abandon() // at once: everybody waits for the room
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if m != nil && !full {
		x.obsolete = append(x.obsolete, m.out.obsolete())
	}
	for _, r := range inputs {
		r.merging = false
	}
	x.mergesAt = time.Now().Add(min(workerPause<<x.mergesFailed, mergesPause))
	x.mergesFailed = min(x.mergesFailed+1, 16) // far beyond mergesPause
	if err = discard(err); errors.Is(err, ErrDamaged) {
		x.broken = err
	}
	return fmt.Errorf("merge runs: %w", err)
}

// level is a run's: 0 below fanIn tables, and one more for each eightfold.
func (x *Index) level(r *run) int {
	level := 0
	for n := r.Keys / int64(x.memtableKeys); n >= fanIn; n /= fanIn {
		level++
	}
	return level
}

func (x *Index) levels() int {
	levels := 0
	for _, r := range x.runs {
		levels = max(levels, x.level(r)+1)
	}
	return levels
}

// neighbours returns free runs that lie side by side, from the oldest of a level to the one that
// makes them fanIn, nil if there are none. What is smaller is newer, but for runs that were made
// again: such as lie between go along, or they would keep their neighbours apart for ever. The
// caller holds mu.
func (x *Index) neighbours(level int) []*run {
	from, count := 0, 0
	for i, r := range x.runs {
		switch of := x.level(r); {
		case r.merging || of > level:
			count = 0
		case of == level:
			if count == 0 {
				from = i
			}
			if count++; count == fanIn {
				return slices.Clone(x.runs[from : i+1])
			}
		}
	}
	return nil
}
