package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/montanaflynn/stats"

	"sekali/bench/figures"
	"sekali/bench/judge"
	"sekali/bench/record"
)

const (
	// alpha is the chance, over all deciding metrics of one comparison, to call something different
	// that is not.
	alpha = 0.05
	// leastShift is the smallest shift that is called worse, however certain: where the linker happens
	// to put a loop moves a program by as much.
	leastShift = 0.01
	// DefaultMargin is how much worse B may be and count as the same.
	DefaultMargin = 0.05
)

// deciding are the metrics that a verdict rests on, chosen before any run was looked at: what a
// publisher sees, how fast and at what price events are stored. Few, since each that is added makes
// all of them harder to prove.
var deciding = []string{
	"throughput_processed_per_s", // not in an open loop, where the schedule sets it
	"response_time_ms_p50",
	"response_time_ms_p99",
	"processing_latency_ms_p50",
	"server_cpu_us_per_stored",
	"bytes_written_per_stored",
}

// metric is one figure of a pair.
type metric struct {
	figures.Metric
	a, b []float64
	p    float64 // that B and A do not differ, two-sided; of a deciding metric corrected by Holm
}

// decider is a metric that decides.
type decider struct {
	metric
	shift           // of the logarithms: that of the ratio B/A
	missing string  // why it has no ratio; "": it has one
	alone   float64 // the p-value before it is corrected
	pool    *pool   // of all repeats' requests; nil: each repeat has a value of its own
	margin  float64
	alpha   float64 // the chance of a false alarm that this look has
}

// measure collects the values of both sides and tests them.
func (p *pair) measure(margin float64, looks int) {
	p.paired = interleaved(p.a, p.b)
	p.leaveOut()
	for _, m := range figures.Metrics {
		one := metric{Metric: m, a: values(p.a, m), b: values(p.b, m)}
		if slices.Contains(deciding, m.Name) && !(m.Name == "throughput_processed_per_s" && p.openLoop()) {
			if len(one.a)+len(one.b) == 0 {
				if d := p.pooled(one, margin, looks); d != nil {
					p.deciders = append(p.deciders, *d)
					continue
				}
				p.absent = append(p.absent, absence{m.Name, p.whyAbsent(m.Name)})
				continue
			}
			d := decider{metric: one, margin: margin, alpha: alpha / float64(looks), missing: p.missing(one)}
			d.test(p.paired)
			p.deciders = append(p.deciders, d)
			continue
		}
		if len(one.a) < len(p.a.summaries) || len(one.b) < len(p.b.summaries) {
			continue
		}
		one.p = probability(one.a, one.b, p.paired)
		p.others = append(p.others, one)
	}
}

// pooled decides a metric that no repeat has over all their requests together; nil: they are too
// few, or it is another metric.
func (p *pair) pooled(m metric, margin float64, looks int) *decider {
	if m.Name != pooledMetric {
		return nil
	}
	together := newPool(p.a, p.b, p.paired, maxDraws)
	if together == nil {
		return nil
	}
	d := &decider{metric: m, margin: margin, alpha: alpha / float64(looks)}
	together.test(d)
	return d
}

// values are those of the repeats that have the metric.
func values(g group, m figures.Metric) []float64 {
	var all []float64
	for _, s := range g.summaries {
		if v := m.Value(s); v != nil {
			all = append(all, *v)
		}
	}
	return all
}

// missing says why a metric has no ratio of B to A.
func (p *pair) missing(m metric) string {
	for _, side := range []struct {
		name   string
		values []float64
		group  group
	}{{"A", m.a, p.a}, {"B", m.b, p.b}} {
		if lacking := len(side.group.summaries) - len(side.values); lacking > 0 {
			return fmt.Sprintf("%d of %d repeats of %s do not have it", lacking, len(side.group.summaries), side.name)
		}
		if slices.Min(side.values) <= 0 {
			return fmt.Sprintf("a repeat of %s has 0, to which nothing has a ratio", side.name)
		}
	}
	return ""
}

// whyAbsent says why neither side has a deciding metric.
func (p *pair) whyAbsent(name string) string {
	var sums [2]int64
	for i, g := range []group{p.a, p.b} {
		for _, s := range g.summaries {
			sums[i] += s.ResponseTimeMS.Count
		}
	}
	few := figures.LeastSamples(50)
	switch {
	case name == pooledMetric:
		return fmt.Sprintf("withheld on both sides: %d and %d requests in all repeats together, %d needed", sums[0], sums[1], figures.LeastSamples(pooledPercent))
	case strings.HasPrefix(name, "response_time_ms"):
		return fmt.Sprintf("withheld on both sides: fewer than %d requests a repeat", few)
	case strings.HasPrefix(name, "processing_latency_ms"):
		return fmt.Sprintf("on both sides it is not said, or of fewer than %d commits a repeat", few)
	}
	return "neither side has it"
}

// openLoop says that a schedule, and not the aggregator, set how many events came.
func (p *pair) openLoop() bool {
	for _, phase := range p.a.folders[0].Run.Phases {
		if phase.Measured && phase.Rate > 0 {
			return true
		}
	}
	return false
}

func (d *decider) test(paired bool) {
	if d.missing != "" {
		d.p, d.alone = 1, 1
		return
	}
	a, b := logarithms(d.a), logarithms(d.b)
	d.p = probability(a, b, paired)
	d.alone = d.p
	if paired {
		d.shift = pairedShift(a, b, 1-d.alpha)
	} else {
		d.shift = independentShift(a, b, 1-d.alpha)
	}
}

func probability(a, b []float64, paired bool) float64 {
	if paired {
		return pairedP(a, b)
	}
	return independentP(a, b)
}

func logarithms(values []float64) []float64 {
	logs := make([]float64, len(values))
	for i, v := range values {
		logs[i] = math.Log(v)
	}
	return logs
}

// correct replaces the p-values of all pairs' deciding metrics by Holm's, and returns how many
// there are.
func correct(pairs []pair) (tests int) {
	var tested []*decider
	for i := range pairs {
		for j := range pairs[i].deciders {
			tested = append(tested, &pairs[i].deciders[j])
		}
	}
	slices.SortStableFunc(tested, func(a, b *decider) int { return cmp.Compare(a.p, b.p) })
	var highest float64
	for i, d := range tested {
		highest = max(highest, math.Min(1, d.p*float64(len(tested)-i)))
		d.p = highest
	}
	return len(tested)
}

// loss is a shift of the logarithms taken so that more is worse.
func (d *decider) loss(shift float64) float64 {
	if d.Better == figures.Higher {
		return -shift
	}
	return shift
}

// limit is the loss of being worse by a part.
func (d *decider) limit(part float64) float64 {
	if d.Better == figures.Higher {
		return -math.Log(1 - part)
	}
	return math.Log(1 + part)
}

func (d *decider) worse() bool { return d.p <= d.alpha && d.shifted() }

// worseAlone says that the metric would be worse if no other decided beside it.
func (d *decider) worseAlone() bool { return d.alone <= d.alpha && d.shifted() }

func (d *decider) shifted() bool {
	return d.missing == "" && d.loss(d.point) > d.limit(min(leastShift, d.margin))
}

// sameOrBetter says that the whole interval lies on the good side of the margin.
func (d *decider) sameOrBetter() bool {
	return d.missing == "" && max(d.loss(d.low), d.loss(d.high)) <= d.limit(d.margin)
}

// thin stands where the evidence is: neither worse nor the same.
const thin = "~"

// judgement is what is said of a deciding metric.
func (d *decider) judgement() string {
	switch {
	case d.worse():
		return "worse"
	case d.sameOrBetter() && d.p <= d.alpha && d.loss(d.point) < 0:
		return "better"
	case d.sameOrBetter():
		return "same"
	}
	return thin
}

// verdict is on one pair. What the audit or an expectation says needs no repeats.
func (p *pair) verdict() Verdict {
	if p.broken() {
		return Worse
	}
	if len(p.warnings()) > 0 || len(p.deciders) == 0 {
		return NotEnough
	}
	verdict := SameOrBetter
	for i := range p.deciders {
		switch d := &p.deciders[i]; {
		case d.worse():
			return Worse
		case !d.sameOrBetter():
			verdict = NotEnough
		}
	}
	return verdict
}

// broken says that B broke what A did not, by its own doing.
func (p *pair) broken() bool {
	return slices.ContainsFunc(p.b.folders, func(f record.Folder) bool { return len(p.brokenByBAlone(f.Run)) > 0 })
}

// brokenByBAlone are the expectations that a run of B broke and no run of A did, by their names:
// what A refused does not excuse what B lost.
func (p *pair) brokenByBAlone(run record.Run) []record.Expectation {
	return slices.DeleteFunc(judge.Broken(run), func(e record.Expectation) bool { return p.a.broke(e.Name) })
}

// broke says that a repeat broke the expectation of that name.
func (g group) broke(name string) bool {
	return slices.ContainsFunc(g.folders, func(f record.Folder) bool {
		return slices.ContainsFunc(judge.Broken(f.Run), func(e record.Expectation) bool { return e.Name == name })
	})
}

// broken says that a repeat is not as expected, and that it is no machine's doing. What an audit
// must find is an expectation: a loss may be one.
func (g group) broken() bool {
	return slices.ContainsFunc(g.folders, func(f record.Folder) bool { return len(judge.Broken(f.Run)) > 0 })
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
		return math.NaN() // no value
	}
	return m
}
