package runner

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"sekali/bench/figures"
	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/loadgen/attack"
)

// lastLook is how long before a fault the histograms are asked for, which takes up to 50 ms under
// load: the fault comes on time, and they lack what was committed in between.
const lastLook = 60 * time.Millisecond

// breakIt does what the scenario's fault says, at its moment, and returns when the aggregator is
// ready again; nil where nothing is to be broken.
func (s *session) breakIt(ctx context.Context, started <-chan time.Time) (*record.FaultTimes, error) {
	fault := s.job.settings.Fault
	if fault.Kind == scenario.NoFault {
		return nil, nil
	}
	var startedAt time.Time
	select {
	case startedAt = <-started:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	at := startedAt.Add(time.Duration(fault.At))
	if !sleep(ctx, time.Until(at.Add(-lastLook))) {
		return nil, ctx.Err()
	}
	if s.replicas != nil {
		breaks := s.breakRole
		switch fault.Kind {
		case scenario.Join:
			breaks = s.rejoin
		case scenario.Partition:
			breaks = s.partition
		}
		times, err := breaks(ctx, fault, startedAt)
		if err != nil {
			err = fmt.Errorf("fault: %w", err)
		}
		return times, err
	}
	if fault.OfDisk() {
		if !sleep(ctx, time.Until(at)) {
			return nil, ctx.Err()
		}
		return s.breakDisk(ctx, fault, startedAt)
	}
	s.histograms.interrupt(ctx, s.aggregator)
	if !sleep(ctx, time.Until(at)) {
		return nil, ctx.Err()
	}
	signal := syscall.SIGTERM
	if fault.Kind == scenario.Sigkill {
		signal = syscall.SIGKILL
	}
	since := func() int64 { return int64(time.Since(startedAt)) }
	times := &record.FaultTimes{Kind: fault.Kind, AtNS: since()}
	if err := s.aggregator.end(ctx, signal); err != nil {
		return nil, fmt.Errorf("fault: %w", err)
	}
	times.ExitedNS = since()
	if !sleep(ctx, time.Duration(fault.RestartAfter)) {
		return nil, ctx.Err()
	}
	restartedAt, err := s.aggregator.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("fault: the aggregator did not come back: %w", err)
	}
	times.RestartedNS, times.ReadyNS = int64(restartedAt.Sub(startedAt)), since()
	s.histograms.resume(restartedAt)
	return times, nil
}

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

// status shows a step that has no rate.
func (s *session) status(phase string, fraction float64) {
	s.show(state{phase: phase, fraction: fraction})
}

// showAttack shows how far the load has come: by time where that is planned, by requests elsewhere.
func (s *session) showAttack(now attack.Progress, rate float64) {
	shown := state{phase: now.Phase, ratePerS: rate, queueDepth: s.sampler.last().stats.QueueDepth}
	if planned := s.job.settings.Load.Duration(); planned > 0 {
		gone := time.Since(now.StartedAt)
		shown.fraction = gone.Seconds() / planned.Seconds()
	} else if now.Planned > 0 {
		shown.fraction = float64(now.Answered) / float64(now.Planned)
	}
	s.show(shown)
}
