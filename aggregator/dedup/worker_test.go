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

	"pgregory.net/rapid"
)

// TestRunsStayFew: with no more than their credit, for in a bubble no time passes while the writer works, merges end before too many
// runs of a level have gathered, whatever the batches; and once no more comes they end without.
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

// fewRuns fills so many tables with batches of up to most events. It reports whether a merge had to wait for credit, and what is wrong.
func fewRuns(most, tables int, random *rand.Rand) (waited bool, err error) {
	dir, err := os.MkdirTemp("", "dedup")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	d := &database{dir: dir, config: Config{NewestKeys: fewNewest, Secret: make([]byte, SecretBytes)}}
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

// TestFailedMergesArePutOff: after a failure merges wait, each time longer, up to a bound, and then go on; tables are written meanwhile.
func TestFailedMergesArePutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{dir: t.TempDir(), config: Config{NewestKeys: fewNewest, Secret: make([]byte, SecretBytes)}}
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
