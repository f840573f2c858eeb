package runner

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sekali/bench/figures"
)

const (
	// tickInterval is the beat that the stall watch expects.
	tickInterval = 10 * time.Millisecond
	// pauseLimit is the lateness from which on a beat counts into the sum of stalls: on two cores that
	// generator and aggregator keep busy, less than one beat in a hundred is as late.
	pauseLimit = 20 * time.Millisecond
	// stallLimit is the gap from which on a beat counts as a stall. Two busy cores delay it by a few
	// scheduler slices of 10 ms; longer gaps were seen only when the machine itself was taken away.
	stallLimit = time.Duration(figures.StallNS)
)

// stallWatch sees when this process, the generator, does not run: because it is stopped, or the
// machine is.
type stallWatch struct {
	stalls    int          // beats that were late by more than stallLimit
	longestNS int64        // of them; 0: none
	stalledNS atomic.Int64 // sum of what was late by more than pauseLimit; the sampler reads it
}

// run beats until ctx ends. It sleeps in the kernel, on a thread of its own: a Go timer would wait
// for the goroutines of the generator too.
func (w *stallWatch) run(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	beat := unix.NsecToTimespec(int64(tickInterval))
	last := time.Now()
	for ctx.Err() == nil {
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &beat, nil) // a signal ends it early, which is no stall
		now := time.Now()
		gap := now.Sub(last) - tickInterval
		last = now
		if gap > pauseLimit {
			w.stalledNS.Add(int64(gap))
		}
		if gap > stallLimit {
			w.stalls++
			w.longestNS = max(w.longestNS, int64(gap))
		}
	}
}
