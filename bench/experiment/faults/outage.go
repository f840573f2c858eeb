package faults

import (
	"math"
	"slices"
	"time"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// outage is what publishers hear around a fault. The trial's lock guards it.
type outage struct {
	from   int64     // all times are the ledger's
	struck int64     // when the fault was there; before it nothing was sent since
	healed int64     // when it was healed
	done   [][]int64 // acknowledgements of each level
	again  []bool    // acknowledged is what was sent since it was struck
}

func (t *trial) elapsed() int64 { return int64(time.Since(t.began)) }

// measure begins to measure an outage.
func (t *trial) measure() {
	t.mu.Lock()
	defer t.mu.Unlock()
	levels := len(t.record.Levels)
	t.outage = &outage{from: t.elapsed(), struck: math.MaxInt64, done: make([][]int64, levels), again: make([]bool, levels)}
}

// struck says that the fault is there. What was sent while it came may have been taken before.
func (t *trial) struck() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outage.struck = t.elapsed()
}

// heard notes an acknowledgement. nil: nothing is measured.
func (o *outage) heard(a ledger.Attempt) {
	if o == nil || a.DoneNS < o.from {
		return
	}
	o.done[a.Phase] = append(o.done[a.Phase], a.DoneNS)
	o.again[a.Phase] = o.again[a.Phase] || a.SentNS >= o.struck
}

// over reports that every level is acknowledged again.
func (t *trial) over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.Contains(t.outage.again, false)
}

// heardAgain reports that a level was acknowledged of what was sent since the fault was there.
func (t *trial) heardAgain(level string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.outage.again[slices.Index(t.record.Levels, level)]
}

// mended says that what the fault has taken was given back.
func (t *trial) mended() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outage.healed = t.elapsed()
}

// measured ends it, and records it.
func (t *trial) measured() {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.outage
	left := record.Outage{FromNS: o.from, StruckNS: o.struck, HealedNS: o.healed, UntilNS: t.elapsed()}
	for i, level := range t.record.Levels {
		left.Levels = append(left.Levels, record.LevelOutage{Level: level, Acknowledged: uint64(len(o.done[i])), SilencesNS: silences(o.done[i], o.from, left.UntilNS)})
	}
	t.record.Outages = append(t.record.Outages, left)
	t.outage = nil
}

// silences are the times of MinSilenceNS and more in which nothing was done.
func silences(done []int64, from, until int64) [][2]int64 {
	long := [][2]int64{}
	slices.Sort(done)
	for _, at := range append(done, until) {
		if at-from >= record.MinSilenceNS {
			long = append(long, [2]int64{from, at})
		}
		from = at
	}
	return long
}
