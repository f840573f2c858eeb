package runner

import (
	"context"
	"time"
)

const (
	// tickInterval is the beat that the stall watch expects.
	tickInterval = 10 * time.Millisecond
	// stallLimit is the gap from which on a beat counts as a stall. Two busy cores delay it by a few
	// scheduler slices of 10 ms; longer gaps were seen only when the machine itself was taken away.
	stallLimit = 100 * time.Millisecond
)

// watchStalls beats until ctx ends and returns how many beats were late by more than stallLimit,
// and the longest lateness in nanoseconds, 0 if none was.
func watchStalls(ctx context.Context) (stalls int, longestNS int64) {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return stalls, longestNS
		case <-ticker.C:
		}
		now := time.Now()
		gap := now.Sub(last) - tickInterval
		last = now
		if gap > stallLimit {
			stalls++
			longestNS = max(longestNS, int64(gap))
		}
	}
}
