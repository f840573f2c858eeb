package figures

import (
	"fmt"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// bare sets the rate and the 99th percentile beside those of the server that only answers.
func bare(r *record.Raw, s *record.Summary) error {
	y := r.Run.Yardstick
	if y == nil {
		return nil
	}
	times, all := newHistogram(), uint64(0)
	var first, last int64 = -1, 0
	for _, a := range r.Yardstick {
		if a.Phase < 0 || a.Phase >= len(y.Phases) {
			return fmt.Errorf("yardstick: request %d is of phase %d of %d", a.Request, a.Phase, len(y.Phases))
		}
		if a.Outcome() != ledger.Acknowledged {
			continue
		}
		all++
		if !y.Phases[a.Phase].Measured {
			continue
		}
		if first < 0 || a.PlannedNS < first {
			first = a.PlannedNS
		}
		last = max(last, a.DoneNS)
		times.addUS(a.ServiceTime().Microseconds(), 1)
	}
	n := times.counts.TotalCount()
	var err error
	if s.BareServiceTimeMS, err = times.milliseconds(n); err != nil {
		return fmt.Errorf("yardstick: %w", err)
	}
	if n < minRateSamples {
		return nil
	}
	s.BareRequestsPerS = perSecond(float64(n), last-first)
	s.BareCPUUSPerRequest = figure(float64(y.ServerCPUNS) / 1e3 / float64(all))
	if s.BareRequestsPerS != nil && s.ThroughputAcceptedPerS != nil && s.MeasuredS > 0 {
		s.RateToBare = figure(float64(s.RequestsAcknowledged) / s.MeasuredS / *s.BareRequestsPerS)
	}
	if ours, theirs := s.ServiceTimeMS.P99, s.BareServiceTimeMS.P99; ours != nil && theirs != nil && *theirs > 0 {
		s.ServiceTimeP99ToBare = figure(*ours / *theirs)
	}
	return nil
}
