package chart

import (
	"math"

	"sekali/bench/record"
)

const (
	// rateTimeNS is the shortest time that a rate is the mean of. Shorter ones show the batches of
	// requests and transactions rather than the rate.
	rateTimeNS = int64(500e6)
	// ratesShown is how many such times fit into a long run: there, single transactions would fill the
	// picture.
	ratesShown = 25
)

// queueLabel names the unit of the queue depth.
const queueLabel = "queue depth, events"

// Trace is a run over time, as its pictures show it.
type Trace struct {
	MeanS     float64 // seconds that each rate is the mean of
	Seconds   []float64
	Accepted  []float64 // events/s
	Committed []float64 // events/s, duplicates included
	Depth     []float64 // events
}

// NewTrace derives the rates, each the mean of a time around its moment. Where the aggregator did
// not answer, and where a kill took accepted events back, the value is NaN. Samples long after the
// drain are left out.
func NewTrace(run record.Run, samples []record.Sample) Trace {
	last := lastShownNS(run)
	mean := max(rateTimeNS, last/ratesShown/rateTimeNS*rateTimeNS)
	t := Trace{MeanS: float64(mean) / 1e9}
	for i, s := range samples {
		if s.TNS < 0 || s.TNS > last {
			continue
		}
		t.Seconds = append(t.Seconds, float64(s.TNS)/1e9)
		if !s.Answered() {
			t.Accepted, t.Committed = append(t.Accepted, math.NaN()), append(t.Committed, math.NaN())
			t.Depth = append(t.Depth, math.NaN())
			continue
		}
		from, to := neighbours(samples, i, mean/2)
		t.Depth = append(t.Depth, float64(s.QueueDepth))
		t.Accepted = append(t.Accepted, rate(from, to, from.Received, to.Received))
		t.Committed = append(t.Committed, rate(from, to, from.Committed(), to.Committed()))
	}
	return t
}

// neighbours are the ends of a rate's time: those within reach on both sides, no further than the
// next sample without an answer, and one on each side at least.
func neighbours(samples []record.Sample, i int, reachNS int64) (from, to record.Sample) {
	first, last := i, i
	for first > 0 && samples[first-1].Answered() && (first == i || samples[i].TNS-samples[first-1].TNS <= reachNS) {
		first--
	}
	for last < len(samples)-1 && samples[last+1].Answered() && (last == i || samples[last+1].TNS-samples[i].TNS <= reachNS) {
		last++
	}
	return samples[first], samples[last]
}

func lastShownNS(run record.Run) int64 {
	const after = int64(300e6)
	last := run.DrainedNS
	for _, p := range run.Phases {
		last = max(last, p.EndNS)
	}
	return last + after
}

func rate(from, to record.Sample, a, b uint64) float64 {
	if b < a || to.TNS <= from.TNS {
		return math.NaN()
	}
	return float64(b-a) / (float64(to.TNS-from.TNS) / 1e9)
}

// RateLabel names the unit of the rates.
func (t Trace) RateLabel() string { return "events/s, over " + Number(t.MeanS) + " s" }

// Panels are the run's picture: throughput above, queue depth below.
func (t Trace) Panels() []Panel {
	return []Panel{
		{Label: t.RateLabel(), Lines: []Line{{"accepted", t.Seconds, t.Accepted}, {"committed", t.Seconds, t.Committed}}},
		{Label: queueLabel, Lines: []Line{{"queue depth", t.Seconds, t.Depth}}},
	}
}

// Spans are a run's phases and its fault.
func Spans(run record.Run) []Span {
	var spans []Span
	for _, p := range run.Phases {
		spans = append(spans, Span{Name: p.Name, From: float64(p.StartNS) / 1e9, To: float64(p.EndNS) / 1e9, Measured: p.Measured})
	}
	if f := run.Fault; f != nil {
		ready := f.ReadyNS
		if ready == 0 {
			ready = f.AtNS
		}
		spans = append(spans, Span{Name: f.Kind, From: float64(f.AtNS) / 1e9, To: float64(ready) / 1e9, Fault: true})
	}
	return spans
}

// Run draws one run.
func Run(run record.Run, samples []record.Sample) ([]byte, error) {
	return Timeline(NewTrace(run, samples).Panels(), Spans(run))
}

// Queues draws the queue traces of two runs in one picture, each from its own start.
func Queues(nameA string, a Trace, nameB string, b Trace) ([]byte, error) {
	return Timeline([]Panel{{Label: queueLabel, Lines: []Line{{nameA, a.Seconds, a.Depth}, {nameB, b.Seconds, b.Depth}}}}, nil)
}
