package report

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"sekali/bench/internal/chart"
	"sekali/bench/judge/objective"
	"sekali/bench/record"
)

// WriteCurves draws a curve for each scenario of a run's folder that sweeps a parameter, beside
// index.json, and returns the paths. Of a scenario with one value there is no curve. Where a result
// misses the objective, which may be nil, its marks are crossed.
func WriteCurves(dir string, o objective.Objective) ([]string, error) {
	folders, err := record.Open(dir)
	if err != nil {
		return nil, err
	}
	s := &set{}
	for _, f := range folders {
		s.add(repeat{Run: f.Run, Summary: f.Run.Summary})
	}
	var paths []string
	for _, sc := range s.scenarios {
		if len(sc.swept()) < 2 {
			continue
		}
		svg, err := sc.curves(o)
		if err != nil {
			return paths, err
		}
		path := filepath.Join(dir, sc.Name+".svg")
		if err := os.WriteFile(path, svg, 0o644); err != nil {
			return paths, fmt.Errorf("report: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// sweep is the case's place on a curve, nil if it has none.
func (g *group) sweep() *record.Sweep { return g.first().Run.Scenario.Sweep }

// swept are the values of the parameter that the scenario sweeps, as texts: numbers rising, else in
// the order in which they ran. Nil: it sweeps none.
func (s *scenario) swept() []string {
	var values []string
	for _, g := range s.Cases {
		if g.sweep() == nil {
			return nil
		}
		if !slices.Contains(values, g.sweep().Value) {
			values = append(values, g.sweep().Value)
		}
	}
	if numeric(values) {
		slices.SortFunc(values, func(a, b string) int { return cmp.Compare(numberOf(a), numberOf(b)) })
	}
	return values
}

func numeric(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return math.IsNaN(numberOf(v)) })
}

// numberOf is NaN for the name of a choice.
func numberOf(value string) float64 {
	x, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return math.NaN()
	}
	return x
}

// sweptFigures are what a sweep shows, a panel each; one that has a parameter is shown where that
// is swept.
var sweptFigures = []struct {
	label     string
	of        func(record.Summary) *float64
	parameter string
}{
	{"processed events/s", func(s record.Summary) *float64 { return s.ThroughputProcessedPerS }, ""},
	{"response time, ms (p50)", func(s record.Summary) *float64 { return s.ResponseTimeMS.P50 }, ""},
	{"response time, ms (p99)", func(s record.Summary) *float64 { return s.ResponseTimeMS.P99 }, "load.rate"},
	// Where there are too few requests for a percentile, an objective holds the longest to it.
	{"response time, ms (max)", func(s record.Summary) *float64 { return s.ResponseTimeMS.Max }, "load.rate"},
	{"server CPU, µs/stored", func(s record.Summary) *float64 { return s.ServerCPUUSPerStored }, ""},
	{"bytes written/stored", func(s record.Summary) *float64 { return s.BytesWrittenPerStored }, ""},
}

// curves draws a panel for each figure that any result has: over a number a line for each curve,
// over names a bar.
func (s *scenario) curves(o objective.Objective) ([]byte, error) {
	values := s.swept()
	missed := s.valuesOf(values, func(r repeat) bool { return len(o.Failed(r.Summary)) > 0 })
	var crossed []float64
	for _, value := range missed {
		crossed = append(crossed, numberOf(value))
	}
	// The figures of an INVALID result are drawn, as rings, and said to be so.
	invalid := s.valuesOf(values, func(r repeat) bool { return !r.Run.Validity.Valid })
	var hollow []float64
	for _, value := range invalid {
		hollow = append(hollow, numberOf(value))
	}
	var names []string
	for _, g := range s.Cases {
		if !slices.Contains(names, g.sweep().Curve) {
			names = append(names, g.sweep().Curve)
		}
	}
	var panels []chart.Panel
	var bars []chart.BarPanel
	for _, figure := range sweptFigures {
		if figure.parameter != "" && figure.parameter != s.Cases[0].sweep().Parameter {
			continue
		}
		label := namedShort(figure.label, s.Cases...)
		panel, bar := chart.Panel{Label: label, Crossed: crossed, Hollow: hollow}, chart.BarPanel{Label: label}
		for _, name := range names {
			line := chart.Line{Name: name}
			for _, value := range values {
				median, ok := s.at(name, value).median(figure.of)
				if !ok {
					median = math.NaN()
				}
				line.X, line.Y = append(line.X, numberOf(value)), append(line.Y, median)
			}
			panel.Lines, bar.Series = append(panel.Lines, line), append(bar.Series, chart.Series{Name: name, Values: line.Y})
		}
		if slices.ContainsFunc(panel.Lines, func(l chart.Line) bool {
			return slices.ContainsFunc(l.Y, func(y float64) bool { return !math.IsNaN(y) })
		}) {
			panels, bars = append(panels, panel), append(bars, bar)
		}
	}
	if numeric(values) {
		label := s.Cases[0].sweep().Parameter
		if label == "load.rate" {
			label += ", requests/s"
		}
		if len(invalid) > 0 {
			label += "; ring: INVALID"
		}
		if len(missed) > 0 {
			label += "; crossed: misses the objective"
		}
		return chart.Curves(label, panels)
	}
	for i, value := range values {
		if slices.Contains(invalid, value) {
			values[i] += " (INVALID)"
		}
	}
	return chart.Bars(values, bars)
}

// valuesOf are the values at which a result, of any curve and repeat, is of a kind.
func (s *scenario) valuesOf(values []string, kind func(repeat) bool) []string {
	var found []string
	for _, value := range values {
		if slices.ContainsFunc(s.Cases, func(g *group) bool {
			return g.sweep().Value == value && slices.ContainsFunc(g.Repeats, kind)
		}) {
			found = append(found, value)
		}
	}
	return found
}

// at is the case at a value of a curve, nil if it was not run to its end.
func (s *scenario) at(curve, value string) *group {
	for _, g := range s.Cases {
		if g.sweep().Curve == curve && g.sweep().Value == value {
			return g
		}
	}
	return nil
}
