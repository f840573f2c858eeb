package dedup

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"sekali/aggregator/crash"
	"sekali/aggregator/internal/disk"
)

// SecretBytes is the length of the hash's key. It is secret so that no publisher can choose ids
// whose hashes agree.
const SecretBytes = 16

// Config is what an Index is opened with.
type Config struct {
	Dir    string // made if need be; nobody else's
	Secret []byte // SecretBytes, the same for ever
	Runs   []Run  // the list
	Last   int64  // the highest seq that the database has
	// Events calls each for every stored event with from <= seq <= to, in the order of seq. The
	// content of some may not be known any more.
	Events func(from, to int64, each func(seq int64, topic, id string, content Content) error) error

	MemtableKeys int    // how many keys wait in memory to become a run; 0 is the default
	hasher       hasher // tests: a worse one
}

// Open opens the runs of the list, makes those again whose files are missing or damaged, and reads
// the memtable back from the events. Changes that come of it are among the first Changes. If it
// fails, it leaves no file that is on no list: who tries again would fill the disk.
func Open(c Config) (_ *Index, err error) {
	x := &Index{dir: c.Dir, hasher: c.hasher, memtableKeys: c.MemtableKeys, done: make(chan struct{})}
	x.changed.L = &x.mu
	if x.memtableKeys == 0 {
		x.memtableKeys = memtableKeys
	}
	if err := x.setHasher(c); err != nil {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("dedup: %w", errors.Join(err, closeRuns(x.runs)))
			x.removeMade()
		}
	}()
	if err := disk.MakeDir(c.Dir); err != nil {
		return nil, err
	}
	if x.obsolete, err = obsoleteFiles(c.Dir, c.Runs); err != nil {
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
	x.memtable = newMemtable(covered+1, x.memtableKeys, 0)
	var k key
	err = c.Events(covered+1, c.Last, func(seq int64, topic, id string, content Content) error {
		var hash uint64
		k, hash = appendKey(x.hasher, k[:0], topic, id)
		x.memtable.add(hash, k, seq, content)
		if len(x.memtable.entries) < x.memtableKeys {
			return nil
		}
		x.rotate(seq)
		return x.writeOldest()
	})
	if err != nil {
		return nil, err
	}
	go x.work()
	return x, nil
}

// setHasher makes the hasher of the secret, unless a test has its own.
func (x *Index) setHasher(c Config) (err error) {
	if x.hasher == nil {
		x.hasher, err = newHasher(c.Secret)
	}
	return err
}

// writeOldest writes the oldest immutable memtable, if there are more than may wait for the
// worker, which is not there yet.
func (x *Index) writeOldest() error {
	if len(x.immutable) <= maxUnwritten {
		return nil
	}
	x.makeRoom()
	r, err := x.writeMemtable(x.immutable[0])
	if err != nil {
		return err
	}
	x.spare = x.immutable[0]
	x.runs, x.immutable, x.unwritten = append(x.runs, r), x.immutable[1:], x.unwritten-1
	x.finished = append(x.finished, Change{Add: []Run{r.Run}})
	return nil
}

// makeRoom ends at once the files that are on no list, before any is made: a start that was killed
// while it made runs has left them, and its disk may not have room for them twice.
func (x *Index) makeRoom() {
	for _, g := range x.obsolete {
		g.end()
	}
	x.obsolete = nil
}

// removeMade removes the files of an Open that has failed: no transaction has put them on the list.
func (x *Index) removeMade() {
	for _, c := range x.finished {
		for _, r := range c.Add {
			_ = os.Remove(filepath.Join(x.dir, r.File)) // or the next Open does
		}
	}
}

// obsoleteFiles returns the files that are not on the list: of merges that a crash ended, or that
// the list has left behind. They may be large, and nobody waits for their end.
func obsoleteFiles(dir string, listed []Run) (files []*obsolete, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range entries {
		if slices.ContainsFunc(listed, func(r Run) bool { return r.File == f.Name() }) {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		files = append(files, &obsolete{path: filepath.Join(dir, f.Name()), remaining: info.Size()})
	}
	return files, nil
}

// remake makes a run again from the events that it covers, as several where they are many.
func (x *Index) remake(named Run, events func(from, to int64, each func(seq int64, topic, id string, content Content) error) error) error {
	x.makeRoom()
	change := Change{Remove: []Run{named}}
	t := newMemtable(named.First, x.memtableKeys, 0)
	write := func(last int64) error {
		t.last = last
		r, err := x.writeMemtable(t)
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
		if len(t.entries) >= x.memtableKeys {
			if err := write(seq - 1); err != nil {
				return err
			}
		}
		keys++
		var hash uint64
		k, hash = appendKey(x.hasher, k[:0], topic, id)
		t.add(hash, k, seq, content)
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

// newFile returns a name that no run has had: a list of another time, from a backup, must not find
// files of this one.
func newFile() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:]) + ".run"
}
