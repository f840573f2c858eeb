package dedup

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dchest/siphash"

	"sekali/aggregator/crash"
	"sekali/aggregator/disk"
)

const (
	// newestKeys is how many keys wait in memory to become a run, some 20 MB. More would be written
	// less often; after a crash as many, and those of a run not yet on the list, are read back from
	// the events.
	newestKeys = 1 << 18 / crash.Smaller
	// maxUnwritten bounds the frozen tables that wait for the worker: a disk that takes no run for so
	// long holds the writer up.
	maxUnwritten = 4
	// SecretBytes is the length of the hash's key. It is secret so that no publisher can choose ids
	// whose hashes agree.
	SecretBytes = 16
)

// Config is what an Index is opened with.
type Config struct {
	Dir    string // made if need be; nobody else's
	Secret []byte // SecretBytes, the same for ever
	Runs   []Run  // the list
	Last   int64  // the highest seq that the database has
	// Events calls each for every stored event with from <= seq <= to, in the order of seq. The
	// content of some may not be known any more.
	Events func(from, to int64, each func(seq int64, topic, id string, content Content) error) error

	NewestKeys int                   // how many keys wait in memory to become a run; 0 is the default
	hash       func(k []byte) uint64 // tests: a worse one
}

// Index answers whether an event is stored. Its methods have one caller, the writer.
type Index struct {
	dir        string
	hash       func(k []byte) uint64
	newestKeys int

	// Owned by the writer.
	newest *table
	spare  *table   // frozen once, now a run; the next newest
	batch  *Batch   // that is decided on
	first  int64    // the seq of its first event
	absent []ranked // what no table and no run has had yet
	// By row: what is stored under the same identity, if anything is.
	seqs      []int64
	stored    []Content
	conflicts []int         // rows
	held      time.Duration // what the batch has waited for the worker

	tables tableSorter // of who writes tables: the worker, and Open before there is one

	mu           sync.Mutex
	changed      sync.Cond // mu; unwritten or failing or closed changed
	runs         []*run    // by First; replaced, never changed in place
	frozen       []*table  // oldest first; those not yet in runs
	unwritten    int       // of frozen, the last so many have no file yet
	finished     []Change  // by the worker; not yet installed
	taken        int64     // keys that Committed has taken over
	lastBatch    time.Time // when
	gone         []*gone   // files that the list has left behind
	removed      time.Time // when the last piece of one was
	failing      error     // the worker's last attempt
	mergesAt     time.Time // after a merge failed: not before
	mergesFailed int       // one behind the other
	broken       error     // a run is damaged: the index has to be opened again
	closed       bool
	done         chan struct{} // the worker has ended
}

// Change is a step of the list: what it lists instead of what.
type Change struct {
	Add, Remove []Run

	add    []*run
	remove []*run
	table  *table // that became a run
}

// Open opens the runs of the list, makes those again whose files are missing or damaged, and reads
// the newest keys back from the events. Changes that come of it are among the first Changes.
func Open(c Config) (_ *Index, err error) {
	x := &Index{dir: c.Dir, hash: c.hash, newestKeys: c.NewestKeys, done: make(chan struct{})}
	x.changed.L = &x.mu
	if x.newestKeys == 0 {
		x.newestKeys = newestKeys
	}
	if err := x.setHash(c); err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("dedup: %w", errors.Join(err, closeRuns(x.runs)))
		}
	}()
	if err := disk.MakeDir(c.Dir); err != nil {
		return nil, err
	}
	if x.gone, err = others(c.Dir, c.Runs); err != nil {
		return nil, err
	}
	covered := int64(0)
	for _, named := range c.Runs {
		if named.First != covered+1 || named.Last < named.First || named.Last > c.Last {
			return nil, fmt.Errorf("the list has a run of seq %d to %d behind %d, and the events end at %d", named.First, named.Last, covered, c.Last)
		}
		covered = named.Last
		r, err := openRun(c.Dir, named)
		if err == nil {
			x.runs = append(x.runs, r)
			continue
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		if err := x.remake(named, c.Events); err != nil {
			return nil, err
		}
	}
	crash.Here(crash.DedupOpened)
	x.newest = newTable(covered+1, x.newestKeys, 0)
	var k key
	err = c.Events(covered+1, c.Last, func(seq int64, topic, id string, content Content) error {
		k = appendKey(k[:0], topic, id)
		x.newest.add(x.hash(k), k, seq, content)
		if len(x.newest.entries) < x.newestKeys {
			return nil
		}
		x.freeze(seq)
		return x.writeOldest()
	})
	if err != nil {
		return nil, err
	}
	go x.work()
	return x, nil
}

// setHash makes the hash of the secret, unless a test has its own.
func (x *Index) setHash(c Config) error {
	if x.hash != nil {
		return nil
	}
	if len(c.Secret) != SecretBytes {
		return fmt.Errorf("a secret of %d bytes, want %d", len(c.Secret), SecretBytes)
	}
	k0, k1 := binary.LittleEndian.Uint64(c.Secret), binary.LittleEndian.Uint64(c.Secret[8:])
	x.hash = func(k []byte) uint64 { return siphash.Hash(k0, k1, k) }
	return nil
}

// writeOldest writes the oldest frozen table, if there are more than may wait for the worker, which
// is not there yet.
func (x *Index) writeOldest() error {
	if len(x.frozen) <= maxUnwritten {
		return nil
	}
	r, err := x.writeTable(x.frozen[0])
	if err != nil {
		return err
	}
	x.spare = x.frozen[0]
	x.runs, x.frozen, x.unwritten = append(x.runs, r), x.frozen[1:], x.unwritten-1
	x.finished = append(x.finished, Change{Add: []Run{r.Run}})
	return nil
}

// others returns the files that are not on the list: of merges that a crash ended, or that the list
// has left behind. They may be large, and nobody waits for their end.
func others(dir string, listed []Run) (left []*gone, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if slices.ContainsFunc(listed, func(r Run) bool { return r.File == f.Name() }) {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		left = append(left, &gone{path: filepath.Join(dir, f.Name()), left: info.Size()})
	}
	return left, nil
}

// remake makes a run again from the events that it covers, as several where they are many.
func (x *Index) remake(named Run, events func(from, to int64, each func(seq int64, topic, id string, content Content) error) error) error {
	change := Change{Remove: []Run{named}}
	t := newTable(named.First, x.newestKeys, 0)
	write := func(last int64) error {
		t.last = last
		r, err := x.writeTable(t)
		if err != nil {
			return err
		}
		change.Add, x.runs = append(change.Add, r.Run), append(x.runs, r)
		t.reset(last + 1)
		return nil
	}
	var keys int64
	var k key
	err := events(named.First, named.Last, func(seq int64, topic, id string, content Content) error {
		if len(t.entries) >= x.newestKeys {
			if err := write(seq - 1); err != nil {
				return err
			}
		}
		keys++
		k = appendKey(k[:0], topic, id)
		t.add(x.hash(k), k, seq, content)
		return nil
	})
	if err == nil && keys != named.Keys {
		err = fmt.Errorf("%s cannot be made again: %d events where it had %d keys", named.File, keys, named.Keys)
	}
	if err == nil {
		err = write(named.Last)
	}
	x.finished = append(x.finished, change)
	return err
}

// Decide returns for each event of the batch the seq under which it is stored: its own if it is
// new, that of an earlier one if it is a duplicate. The batch's first event has the seq first. The
// slice is valid until the next Decide, and the batch is the index's until then or until it is
// committed.
func (x *Index) Decide(b *Batch, first int64) ([]int64, error) {
	x.batch, x.first = b, first
	began := time.Now()
	runs, frozen, err := x.room()
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
		seq, content, ok := x.newest.find(p.hash, k)
		for t := len(frozen) - 1; !ok && t >= 0; t-- {
			seq, content, ok = frozen[t].find(p.hash, k)
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
	left := x.absent[:0]
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
		left = append(left, p)
	}
	x.absent = left
	return nil
}

// room waits until not too many tables wait to be written, and returns what is to be searched.
func (x *Index) room() (runs []*run, frozen []*table, err error) {
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
	return x.runs, x.frozen, nil
}

// discard removes the file of a run that turned out to be damaged.
func discard(err error) error {
	var d *damage
	if errors.As(err, &d) {
		err = errors.Join(err, os.Remove(d.run.path))
	}
	return err
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
			x.newest.add(p.hash, x.batch.key(p.at), x.first+int64(p.at), x.batch.contents[p.at])
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
	if len(x.newest.entries) >= x.newestKeys {
		x.freeze(last)
	}
	if len(changes) > 0 {
		x.install(changes)
	}
	return x.held + time.Since(began)
}

// freeze begins a new table and leaves the full one to the worker.
func (x *Index) freeze(last int64) {
	x.newest.last = last
	x.mu.Lock()
	x.frozen = append(slices.Clip(x.frozen), x.newest)
	x.unwritten++
	x.mu.Unlock()
	x.changed.Broadcast()
	if x.spare == nil {
		x.spare = newTable(0, x.newestKeys, cap(x.newest.keys))
	}
	x.newest, x.spare = x.spare, nil
	x.newest.reset(last + 1)
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
			x.frozen = slices.DeleteFunc(slices.Clone(x.frozen), func(t *table) bool { return t == c.table })
			x.spare = c.table
		}
		for _, named := range c.Remove {
			g := &gone{path: filepath.Join(x.dir, named.File)}
			for _, r := range c.remove {
				if r.Run == named {
					g.file, g.left = r.file, r.size()
				}
			}
			x.gone = append(x.gone, g)
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
		n := 8 * int64(len(r.filter)+len(r.fences))
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
	for _, g := range x.gone {
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

// newFile returns a name that no run has had: a list of another time, from a backup, must not find
// files of this one.
func newFile() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:]) + ".run"
}
