package saturation

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/montanaflynn/stats"

	"sekali/bench/judge/objective"
	"sekali/bench/record"
)

const (
	// SearchFile is what a search leaves behind, beside its runs.
	SearchFile = "search.json"
	// Agreement is how far the answers of several searches may be apart: their range, as a share of
	// their median.
	Agreement = 0.10
)

// Record is search.json. Rates are in requests a second.
type Record struct {
	Format           int      `json:"format"`
	Scenario         string   `json:"scenario"` // name
	Objective        string   `json:"objective"`
	EventsPerRequest int      `json:"events_per_request"`
	Repeat           int      `json:"repeat"` // searches that were asked for
	BudgetS          float64  `json:"budget_s"`
	Searches         []Answer `json:"searches"`        // in the order in which they ran
	Range            *float64 `json:"range,omitempty"` // of the answers, as a share of their median; from two answers on
	Agree            *bool    `json:"agree,omitempty"` // every search has an answer, and Range is within Agreement; from two searches on
	Curve            string   `json:"curve"`           // folder of the curve's run, from this file on; "": none
	Ended            string   `json:"ended"`           // why before its end; "": it is whole
}

// Answer is what one search came to.
type Answer struct {
	Start        float64  `json:"start_requests_per_s"`
	Step         float64  `json:"step"`           // from the first rate to the second, as a factor
	RequestsPerS *float64 `json:"requests_per_s"` // the highest rate that was met and confirmed; null: none was
	EventsPerS   *float64 `json:"events_per_s"`
	Error        string   `json:"error"` // why there is no answer; "": there is
	// Best is the highest rate there is evidence for, where there is no answer; null: none was met.
	Best   *Best   `json:"best,omitempty"`
	Probes []Probe `json:"probes"`
}

// Probe is one run of a search, in order.
type Probe struct {
	Kind         Kind               `json:"kind"`
	RequestsPerS float64            `json:"requests_per_s"`
	Figures      map[string]float64 `json:"figures"` // by metric of the objective, in its unit; one without a sample is left out
	Met          bool               `json:"met"`
	Failed       []string           `json:"failed"`  // terms of the objective
	Invalid      []string           `json:"invalid"` // reasons
	Dir          string             `json:"dir"`     // the result folder, from this file on, with slashes
}

// Best is a rate that was met, and how sure that is.
type Best struct {
	RequestsPerS float64 `json:"requests_per_s"`
	EventsPerS   float64 `json:"events_per_s"`
	Evidence     string  `json:"evidence"`
}

// The evidence for a best rate.
const (
	confirmed = "met, and confirmed by a longer run"
	metOnce   = "met by a short probe, and not confirmed"
)

// best is the highest rate that was confirmed, or else the highest that was met and not missed
// again by a longer run.
func (a *Answer) best(eventsPerRequest int) *Best {
	rates := map[Kind]float64{}
	refuted := map[float64]bool{}
	for _, p := range a.Probes {
		refuted[p.RequestsPerS] = refuted[p.RequestsPerS] || p.Kind == Confirming && p.Outcome() == Missed
	}
	for _, p := range a.Probes {
		if p.Outcome() == Met && (p.Kind == Confirming || !refuted[p.RequestsPerS]) {
			rates[p.Kind] = max(rates[p.Kind], p.RequestsPerS)
		}
	}
	for _, found := range []Best{{RequestsPerS: rates[Confirming], Evidence: confirmed}, {RequestsPerS: rates[Probing], Evidence: metOnce}} {
		if found.RequestsPerS > 0 {
			found.EventsPerS = found.RequestsPerS * float64(eventsPerRequest)
			return &found
		}
	}
	return nil
}

func (b Best) String() string {
	return fmt.Sprintf("%s requests/s, %.0f events/s: %s", decimal(b.RequestsPerS), b.EventsPerS, b.Evidence)
}

// Outcome is what the probe said to the search.
func (p Probe) Outcome() Outcome {
	switch {
	case len(p.Invalid) > 0:
		return Invalid
	case p.Met:
		return Met
	}
	return Missed
}

// newProbe holds a result to an objective.
func newProbe(kind Kind, rate float64, o objective.Objective, s record.Summary, v record.Validity, dir string) Probe {
	p := Probe{Kind: kind, RequestsPerS: rate, Figures: o.Figures(s), Failed: o.Failed(s), Invalid: v.Texts(), Dir: dir}
	p.Met = len(p.Failed) == 0
	return p
}

// end closes an answer: a rate that was confirmed, or why there is none, and the best there is
// evidence for.
func (a *Answer) end(rate float64, eventsPerRequest int, err error) {
	if err != nil {
		a.Error, a.Best = err.Error(), a.best(eventsPerRequest)
		return
	}
	events := rate * float64(eventsPerRequest)
	a.RequestsPerS, a.EventsPerS = &rate, &events
}

// found are the answers' rates.
func (r *Record) found() []float64 {
	var rates []float64
	for _, a := range r.Searches {
		if a.RequestsPerS != nil {
			rates = append(rates, *a.RequestsPerS)
		}
	}
	return rates
}

// Median is that of the answers; ok is false where there is none.
func (r *Record) Median() (rate float64, ok bool) {
	rate, err := stats.Median(r.found())
	return rate, err == nil
}

// compare says how far the answers are apart. One search agrees with nothing.
func (r *Record) compare() {
	found := r.found()
	if median, ok := r.Median(); ok && len(found) > 1 {
		apart := (slices.Max(found) - slices.Min(found)) / median
		r.Range = &apart
	}
	if r.Repeat > 1 {
		agree := len(found) == r.Repeat && *r.Range <= Agreement
		r.Agree = &agree
	}
}

// Write writes search.json into a folder.
func (r *Record) Write(dir string) error {
	r.Format = record.Format
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("search: %w", err)
	}
	return record.WriteJSON(filepath.Join(dir, SearchFile), r)
}

// Read reads the search.json of a folder.
func Read(dir string) (r Record, err error) {
	name := filepath.Join(dir, SearchFile)
	if err = record.ReadJSON(name, &r); err == nil {
		err = record.CheckFormat(name, r.Format)
	}
	if err != nil {
		return r, err
	}
	for _, dir := range r.Dirs() {
		// The file may come from anywhere; it names folders below itself and nothing else.
		if !filepath.IsLocal(filepath.FromSlash(dir)) {
			return r, fmt.Errorf("%s: %q is not a folder below it", name, dir)
		}
	}
	return r, nil
}

// Dirs are the folders of all probes, and of the curve's run where there is one, from the file on.
func (r *Record) Dirs() []string {
	var dirs []string
	for _, a := range r.Searches {
		for _, p := range a.Probes {
			dirs = append(dirs, p.Dir)
		}
	}
	if r.Curve != "" {
		dirs = append(dirs, r.Curve)
	}
	return dirs
}
