package compare

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"sekali/bench/chart"
)

// print writes one pair: what speaks against comparing it, then a line for each metric.
func (p *pair) print(w io.Writer) error {
	label := p.a.label
	if p.a.label != p.b.label {
		label += " and " + p.b.label
	}
	fmt.Fprintf(w, "\n== %s\n", label)
	for _, warning := range p.warnings() {
		fmt.Fprintf(w, "WARNING: %s\n", warning)
	}
	if p.broken() {
		for _, f := range p.b.folders {
			for _, e := range f.Run.Expectations {
				if !e.Held {
					fmt.Fprintf(w, "NOT HELD by B: %s: expected %s, got %s (%s)\n", e.Name, e.Expected, e.Got, f.Dir)
				}
			}
		}
	}
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(columns, "metric\tA\tB\tdifference\tp\t\t\n")
	thin := false
	for _, m := range p.metrics {
		probability := ""
		if m.test {
			probability = fmt.Sprintf("%.3f", m.p)
			thin = thin || !m.reachable
		}
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\t%s\t\n", m.Name, spread(m.a), spread(m.b), percent(m.change()), probability, m.judgement())
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	if thin {
		fmt.Fprintf(w, "%d and %d repeats cannot show a difference in so many metrics, however large\n", len(p.a.folders), len(p.b.folders))
	}
	return nil
}

// spread is the median, and of several values the smallest, the largest and how many.
func spread(values []float64) string {
	if len(values) == 1 {
		return chart.Number(values[0])
	}
	return fmt.Sprintf("%s (%s to %s, n=%d)", chart.Number(median(values)), chart.Number(slices.Min(values)), chart.Number(slices.Max(values)), len(values))
}

func percent(part float64) string {
	if math.IsNaN(part) {
		return "from 0"
	}
	return fmt.Sprintf("%+.1f %%", 100*part)
}
