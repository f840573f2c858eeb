package compare

import (
	"cmp"
	"math"
	"slices"

	"github.com/montanaflynn/stats"
	"golang.org/x/perf/benchmath"

	"sekali/bench/result"
)

// alpha is the chance, over all metrics of one comparison, to call something different that is not.
const alpha = 0.05

// metric is one figure of a pair.
type metric struct {
	result.Metric
	a, b      []float64
	test      bool    // has a p-value: a way that is better, and values that are not all equal
	p         float64 // Mann-Whitney, then corrected by Holm
	reachable bool    // so many repeats could give a p under alpha, if the sides were wholly apart
}

// measure collects the values of both sides and tests them. A metric that a repeat lacks is left out.
func (p *pair) measure() {
	for _, m := range result.Metrics {
		one := metric{Metric: m, a: values(p.a, m), b: values(p.b, m)}
		if one.a == nil || one.b == nil {
			continue
		}
		one.test = m.Better != result.Neither && !constant(slices.Concat(one.a, one.b))
		if one.test {
			// The order of the repeats stays as it is for who reads them; the samples are sorted copies.
			thresholds := benchmath.DefaultThresholds
			one.p = benchmath.AssumeNothing.Compare(
				benchmath.NewSample(slices.Clone(one.a), &thresholds), benchmath.NewSample(slices.Clone(one.b), &thresholds)).P
		}
		p.metrics = append(p.metrics, one)
	}
}

func values(g group, m result.Metric) []float64 {
	var all []float64
	for _, s := range g.summaries {
		v := m.Value(s)
		if v == nil {
			return nil
		}
		all = append(all, *v)
	}
	return all
}

func constant(values []float64) bool { return slices.Min(values) == slices.Max(values) }

// correct replaces the p-values of all pairs by Holm's, and says which metrics could have come under alpha at all.
func correct(pairs []pair) {
	var tested []*metric
	for i := range pairs {
		for j := range pairs[i].metrics {
			if m := &pairs[i].metrics[j]; m.test {
				tested = append(tested, m)
			}
		}
	}
	slices.SortStableFunc(tested, func(a, b *metric) int { return cmp.Compare(a.p, b.p) })
	var highest float64
	for i, m := range tested {
		highest = max(highest, math.Min(1, m.p*float64(len(tested)-i)))
		m.p = highest
		m.reachable = smallestP(len(m.a), len(m.b))*float64(len(tested)) <= alpha
	}
}

// smallestP is that of the U test on samples that do not overlap: of all orders of n+m values, two are as extreme.
func smallestP(n, m int) float64 {
	orders := 1.
	for i := 1; i <= n; i++ {
		orders *= float64(m+i) / float64(i)
	}
	return math.Min(1, 2/orders)
}

// change is the difference of the medians, B from A; NaN where A's is 0.
func (m metric) change() float64 {
	a, b := median(m.a), median(m.b)
	if a == b {
		return 0
	}
	if a == 0 {
		return math.NaN()
	}
	return (b - a) / math.Abs(a)
}

func median(values []float64) float64 {
	m, err := stats.Median(values)
	if err != nil {
		return math.NaN() // not reached: there is at least one value
	}
	return m
}

// judgement is what is said of one metric.
func (m metric) judgement() string {
	switch {
	case !m.test && m.Better == result.Neither:
		return ""
	case !m.test:
		return "equal"
	case m.p > alpha || median(m.a) == median(m.b):
		return "~"
	case (median(m.b) > median(m.a)) == (m.Better == result.Higher):
		return "better"
	}
	return "worse"
}

// verdict is on one pair. What the audit or an expectation says needs no repeats.
func (p *pair) verdict() Verdict {
	if p.broken() {
		return Worse
	}
	if len(p.warnings()) > 0 {
		return NotEnough
	}
	verdict := SameOrBetter
	for _, m := range p.metrics {
		switch {
		case m.judgement() == "worse":
			return Worse
		case m.test && !m.reachable:
			verdict = NotEnough
		}
	}
	return verdict
}

// broken says that B does not hold what A holds.
func (p *pair) broken() bool { return p.a.held() && !p.b.held() }

// held says that every repeat was as expected. What an audit must find is an expectation: a loss may be one.
func (g group) held() bool {
	for _, f := range g.folders {
		if !f.Run.Held() {
			return false
		}
	}
	return true
}
