package dedup

import (
	"errors"
	"fmt"
	"time"

	"sekali/aggregator/crash"
	"sekali/aggregator/stage"
)

const (
	// fanIn is how many neighbours of a level are merged into one run of the next. More are written less often and
	// looked through more often: at 20 M keys a key is written three times, and there are at most some 15 runs.
	fanIn = 8
	// workerPause is how long a worker that failed waits before it tries again.
	workerPause = time.Second
)

// work writes frozen tables and merges runs until the index is closed. What is smaller goes first, so that a large merge never
// lets many small runs gather.
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
		t, level, ok := x.next(merges)
		if !ok {
			return
		}
		var err error
		if t != nil {
			err = x.write(t)
		} else {
			err = x.mergeOn(merges, level)
		}
		x.report(err)
	}
}

// next waits for something to do: a table to write, or a level whose merge goes on or begins.
func (x *Index) next(merges map[int]*merge) (t *table, level int, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for !x.closed {
		if x.unwritten > 0 {
			return x.frozen[len(x.frozen)-x.unwritten], 0, true
		}
		for level := range x.levels() {
			if merges[level] != nil || x.neighbours(level) != nil {
				return nil, level, true
			}
		}
		x.changed.Wait()
	}
	return nil, 0, false
}

// report remembers what became of the worker's last attempt, and pauses after a failure.
func (x *Index) report(err error) {
	x.mu.Lock()
	x.failing = err
	x.mu.Unlock()
	x.changed.Broadcast()
	if err == nil {
		return
	}
	// A pause that ends early when the index is closed.
	timer := time.AfterFunc(workerPause, x.changed.Broadcast)
	defer timer.Stop()
	until := time.Now().Add(workerPause)
	x.mu.Lock()
	defer x.mu.Unlock()
	for !x.closed && time.Now().Before(until) {
		x.changed.Wait()
	}
}

// write makes a frozen table a run.
func (x *Index) write(t *table) error {
	r, err := x.writeTable(t)
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

func (x *Index) writeTable(t *table) (*run, error) {
	b, err := newBuilder(x.dir, Run{File: newFile(), First: t.first, Last: t.last}, int64(len(t.entries)))
	if err != nil {
		return nil, err
	}
	if err := t.sorted(b.add); err != nil {
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

// mergeOn begins a level's merge or takes it a step further.
func (x *Index) mergeOn(merges map[int]*merge, level int) error {
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
		x.mu.Lock()
		for _, r := range inputs {
			r.merging = true
		}
		x.mu.Unlock()
	}
	crash.Here(crash.MergeStep)
	merged, err := m.step()
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
	x.finished = append(x.finished, c)
	return nil
}

// mergeFailed gives the inputs free again.
func (x *Index) mergeFailed(m *merge, inputs []*run, err error) error {
	if m != nil {
		m.out.abandon()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range inputs {
		r.merging = false
	}
	if err = discard(err); errors.Is(err, ErrDamaged) {
		x.broken = err
	}
	return fmt.Errorf("merge runs: %w", err)
}

// level is a run's: 0 below fanIn tables, and one more for each eightfold.
func (x *Index) level(r *run) int {
	level := 0
	for n := r.Keys / int64(x.newestKeys); n >= fanIn; n /= fanIn {
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

// neighbours returns the oldest fanIn runs of a level that lie side by side and are free, nil if there are none. The caller holds mu.
func (x *Index) neighbours(level int) []*run {
	from := 0
	for i, r := range x.runs {
		if r.merging || x.level(r) != level {
			from = i + 1
		} else if i+1-from == fanIn {
			return x.runs[from : i+1]
		}
	}
	return nil
}
