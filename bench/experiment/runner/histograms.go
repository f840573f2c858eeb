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
	startedAt, endedAt time.Time // when the first answer was asked for, and the last one had come
	startedBy, endedBy time.Time // when the first answer had come, and the last one was asked for
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
	h.current = &histogramWindow{startedAt: now, startedBy: time.Now(), start: s.Histograms}
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
	h.current.endedBy = time.Now()
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

// told is how long the server says that events waited, in the one window of a process that nothing
// ended; nil: there is none, since what it counted last is not known.
func (h *histograms) told() (waits [][2]int64, from, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ended) != 1 || h.current != nil {
		return nil, from, until
	}
	w := h.ended[0]
	before := map[int64]int64{}
	for _, pair := range w.start.ProcessingLatencyUS {
		before[pair[0]] = pair[1]
	}
	waits = [][2]int64{}
	for _, pair := range w.end.ProcessingLatencyUS {
		waits = append(waits, [2]int64{pair[0], max(0, pair[1]-before[pair[0]])})
	}
	return waits, w.startedBy, w.endedBy
}
