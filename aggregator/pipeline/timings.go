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
	_ = h.hdr.RecordValues(min(max(value, 1), longest), n) // in range, so it cannot fail
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

// Quantiles returns the values at the given quantiles, 0 to 1, and the count.
func (h *Histogram) Quantiles(quantiles ...float64) (values []int64, count int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range quantiles {
		values = append(values, h.hdr.ValueAtPercentile(100*q))
	}
	return values, h.hdr.TotalCount()
}
