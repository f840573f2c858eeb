package pipeline

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is what a Histogram of durations can hold: a day, in microseconds.
const longest = int64(24 * time.Hour / time.Microsecond)

// Timings are the pipeline's distributions since the start of the process.
type Timings struct {
	Processing  *Histogram // accepted → committed, one value an event, µs
	Commit      *Histogram // one transaction, µs
	JournalSync *Histogram // one frame written and synced, µs
	RunsHeld    *Histogram // of one transaction, what it has waited for the runs' worker, µs
	BatchEvents *Histogram // events in one transaction
}

func newTimings() Timings {
	return Timings{Processing: newHistogram(), Commit: newHistogram(), JournalSync: newHistogram(), RunsHeld: newHistogram(), BatchEvents: newHistogram()}
}

// Histogram keeps three significant digits and may be used concurrently.
type Histogram struct {
	mu  sync.Mutex
	hdr *hdrhistogram.Histogram
	sum int64
}

func newHistogram() *Histogram {
	return &Histogram{hdr: hdrhistogram.New(1, longest, 3)}
}

// Record adds n values of d, in microseconds.
func (h *Histogram) Record(d time.Duration, n int64) { h.RecordValue(d.Microseconds(), n) }

// RecordValue adds value n times. What lies outside the range counts at its end.
func (h *Histogram) RecordValue(value, n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	value = min(max(value, 1), longest)
	_ = h.hdr.RecordValues(value, n) // in range, so it cannot fail
	h.sum += value * n
}

// Buckets returns the non-empty buckets, [value, count], ascending.
func (h *Histogram) Buckets() [][2]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	buckets := [][2]int64{}
	for _, bar := range h.hdr.Distribution() {
		if bar.Count > 0 {
			buckets = append(buckets, [2]int64{bar.To, bar.Count})
		}
	}
	return buckets
}

// Cumulative returns how many values are at most each of the bounds, which ascend, to three
// significant digits; and how many there are, and their sum.
func (h *Histogram) Cumulative(bounds []int64) (atMost []uint64, count, sum int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	atMost = make([]uint64, len(bounds))
	at, below := 0, int64(0)
	for _, bar := range h.hdr.Distribution() {
		for ; at < len(bounds) && bar.From > bounds[at]; at++ {
			atMost[at] = uint64(below)
		}
		below += bar.Count
	}
	for ; at < len(bounds); at++ {
		atMost[at] = uint64(below)
	}
	return atMost, below, h.sum
}
