package report

import (
	"math"
	"path"

	"sekali/bench/internal/chart"
	"sekali/bench/judge/objective"
	"sekali/bench/record"
	scenarios "sekali/bench/scenario"
)

// shortestTraceS is the shortest run that has a picture over time: at a sample every 100 ms, less
// shows nothing.
const shortestTraceS = 2

// picture is one file under the pictures' folder.
type picture struct {
	Path    string // from the report's folder on, with slashes
	Alt     string
	Caption string
	Case    string // whose trace it shows; "" too where it shows all cases
	svg     []byte
}

// compared are the scenarios whose cases differ in one setting: bars show them side by side.
var compared = map[string]bool{"ack-levels": true, "batch-size": true, courseReport: true}

// pictures draws a scenario: bars where cases are compared or too short for a trace, else a trace
// for each case.
func (s *scenario) pictures() ([]picture, error) {
	if s.swept() != nil {
		caption := "What changes with " + s.Cases[0].sweep().Parameter
		var o objective.Objective
		if s.Search != nil {
			o = s.Search.objective
			caption += "; crossed: misses the objective"
		}
		svg, err := s.curves(o)
		return []picture{{Path: path.Join(picturesDir, s.Name+".svg"), Alt: "What changes with " + s.Cases[0].sweep().Parameter, svg: svg,
			Caption: caption + ", " + runsOf(s.Cases) + "."}}, err
	}
	if compared[s.Name] || s.short() {
		svg, err := s.bars()
		return []picture{{Path: path.Join(picturesDir, s.Name+".svg"), Alt: "Bars for " + s.Name, svg: svg,
			Caption: "Throughput and latency by case, " + runsOf(s.Cases) + "."}}, err
	}
	var all []picture
	for _, g := range s.Cases {
		r := g.first()
		svg, err := chart.Run(r.Run, r.Trace)
		if err != nil {
			return nil, err
		}
		name := s.Name
		if g.Case != "" {
			name += "-" + g.Case
		}
		caption := "Throughput and queue depth of " + g.Label()
		switch f := r.Run.Fault; {
		case f == nil:
		case f.Kind == scenarios.Partition:
			caption += "; the red band is from the moment at which a part of the cluster was cut off until the network was whole again, and every node ready"
		case f.ExitedNS == 0: // no process ended
			caption += "; the red band is from the moment at which the disk broke until it was well again, and the aggregator ready"
		default:
			caption += "; the red band is from the signal until the aggregator was ready again"
		}
		all = append(all, picture{Path: path.Join(picturesDir, name+".svg"), Case: g.Case, Alt: "Throughput and queue depth over time, " + g.Label(),
			Caption: caption + ", " + (&group{Repeats: g.Repeats[:1]}).Runs() + ".", svg: svg})
	}
	if s.Name == growthScenario {
		grown, err := growthPicture(s.Cases[0])
		if err != nil {
			return nil, err
		}
		all = append(all, grown)
	}
	return all, nil
}

func (s *scenario) short() bool {
	for _, g := range s.Cases {
		if g.first().Summary.ProcessedS >= shortestTraceS {
			return false
		}
	}
	return true
}

func (s *scenario) bars() ([]byte, error) {
	var names []string
	for _, g := range s.Cases {
		names = append(names, g.title())
	}
	series := func(name string, of func(record.Summary) *float64) chart.Series {
		one := chart.Series{Name: name}
		for _, g := range s.Cases {
			median, ok := g.median(of)
			if !ok {
				median = math.NaN()
			}
			one.Values = append(one.Values, median)
		}
		return one
	}
	stored := chart.BarPanel{Label: "stored events/s", Series: []chart.Series{
		series("stored", func(s record.Summary) *float64 { return s.ThroughputStoredPerS })}}
	waits := chart.BarPanel{Label: namedShort(responseTime, s.Cases...) + ", ms", Series: []chart.Series{
		series("p50", func(s record.Summary) *float64 { return s.ResponseTimeMS.P50 }),
		series("p90", func(s record.Summary) *float64 { return s.ResponseTimeMS.P90 }),
		series("p99", func(s record.Summary) *float64 { return s.ResponseTimeMS.P99 })}}
	if s.Name == courseReport || !compared[s.Name] {
		waits = chart.BarPanel{Label: "milliseconds", Series: []chart.Series{series("answered", answeredMS), series("all stored", processedMS)}}
		return chart.Bars(names, []chart.BarPanel{waits})
	}
	return chart.Bars(names, []chart.BarPanel{stored, waits})
}
