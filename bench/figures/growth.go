package figures

import (
	"math"

	"sekali/bench/record"
)

// GrowthStep is what it cost to store so many unique events more, beyond those that were stored
// already.
type GrowthStep struct {
	From, To                uint64  // unique events stored
	StoredPerS              float64 // of these
	AcceptedPerS            float64 // events that arrived meanwhile, repeats included
	StoreBytesPerStored     float64 // handed to the block layer, without the journal
	JournalBytesPerAccepted float64 // NaN: hardly any arrived
	ResidentBytesMax        int64
}

// Growth cuts a trace into steps of as many stored events; what is left at the end and makes no
// whole step is not in them.
func Growth(trace []record.Sample, step uint64) []GrowthStep {
	var answered []record.Sample
	for _, s := range trace {
		if s.Answered() {
			answered = append(answered, s)
		}
	}
	if len(answered) == 0 || step == 0 {
		return nil
	}
	base := answered[0]
	over := func(field func(record.Sample) float64) curve {
		var c curve
		for _, s := range answered {
			c.x, c.y = append(c.x, int64(grown(base.UniqueProcessed, s.UniqueProcessed))), append(c.y, field(s))
		}
		return c
	}
	seconds := over(func(s record.Sample) float64 { return float64(s.AnsweredNS) / 1e9 })
	received := over(func(s record.Sample) float64 { return float64(s.Received) })
	written := over(func(s record.Sample) float64 { return float64(s.ServerWriteBytes) })
	journal := over(func(s record.Sample) float64 { return float64(s.JournalBytes) }).rising()
	last := uint64(seconds.x[len(seconds.x)-1])
	var steps []GrowthStep
	for from := uint64(0); from+step <= last; from += step {
		g := GrowthStep{From: from, To: from + step}
		grew := func(c curve) float64 { return c.at(int64(g.To)) - c.at(int64(g.From)) }
		took := math.Max(grew(seconds), 1e-9)
		g.StoredPerS, g.AcceptedPerS = round(float64(step)/took), round(grew(received)/took)
		g.StoreBytesPerStored, g.JournalBytesPerAccepted = round((grew(written)-grew(journal))/float64(step)), math.NaN()
		if accepted := grew(received); accepted >= float64(step)/10 {
			g.JournalBytesPerAccepted = round(grew(journal) / accepted)
		}
		for i, s := range answered {
			if x := uint64(seconds.x[i]); x >= g.From && x <= g.To {
				g.ResidentBytesMax = max(g.ResidentBytesMax, s.ServerRSSBytes)
			}
		}
		steps = append(steps, g)
	}
	return steps
}
