package figures_test

import (
	"testing"

	"sekali/bench/figures"
	"sekali/bench/record"
)

// 10 000 events come in ten seconds and are committed in the ten after them, which are the window:
// each waits 10 s, of which it spends half before the window, in the mean.
func TestWaitedBeforeTheWindow(t *testing.T) {
	const second = int64(1e9)
	r := &record.Raw{Histograms: record.Histograms{Windows: []record.HistogramWindow{{StartNS: 0, EndNS: 10 * second}}}}
	for at := int64(-10); at <= 10; at++ {
		s := record.Sample{TNS: at * second, AnsweredNS: at*second + 1, Received: uint64(1000 * min(at+10, 10)), UniqueProcessed: uint64(1000 * max(at, 0))}
		s.QueueDepth = s.Received - s.UniqueProcessed
		r.Trace = append(r.Trace, s)
	}
	const waits, inside = 10_000 * 10 / 10., 5000.
	if before := figures.WaitedBefore(r); before != waits-inside {
		t.Errorf("%v, want %v", before, waits-inside)
	}
}

func TestNothingWaitedBefore(t *testing.T) {
	r := &record.Raw{Histograms: record.Histograms{Windows: []record.HistogramWindow{{StartNS: 0, EndNS: 10}}}}
	for at := range int64(11) {
		r.Trace = append(r.Trace, record.Sample{TNS: at, AnsweredNS: at + 1, Received: uint64(at), UniqueProcessed: uint64(at) / 2})
	}
	if before := figures.WaitedBefore(r); before != 0 {
		t.Errorf("%v, want 0", before)
	}
}
