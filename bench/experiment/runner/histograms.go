package runner

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sekali/bench/record"
)

// histograms takes the aggregator's own histograms at both ends of the measured window. A process
// counts from its own start, so a restart ends one window and begins the next.
type histograms struct {
	mu      sync.Mutex
	current *histogramWindow
	ended   []histogramWindow
	err     error // the first failure; a window that could not be read is not left out in silence
}

type histogramWindow struct {
	startedAt, endedAt time.Time
	start, end         record.Snapshot
}

// open begins the first window.
func (h *histograms) open(ctx context.Context, a *aggregator) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	s, err := a.stats(ctx, true)
	if err != nil {
		h.fail(fmt.Errorf("histograms at the start of the measured window: %w", err))
		return
	}
	h.current = &histogramWindow{startedAt: now, start: s.Histograms}
}

// interrupt ends the window, if one is open, before a fault ends the process.
func (h *histograms) interrupt(ctx context.Context, a *aggregator) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endCurrent(ctx, a)
}

// resume begins the next window where one was interrupted, with a process that has counted nothing
// yet.
func (h *histograms) resume(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ended) > 0 {
		h.current = &histogramWindow{startedAt: at}
	}
}

// close ends the last window and returns what went wrong with any.
func (h *histograms) close(ctx context.Context, a *aggregator) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endCurrent(ctx, a)
	return h.err
}

func (h *histograms) endCurrent(ctx context.Context, a *aggregator) {
	if h.current == nil {
		return
	}
	s, err := a.stats(ctx, true)
	if err != nil {
		h.fail(fmt.Errorf("histograms at the end of the measured window: %w", err))
		return
	}
	h.current.end, h.current.endedAt = s.Histograms, time.Now()
	h.ended = append(h.ended, *h.current)
	h.current = nil
}

func (h *histograms) fail(err error) {
	if h.err == nil {
		h.err = err
	}
}

// since returns the windows, with times since the attack's start.
func (h *histograms) since(startedAt time.Time) record.Histograms {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := record.Histograms{Windows: []record.HistogramWindow{}}
	for _, w := range h.ended {
		all.Windows = append(all.Windows, record.HistogramWindow{StartNS: int64(w.startedAt.Sub(startedAt)),
			EndNS: int64(w.endedAt.Sub(startedAt)), Start: w.start, End: w.end})
	}
	return all
}
