package runner

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"sekali/bench/record"
	"sekali/bench/scenario"
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
