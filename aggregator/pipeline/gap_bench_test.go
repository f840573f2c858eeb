package pipeline

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkCommitGaps says how long readers see nothing new while more comes than is committed: the
// times between two commits while events wait, to a millisecond, on the disk of temporary files. An
// iteration is 1200 requests of 500 events from eight publishers, until the last event is
// committed. Use -benchtime 3x.
func BenchmarkCommitGaps(b *testing.B) {
	const requests, publishers = 1200, 8
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0)))) // as the aggregator has it
	r := newRig(b, Config{QueueEvents: 200_000, QueueBytes: 64 << 20, BacklogBytes: 4 << 30, BatchEvents: 50_000})
	r.remove()
	r.dir = b.TempDir()
	r.start()
	defer r.stop()
	var originals uint64
	var gaps []time.Duration
	for range b.N {
		b.StopTimer()
		bodies := make([][]byte, requests)
		for i := range bodies {
			bodies[i], originals = benchBody(originals)
		}
		b.StartTimer()
		ended := make(chan struct{})
		var watching sync.WaitGroup
		watching.Go(func() { gaps = append(gaps, commitGaps(r.p, ended)...) })
		publishAll(b, r.p, Journal, publishers, bodies)
		r.drain()
		close(ended)
		watching.Wait()
	}
	events := float64(b.N * requests * benchEvents)
	slices.Sort(gaps)
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(gaps[len(gaps)-1].Seconds()*1e3, "max-ms")
	b.ReportMetric(gaps[len(gaps)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(float64(len(gaps))/float64(b.N), "commits/op")
}

// commitGaps are the times between two commits, before the later of which events waited.
func commitGaps(p *Pipeline, ended <-chan struct{}) (gaps []time.Duration) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	last := p.Counters()
	at := time.Now()
	waited := false
	for {
		select {
		case <-ended:
			return gaps
		case <-tick.C:
		}
		c := p.Counters()
		now := time.Now()
		if c.Commits != last.Commits {
			if waited {
				gaps = append(gaps, now.Sub(at))
			}
			at, waited = now, c.QueueDepth > 0
		} else if !waited && c.QueueDepth > 0 {
			at, waited = now, true
		}
		last = c
	}
}
