// Package objective is what a rate has to meet to count as sustained: terms over the figures of a
// summary, such as p99<50ms,refused=0.
package objective

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sekali/bench/record"
)

// Objective is met by a summary that meets every term.
type Objective []Term

// Term is one comparison, such as p99<50ms.
type Term struct {
	Op    string  // <, <= or =
	Bound float64 // in the metric's unit

	metric metric
	text   string
}

// String is the term as it was written.
func (t Term) String() string { return t.text }

// String is the objective as Parse reads it.
func (o Objective) String() string {
	var terms []string
	for _, t := range o {
		terms = append(terms, t.text)
	}
	return strings.Join(terms, ",")
}

// Error is a text that is no objective; Offset is the byte of it that the message is about.
type Error struct {
	Text    string
	Offset  int
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("objective %q, column %d: %s", e.Text, e.Offset+1, e.Message)
}

// metric is a figure that a term may bound. It is not known of a summary that has no sample of it.
type metric struct {
	name, unit string
	value      func(record.Summary) (value float64, known bool)
}

// factors are the units that a bound may have, in the metric's own.
var factors = map[string]map[string]float64{
	"ms": {"us": 1e-3, "ms": 1, "s": 1e3},
	"s":  {"ms": 1e-3, "s": 1},
	"":   {"": 1},
	"%":  {"%": 1},
}

// The percentiles are of the response time: from the moment at which a request was due to its
// acknowledgement.
var metrics = []metric{
	{"p50", "ms", percentile(func(p record.Percentiles) *float64 { return p.P50 })},
	{"p90", "ms", percentile(func(p record.Percentiles) *float64 { return p.P90 })},
	{"p99", "ms", percentile(func(p record.Percentiles) *float64 { return p.P99 })},
	{"p999", "ms", percentile(func(p record.Percentiles) *float64 { return p.P999 })},
	// Attempts that were answered 503, whether a retry got through or not: the word has the same
	// meaning in a scenario's expectations.
	{"refused", "", always(func(s record.Summary) float64 { return float64(s.Refusals()) })},
	{"unknown", "", always(func(s record.Summary) float64 { return float64(s.RequestsUnknown) })},
	{"backlog", "s", always(func(s record.Summary) float64 { return s.DrainS })},
	// What is left over when the load ends, as a share of the load's time: of a rate that cannot be
	// sustained a share remains however long it lasts.
	{"leftover", "%", func(s record.Summary) (float64, bool) { return 100 * s.DrainS / s.MeasuredS, s.MeasuredS > 0 }},
}

func always(of func(record.Summary) float64) func(record.Summary) (float64, bool) {
	return func(s record.Summary) (float64, bool) { return of(s), true }
}

// percentile takes one that is withheld for want of samples to be the longest of them all, which
// can only be stricter.
func percentile(of func(record.Percentiles) *float64) func(record.Summary) (float64, bool) {
	return func(s record.Summary) (float64, bool) {
		v := of(s.ResponseTimeMS)
		if v == nil {
			v = s.ResponseTimeMS.Max
		}
		if v == nil {
			return 0, false
		}
		return *v, true
	}
}

// Names are the metrics.
func Names() []string {
	var names []string
	for _, m := range metrics {
		names = append(names, m.name)
	}
	return names
}

// Parse reads terms separated by commas, such as "p99<50ms,refused=0,backlog<2s", each of another
// metric. Its errors are of type *Error.
func Parse(text string) (Objective, error) {
	var o Objective
	offset := 0
	for part := range strings.SplitSeq(text, ",") {
		begin := offset + len(part) - len(strings.TrimLeft(part, " "))
		t, at, message := parseTerm(strings.Trim(part, " "))
		if message == "" && slices.ContainsFunc(o, func(other Term) bool { return other.metric.name == t.metric.name }) {
			message = t.metric.name + " is bounded twice"
		}
		if message != "" {
			return nil, &Error{text, begin + at, message}
		}
		o = append(o, t)
		offset += len(part) + len(",")
	}
	return o, nil
}

// decimal is how a bound is written: NaN, Inf, hexadecimal and exponents, which strconv reads too,
// are slips here.
var decimal = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?`)

// parseTerm returns the term, or what is wrong and at which byte.
func parseTerm(text string) (t Term, at int, wrong string) {
	end := strings.IndexAny(text, "<=")
	if end < 1 {
		return t, 0, "want <metric><op><bound>, such as p99<50ms; the operators are <, <= and ="
	}
	i := slices.IndexFunc(metrics, func(m metric) bool { return m.name == text[:end] })
	if i < 0 {
		return t, 0, fmt.Sprintf("%q is not one of %s", text[:end], strings.Join(Names(), ", "))
	}
	t = Term{Op: text[end : end+1], metric: metrics[i], text: text}
	if strings.HasPrefix(text[end:], "<=") {
		t.Op = "<="
	}
	at = end + len(t.Op)
	digits := decimal.FindString(text[at:])
	value, err := strconv.ParseFloat(digits, 64)
	factor, known := factors[t.metric.unit][text[at+len(digits):]]
	if err != nil || !known {
		return t, at, fmt.Sprintf("%q is not a bound of %s, which wants a decimal number%s", text[at:], t.metric.name, unitHint(t.metric.unit))
	}
	t.Bound = value * factor
	return t, 0, ""
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

// Metrics are those that the objective bounds, in order, and Units what their figures are in.
func (o Objective) Metrics() (names, units []string) {
	for _, t := range o {
		names, units = append(names, t.metric.name), append(units, t.metric.unit)
	}
	return names, units
}

// Figures are the figures that the objective bounds, by metric and in its unit, with six
// significant digits; one that is not known is left out.
func (o Objective) Figures(s record.Summary) map[string]float64 {
	figures := map[string]float64{}
	for _, t := range o {
		if value, known := t.metric.value(s); known {
			// Reading back what was just written cannot fail.
			figures[t.metric.name], _ = strconv.ParseFloat(strconv.FormatFloat(value, 'g', 6, 64), 64)
		}
	}
	return figures
}

// Failed are the terms that a summary does not meet, each with its figure. A figure that is not
// known meets nothing.
func (o Objective) Failed(s record.Summary) []string {
	failed := []string{}
	for _, t := range o {
		value, known := t.metric.value(s)
		switch {
		case !known:
			failed = append(failed, fmt.Sprintf("%s has no sample, so not %s", t.metric.name, t))
		case !t.met(value):
			failed = append(failed, fmt.Sprintf("%s is %s, not %s", t.metric.name, strings.TrimSpace(fmt.Sprintf("%.4g %s", value, t.metric.unit)), t))
		}
	}
	return failed
}

func (t Term) met(value float64) bool {
	switch t.Op {
	case "<":
		return value < t.Bound
	case "<=":
		return value <= t.Bound
	}
	return value == t.Bound
}
