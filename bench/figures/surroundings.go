package figures

import (
	"slices"

	"sekali/bench/record"
)

// surroundings says what others took, what a CPU quota held back, and how much of the time the
// generator did not run.
func surroundings(r *record.Raw, s *record.Summary, w window) {
	answered := r.Answered()
	if len(answered) == 0 {
		return
	}
	around := r.Run.Surroundings
	cores, endNS := r.Run.Environment.Cores, w.endNS
	if around != nil {
		cores, endNS = around.CoreCount, max(w.endNS, w.startNS+LeastOthersNS)
	}
	s.OtherCPUShare = others(r, cores, w.startNS, endNS)
	if around == nil {
		return // of before they were watched
	}
	if around.ThrottlingUnknown == "" {
		periods := between(answered, w, func(s record.Sample) int64 { return s.ThrottledPeriods })
		ns := between(answered, w, func(s record.Sample) int64 { return s.ThrottledNS })
		s.ThrottledPeriods, s.ThrottledMS = &periods, figure(float64(ns)/1e6)
	}
	stalled := newCurve(answered, func(s record.Sample) float64 { return float64(s.StalledNS) }).rising()
	watched := max(w.answeredNS, w.startNS+LeastOthersNS)
	s.GeneratorStalledShare = figure((stalled.at(watched) - stalled.at(w.startNS)) / float64(watched-w.startNS))
}

// others is what neither generator nor aggregator took of so many cores from one moment to the
// other; nil where that was not measured.
func others(r *record.Raw, cores int, startNS, endNS int64) *float64 {
	answered := r.Answered()
	unknown := slices.ContainsFunc(answered, func(s record.Sample) bool { return s.MachineCPUNS == 0 })
	if unknown || r.Run.Aggregator.External || cores == 0 || endNS-startNS < LeastOthersNS {
		return nil
	}
	if r.Run.Surroundings != nil && answered[len(answered)-1].AnsweredNS < endNS {
		return nil // the trace ends before
	}
	used := func(field func(record.Sample) float64) float64 {
		c := newCurve(answered, field).rising()
		return c.at(endNS) - c.at(startNS)
	}
	left := used(func(s record.Sample) float64 { return float64(s.MachineCPUNS) }) -
		used(func(s record.Sample) float64 { return float64(s.ServerCPUNS) }) -
		used(func(s record.Sample) float64 { return float64(s.GeneratorCPUNS) })
	// Of nothing, ticks of 10 ms may be less.
	return figure(max(0, left) / float64(endNS-startNS) / float64(cores))
}

// between is the growth of a counter over the window, from the last sample before it to the first
// one after it: what happened at its edge is in it.
func between(answered []record.Sample, w window, field func(record.Sample) int64) int64 {
	first, last := answered[0], answered[len(answered)-1]
	for _, s := range answered {
		if s.TNS <= w.startNS {
			first = s
		}
		if s.TNS >= w.endNS {
			last = s
			break
		}
	}
	return max(0, field(last)-field(first))
}
