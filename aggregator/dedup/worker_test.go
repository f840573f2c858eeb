package dedup

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"sekali/internal/memorydir"
)

// TestRunsStayFew: with no more than their credit, for in a bubble no time passes while the writer
// works, merges end before too many runs of a level have gathered, whatever the batches; and once
// no more comes they end without.
func TestRunsStayFew(t *testing.T) {
	waited := false
	rapid.Check(t, func(rt *rapid.T) {
		most, tables := rapid.IntRange(1, fewNewest/5).Draw(rt, "events of a batch"), rapid.IntRange(1, 200).Draw(rt, "tables")
		seed := rapid.Uint64().Draw(rt, "seed")
		var err error
		synctest.Test(t, func(*testing.T) {
			var w bool
			w, err = fewRuns(most, tables, rand.New(rand.NewPCG(seed, 0)))
			waited = waited || w
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
	if !waited {
		t.Error("no merge had to wait for credit")
	}
}

// fewNewest is how many keys are kept in memory there.
const fewNewest = 64

// fewRuns fills so many tables with batches of up to most events. It reports whether a merge had to
// wait for credit, and what is wrong.
func fewRuns(most, tables int, random *rand.Rand) (waited bool, err error) {
	dir, err := memorydir.Make("dedup")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	d := &database{dir: dir, config: Config{MemtableKeys: fewNewest, Secret: make([]byte, SecretBytes)}}
	x, err := d.open()
	if err != nil {
		return false, err
	}
	defer x.Close()
	for len(d.events) < tables*fewNewest {
		batch := make([]event, 1+random.IntN(most))
		for i := range batch {
			batch[i] = event{"t", fmt.Sprint(d.last, i), 0}
		}
		if _, err := d.apply(x, batch); err != nil {
			return waited, err
		}
		synctest.Wait() // the worker has done what is due
		of := map[int]int{}
		for _, r := range x.runs {
			level := x.level(r)
			waited = waited || level > 0 && r.merging
			if of[level]++; of[level] > 2*fanIn {
				return waited, fmt.Errorf("more than %d runs of level %d after %d keys", 2*fanIn, level, len(d.events))
			}
		}
	}
	for range 4 * (1 + x.levels()) { // an idle writer's commits, one for each step of the list
		time.Sleep(time.Minute)
		if _, err := d.apply(x, nil); err != nil {
			return waited, err
		}
	}
	for level := range x.levels() {
		if x.neighbours(level) != nil {
			return waited, fmt.Errorf("a merge of level %d did not begin", level)
		}
	}
	for _, r := range x.runs {
		if r.merging {
			return waited, fmt.Errorf("a merge of level %d did not end", x.level(r))
		}
	}
	time.Sleep(time.Minute)
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != len(x.runs) {
		return waited, fmt.Errorf("%d files of %d runs: %w", len(files), len(x.runs), err)
	}
	return waited, nil
}

// TestFailedMergesArePutOff: after a failure merges wait, each time longer, up to a bound, and then
// go on; tables are written meanwhile.
func TestFailedMergesArePutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{dir: t.TempDir(), config: Config{MemtableKeys: fewNewest, Secret: make([]byte, SecretBytes)}}
		x, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		for range 100 {
			if err := x.mergeFailed(nil, nil, errors.New("the disk is full")); err == nil {
				t.Fatal("no error")
			}
		}
		if until := time.Until(x.mergesAt); until != mergesPause {
			t.Fatalf("put off by %v", until)
		}
		fill := func() {
			batch := make([]event, fewNewest)
			for i := range batch {
				batch[i] = event{"t", fmt.Sprint(d.last, i), 0}
			}
			if _, err := d.apply(x, batch); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for range 2 * fanIn {
			fill()
		}
		if len(x.runs) < 2*fanIn-1 {
			t.Fatalf("%d runs: one was merged", len(x.runs))
		}
		time.Sleep(mergesPause)
		fill()
		fill()
		if len(x.runs) >= 2*fanIn {
			t.Fatalf("%d runs: none was merged", len(x.runs))
		}
		if x.mergesFailed != 0 {
			t.Fatalf("%d failures are remembered", x.mergesFailed)
		}
	})
}

// TestFailedMergeIsCutDown: what it has written goes in pieces, but at once where the disk is full.
func TestFailedMergeIsCutDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{dir: t.TempDir(), config: Config{MemtableKeys: fewNewest, Secret: make([]byte, SecretBytes)}}
		x, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		for _, tc := range []struct {
			err  error
			left int64
		}{{unix.EIO, 3 * removeBytes}, {&os.PathError{Err: unix.ENOSPC}, 0}} {
			out, err := newBuilder(d.dir, Run{File: newFile()}, 1)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(d.dir, out.run.File)
			if err := out.file.Truncate(3 * removeBytes); err != nil {
				t.Fatal(err)
			}
			err = x.mergeFailed(&merge{out: out}, nil, tc.err)
			if left := sizeOf(path); left != tc.left {
				t.Errorf("%v: %d bytes are left, want %d", tc.err, left, tc.left)
			}
			x.report(err)
			time.Sleep(time.Minute)
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%v: the file is still there: %v", tc.err, err)
			}
		}
	})
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// TestRoomBeforeTables: files that are to be removed are, while no table can be written: it may be
// for want of their room.
func TestRoomBeforeTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{dir: filepath.Join(t.TempDir(), "dedup"), config: Config{MemtableKeys: fewNewest, Secret: make([]byte, SecretBytes)}}
		x, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if err := os.Remove(d.dir); err != nil {
			t.Fatal(err)
		}
		batch := make([]event, fewNewest)
		for i := range batch {
			batch[i] = event{"t", fmt.Sprint(i), 0}
		}
		if _, err := d.apply(x, batch); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		path := filepath.Join(t.TempDir(), "gone.run")
		if err := os.WriteFile(path, make([]byte, 3*removeBytes), 0o600); err != nil {
			t.Fatal(err)
		}
		x.mu.Lock()
		if x.failing == nil {
			t.Error("the table was written")
		}
		x.obsolete = append(x.obsolete, &obsolete{path: path, remaining: 3 * removeBytes})
		x.mu.Unlock()
		time.Sleep(time.Minute)
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file is still there: %v", err)
		}
	})
}

// TestRunsMadeAgainAreMerged: those of larger runs of an older form, each begun anew at the lowest
// level, are merged as all others are, wherever they lie; every key stays known.
func TestRunsMadeAgainAreMerged(t *testing.T) {
	for name, spoilt := range map[string]func(i int) bool{
		"all of an older form": func(int) bool { return true },
		"every second one":     func(i int) bool { return i%2 == 0 },
	} {
		t.Run(name, func(t *testing.T) { madeAgainAreMerged(t, spoilt) })
	}
}

func madeAgainAreMerged(t *testing.T, spoilt func(i int) bool) {
	synctest.Test(t, func(t *testing.T) {
		// Fifteen runs of the second level, as they may lie beside each other, each with some tables more
		// than a power of fanIn and a part of one.
		const runs, keys = 2*fanIn - 1, fanIn*fanIn*fewNewest + 5*fewNewest + fewNewest/2
		d := &database{dir: t.TempDir(), config: Config{MemtableKeys: fewNewest, Secret: make([]byte, SecretBytes)}}
		x := &Index{dir: d.dir, memtableKeys: fewNewest}
		if err := x.setHasher(d.config); err != nil {
			t.Fatal(err)
		}
		for i := range runs {
			table := newMemtable(d.last+1, keys, 0)
			for range keys {
				d.last++
				e := event{"t", fmt.Sprint(d.last), 0}
				d.events = append(d.events, stored{d.last, e})
				k, hash := appendKey(x.hasher, nil, e.topic, e.id)
				table.add(hash, k, d.last, 0)
			}
			table.last = d.last
			r, err := x.writeMemtable(table)
			if err != nil {
				t.Fatal(err)
			}
			d.runs = append(d.runs, r.Run)
			if err := r.file.Close(); err != nil {
				t.Fatal(err)
			}
			if path := filepath.Join(d.dir, r.File); spoilt(i) {
				text, err := os.ReadFile(path)
				if err == nil {
					err = os.WriteFile(path, append(text[:len(text)-len(runMagic)], runName+"2"...), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		x, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		batch := make([]event, fewNewest)
		for range 20 * fanIn {
			for i := range batch {
				batch[i] = event{"t", fmt.Sprint(d.last + 1 + int64(i)), 0}
			}
			if _, err := d.apply(x, batch); err != nil {
				t.Fatal(err)
			}
			time.Sleep(mergeIdle)
			synctest.Wait()
		}
		of := map[int]int{}
		for _, r := range x.runs {
			if level := x.level(r); !r.merging {
				of[level]++
			}
		}
		for level, n := range of {
			if n > 2*fanIn {
				t.Errorf("%d runs of level %d, want %d at most", n, level, 2*fanIn)
			}
		}
		t.Logf("runs by level: %v", of)
		for from := 0; from < len(d.events); from += 1000 {
			asked := x.NewBatch()
			for _, e := range d.events[from:min(from+1000, len(d.events))] {
				asked.Add(e.topic, e.id, e.content)
			}
			seqs, err := x.Decide(asked, d.last+1)
			if err != nil {
				t.Fatal(err)
			}
			for i, seq := range seqs {
				if want := d.events[from+i].seq; seq != want {
					t.Fatalf("key %d: seq %d, want %d", from+i, seq, want)
				}
			}
		}
	})
}
