// Package saturation finds the highest rate of requests at which an aggregator meets a stated objective: a search of audited
// probes that ends, an answer that is confirmed, and the curve of latency against rate.
package saturation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sekali/bench/result"
)

// Objective is what a probe has to meet: every term.
type Objective []Term

// Term is one comparison, such as p99<50ms.
type Term struct {
	Metric string  // as in metrics
	Op     string  // <, <= or =
	Bound  float64 // in the metric's unit
	text   string
}

func (t Term) String() string { return t.text }

// metric is what a term may speak of. A percentile that is withheld for want of samples is taken to be the longest of them all, which
// can only be stricter.
type metric struct {
	name, unit string
	value      func(result.Summary) float64
}

// factors are the units a bound may have, in the metric's own.
var factors = map[string]map[string]float64{
	"ms": {"us": 1e-3, "ms": 1, "s": 1e3},
	"s":  {"ms": 1e-3, "s": 1},
	"":   {"": 1},
	"%":  {"%": 1},
}

var metrics = []metric{
	{"p50", "ms", percentile(func(p result.Percentiles) *float64 { return p.P50 })},
	{"p90", "ms", percentile(func(p result.Percentiles) *float64 { return p.P90 })},
	{"p99", "ms", percentile(func(p result.Percentiles) *float64 { return p.P99 })},
	{"p999", "ms", percentile(func(p result.Percentiles) *float64 { return p.P999 })},
	{"refused", "", func(s result.Summary) float64 {
		return float64(s.RequestsRefused + s.ErrorsByCause["503 queue_full"] + s.ErrorsByCause["503 backlog_full"])
	}},
	{"unknown", "", func(s result.Summary) float64 { return float64(s.RequestsUnknown) }},
	{"backlog", "s", func(s result.Summary) float64 { return s.DrainS }},
	// What is left over when the load ends, as a share of the load's time: of a rate that cannot be sustained a share remains however
	// long it lasts.
	{"leftover", "%", func(s result.Summary) float64 { return 100 * s.DrainS / max(s.MeasuredS, 1e-9) }},
}

func percentile(of func(result.Percentiles) *float64) func(result.Summary) float64 {
	return func(s result.Summary) float64 {
		if v := of(s.ResponseTimeMS); v != nil {
			return *v
		}
		if s.ResponseTimeMS.Max != nil {
			return *s.ResponseTimeMS.Max
		}
		return 0
	}
}

// Parse reads terms separated by commas, such as "p99<50ms,refused=0,backlog<2s". A percentile is of the response time, from the moment
// at which a request was due.
func Parse(text string) (Objective, error) {
	var o Objective
	for part := range strings.SplitSeq(text, ",") {
		t, err := parseTerm(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("objective: %q: %w", part, err)
		}
		o = append(o, t)
	}
	return o, nil
}

func parseTerm(text string) (Term, error) {
	at := strings.IndexAny(text, "<=")
	if at < 1 {
		return Term{}, fmt.Errorf("want <metric><op><bound>, such as p99<50ms; the operators are <, <= and =")
	}
	t := Term{Metric: text[:at], Op: text[at : at+1], text: text}
	if strings.HasPrefix(text[at:], "<=") {
		t.Op = "<="
	}
	i := slices.IndexFunc(metrics, func(m metric) bool { return m.name == t.Metric })
	if i < 0 {
		var names []string
		for _, m := range metrics {
			names = append(names, m.name)
		}
		return Term{}, fmt.Errorf("%q is not one of %s", t.Metric, strings.Join(names, ", "))
	}
	bound := text[at+len(t.Op):]
	digits := strings.TrimRight(bound, "%abcdefghijklmnopqrstuvwxyz")
	value, err := strconv.ParseFloat(digits, 64)
	factor, known := factors[metrics[i].unit][bound[len(digits):]]
	if err != nil || !(value >= 0) || !known { // NaN is no bound either
		return Term{}, fmt.Errorf("%q is not a bound of %s, which wants a number%s", bound, t.Metric, unitHint(metrics[i].unit))
	}
	t.Bound = value * factor
	return t, nil
}

func unitHint(unit string) string {
	var units []string
	for u := range factors[unit] {
		if u != "" {
			units = append(units, u)
		}
	}
	if units == nil {
		return ""
	}
	slices.Sort(units)
	return " with a unit (" + strings.Join(units, ", ") + ")"
}

// Failed are the terms that a summary does not meet, each with its figure.
func (o Objective) Failed(s result.Summary) []string {
	var failed []string
	for _, t := range o {
		m := metrics[slices.IndexFunc(metrics, func(m metric) bool { return m.name == t.Metric })]
		value := m.value(s)
		met := value < t.Bound || t.Op != "<" && value == t.Bound
		if t.Op == "=" {
			met = value == t.Bound
		}
		if !met {
			failed = append(failed, fmt.Sprintf("%s is %.4g %s, not %s", t.Metric, value, m.unit, t))
		}
	}
	return failed
}
