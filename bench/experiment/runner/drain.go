package runner

import (
	"context"
	"time"

	"sekali/bench/figures"
	"sekali/loadgen/attack"
)

// sleep is false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// drain waits until the queue is empty, and holds the answer that says so to what can be read. A
// queue that is not empty in time leaves DrainedNS at zero; the audit says the rest.
func (s *session) drain(ctx context.Context, summary attack.Summary) error {
	if err := s.replicas.level(ctx); err != nil {
		return err
	}
	began, moved, drawn := time.Now(), time.Now(), time.Time{}
	var processed uint64
	for {
		now, empty, err := s.sampler.drained(ctx)
		if empty {
			s.run.DrainedNS = int64(time.Since(summary.StartedAt))
			s.watch.look(ctx, now)
			return nil
		}
		if err == nil && now.processed() != processed {
			if since := time.Since(drawn); since >= drawInterval {
				s.show(state{phase: "drain", fraction: 1, queueDepth: now.QueueDepth})
				drawn = time.Now()
			}
			processed, moved = now.processed(), time.Now()
		}
		if time.Since(began) > drainTimeout || time.Since(moved) > drainStall {
			return nil
		}
		if !sleep(ctx, beat) {
			return ctx.Err()
		}
	}
}

// lookOn waits until the trace covers the shortest time over which others are measured: after a
// shorter load, the machine is watched for the rest of it.
func (s *session) lookOn(ctx context.Context, startedAt time.Time) {
	begun := startedAt.Add(time.Duration(s.run.Phases[s.firstMeasured()].StartNS))
	sleep(ctx, time.Until(begun.Add(time.Duration(figures.LeastOthersNS)+2*beat)))
}
