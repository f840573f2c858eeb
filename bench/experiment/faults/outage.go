package faults

import (
	"math"
	"time"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// outage measures for how long no request of a level was acknowledged. The trial's lock guards it.
type outage struct {
	struck  int64   // when the fault was there, in the ledger's time; before it nothing was sent since
	last    []int64 // acknowledgement of each level
	longest []int64
	again   []bool // acknowledged is what was sent since it was struck
}

// measure begins to measure an outage.
func (t *trial) measure() {
	now := int64(time.Since(t.began))
	o := &outage{struck: math.MaxInt64, longest: make([]int64, len(t.record.Levels)), again: make([]bool, len(t.record.Levels))}
	for range t.record.Levels {
		o.last = append(o.last, now)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outage = o
}

// struck says that the fault is there. What was sent while it came may have been taken before.
func (t *trial) struck() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outage.struck = int64(time.Since(t.began))
}

// heard notes an acknowledgement. nil: nothing is measured.
func (o *outage) heard(a ledger.Attempt) {
	if o == nil {
		return
	}
	o.longest[a.Phase] = max(o.longest[a.Phase], a.DoneNS-o.last[a.Phase])
	o.last[a.Phase] = max(o.last[a.Phase], a.DoneNS)
	o.again[a.Phase] = o.again[a.Phase] || a.SentNS >= o.struck
}

// over reports that every level is acknowledged again.
func (t *trial) over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, again := range t.outage.again {
		if !again {
			return false
		}
	}
	return true
}

// measured ends it, and records what each level lacked.
func (t *trial) measured() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := int64(time.Since(t.began))
	for i, level := range t.record.Levels {
		longest := time.Duration(max(t.outage.longest[i], now-t.outage.last[i]))
		t.record.Outages = append(t.record.Outages, record.Outage{Level: level, MS: milliseconds(longest)})
	}
	t.outage = nil
}
