package compare

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"sekali/bench/internal/chart"
)

// print writes one pair: what speaks against comparing it, the metrics that decide, what they lack,
// and all others.
func (p *pair) print(w io.Writer, d design, margin float64) error {
	label := p.a.label
	if p.a.label != p.b.label {
		label += " and " + p.b.label
	}
	fmt.Fprintf(w, "\n== %s\n", label)
	for _, warning := range p.warnings() {
		fmt.Fprintf(w, "WARNING: %s\n", warning)
	}
	p.printBroken(w)
	if p.paired {
		fmt.Fprintf(w, "The sides took turns: each repeat of B is compared with the one of A beside it.\n")
		for _, why := range p.leftOut {
			fmt.Fprintf(w, "One such pair is left out, whatever its figures: %s.\n", why)
		}
	} else {
		fmt.Fprintf(w, "The sides did not take turns (bench ab lets them): what the machine did meanwhile counts as theirs.\n")
	}
	if err := p.printDeciders(w, d); err != nil {
		return err
	}
	fmt.Fprintf(w, "Worse is a p of at most %v after Holm's correction over %d deciding metrics, and a shift of over %s: it takes %d repeats a side at least.\n"+
		"The same or better is every interval within %s, or on the good side. %s is neither: the evidence is thin.\n",
		chart.Number(d.alpha()), d.tests, part(min(leastShift, margin)), d.leastRepeats(), part(margin), thin)
	p.printNeed(w, d)
	return p.printOthers(w)
}

func (p *pair) printBroken(w io.Writer) {
	for _, f := range p.b.folders {
		for _, e := range p.brokenByBAlone(f.Run) {
			fmt.Fprintf(w, "NOT HELD by B: %s: expected %s, got %s (%s)\n", e.Name, e.Expected, e.Got, f.Dir)
		}
	}
}

func (p *pair) printDeciders(w io.Writer, d design) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(columns, "deciding metric\tA\tB\tratio\t%s interval\tp, Holm\t\t\n", part(1-d.alpha()))
	for i := range p.deciders {
		m := &p.deciders[i]
		if m.missing != "" {
			continue
		}
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", m.Name, m.spread(0, m.a), m.spread(1, m.b), ratio(m.point), m.interval(), chance(m.p), m.judgement())
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	for i := range p.deciders {
		if m := &p.deciders[i]; m.missing != "" {
			fmt.Fprintf(w, "MISSING: %s: %s\n", m.Name, m.missing)
		}
	}
	for _, a := range p.absent {
		fmt.Fprintf(w, "WITHHELD: %s decides nothing: %s\n", a.name, a.why)
	}
	return nil
}

// printNeed says what would settle the open metric that needs the most.
func (p *pair) printNeed(w io.Writer, d design) {
	open := slices.DeleteFunc(slices.Clone(p.deciders), func(m decider) bool { return m.missing != "" || m.judgement() != thin })
	if len(open) == 0 {
		return
	}
	hardest := slices.MaxFunc(open, func(x, y decider) int { return cmp.Compare(x.need(d), y.need(d)) })
	if n := hardest.need(d); n > 0 {
		fmt.Fprintf(w, "~ %s, which scatters by %s a repeat: about %d repeats a side would settle it.\n", hardest.Name, part(math.Expm1(hardest.scatter)), n)
		return
	}
	fmt.Fprintf(w, "~ with %d and %d repeats nothing can be said of any: %d a side at least.\n", len(p.a.folders), len(p.b.folders), d.leastRepeats())
}

func (p *pair) printOthers(w io.Writer) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(columns, "not deciding\tA\tB\tdifference\tp, not corrected\t\n")
	for _, m := range p.others {
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\t\n", m.Name, spread(m.a), spread(m.b), percent(m.change()), chance(m.p))
	}
	return columns.Flush()
}

// printNoise says, of a program against itself, what difference would be seen here.
func (p *pair) printNoise(w io.Writer, d design, margin float64) error {
	repeats := min(len(p.a.folders), len(p.b.folders))
	fmt.Fprintf(w, "Noise floor: what is seen in %.0f of 100 comparisons\n", 100*power)
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(columns, "deciding metric\tscatter of a repeat\tsmallest effect seen with %d\trepeats a side to see %s\t\n", repeats, part(margin))
	for i := range p.deciders {
		m := &p.deciders[i]
		if m.missing != "" || math.IsNaN(m.scatter) {
			fmt.Fprintf(columns, "%s\t–\t–\tat least %d\t\n", m.Name, d.leastRepeats())
			continue
		}
		effect := "none"
		if e := d.smallest(m.scatter, repeats); !math.IsInf(e, 0) {
			effect = part(math.Expm1(e))
		}
		fmt.Fprintf(columns, "%s\t%s\t%s\t%d\t\n", m.Name, part(math.Expm1(m.scatter)), effect, d.need(m.scatter, m.limit(margin)))
	}
	return columns.Flush()
}

func (m *decider) interval() string {
	if math.IsInf(m.low, 0) {
		return "too few repeats"
	}
	return ratio(m.low) + " to " + ratio(m.high)
}

// spread is a side's value of a deciding metric.
func (m *decider) spread(side int, values []float64) string {
	if m.pool != nil {
		return m.pool.spread(side, values[0])
	}
	return spread(values)
}

// spread is the median, and of several values the smallest, the largest and how many.
func spread(values []float64) string {
	if len(values) == 1 {
		return chart.Number(values[0])
	}
	return fmt.Sprintf("%s (%s to %s, n=%d)", chart.Number(median(values)), chart.Number(slices.Min(values)), chart.Number(slices.Max(values)), len(values))
}

// ratio writes a difference of logarithms as what it adds.
func ratio(logarithm float64) string { return percent(math.Expm1(logarithm)) }

func percent(part float64) string {
	if math.IsNaN(part) {
		return "from 0"
	}
	return fmt.Sprintf("%+.1f %%", 100*part)
}

// part writes a part without a sign, and whole per cents without a decimal.
func part(x float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*x), ".0") + " %"
}

// chance is a p-value, which is never 0.
func chance(p float64) string {
	if p < 0.001 {
		return "<0.001"
	}
	return fmt.Sprintf("%.3f", p)
}
