package figures

import (
	"math"

	"sekali/bench/record"
)

// minLittleSamples is below which nothing can be held against a trace.
const minLittleSamples = 10

// little fills the two sides of Little's law: the area under the queue depth is the sum of all
// waits. Only where the window of the histograms is one stretch of one process's life do they count
// the same events, but for what WaitedBefore says.
func little(r *record.Raw, s *record.Summary) {
	answered, latency := r.Answered(), s.ProcessingLatencyMS
	if len(answered) < 2 || len(r.Histograms.Windows) != 1 || latency.Mean == nil {
		return
	}
	w := r.Histograms.Windows[0]
	duration := float64(w.EndNS - w.StartNS)
	if duration <= 0 || math.IsInf(StandardError(answered, w), 0) {
		return
	}
	depth := newCurve(answered, func(s record.Sample) float64 { return float64(s.QueueDepth) }).area(w.StartNS, w.EndNS) / duration
	s.LittleTraceEvents = figure(depth)
	s.LittleLatencyEvents = figure(float64(latency.Count) * *latency.Mean * 1e6 / duration)
}

// WaitedBefore is how much the events that already waited when the window of the histograms began
// had waited by then, in mean queue depth over the window. Their latencies have that time, and the
// area under the window's queue has not. Events are committed in the order in which they come.
func WaitedBefore(r *record.Raw) float64 {
	answered, w := r.Answered(), r.Histograms.Windows[0]
	committed := newCurve(answered, func(s record.Sample) float64 { return float64(s.Committed()) }).at(w.StartNS)
	early := newCurve(answered, func(s record.Sample) float64 { return max(float64(s.Received)-committed, 0) })
	return early.area(min(answered[0].TNS, w.StartNS), w.StartNS) / float64(w.EndNS-w.StartNS)
}

// StandardError is that of the mean depth: what sampling alone does to it. It is taken from the
// differences between neighbours (von Neumann), since a queue that fills and drains varies much
// more than its sampling is uncertain.
func StandardError(answered []record.Sample, w record.HistogramWindow) float64 {
	var depths []float64
	for _, s := range answered {
		if s.TNS >= w.StartNS && s.TNS <= w.EndNS {
			depths = append(depths, float64(s.QueueDepth))
		}
	}
	if len(depths) < minLittleSamples {
		return math.Inf(1)
	}
	var squares float64
	for i := 1; i < len(depths); i++ {
		squares += (depths[i] - depths[i-1]) * (depths[i] - depths[i-1])
	}
	return math.Sqrt(squares / 2 / float64(len(depths)-1) / float64(len(depths)))
}
