package saturation

import (
	"fmt"
	"path/filepath"

	"sekali/bench/figures"
	"sekali/bench/judge"
	"sekali/bench/judge/objective"
	"sekali/bench/record"
)

// Recompute makes the record of a folder's search again: each probe from its raw files, and each
// answer by searching once more, with the outcomes of those probes. Of the record it takes what was
// asked for and where the probes are. Only a search that went to its end can be made again.
func Recompute(dir string, r Record) (Record, error) {
	fail := func(err error) (Record, error) {
		return r, fmt.Errorf("%s: %w", filepath.Join(dir, SearchFile), err)
	}
	if r.Ended != "" || len(r.Searches) != r.Repeat {
		return fail(fmt.Errorf("not a whole search: %d of %d searches, ended by %q", len(r.Searches), r.Repeat, r.Ended))
	}
	o, err := objective.Parse(r.Objective)
	if err != nil {
		return fail(err)
	}
	again := Record{Format: record.Format, Scenario: r.Scenario, Objective: o.String(), EventsPerRequest: r.EventsPerRequest, Repeat: r.Repeat,
		BudgetS: r.BudgetS, Searches: []Answer{}, Curve: r.Curve}
	for n, recorded := range r.Searches {
		answer, err := recorded.again(dir, o, &again)
		if err != nil {
			return fail(fmt.Errorf("search %d: %w", n+1, err))
		}
		again.Searches = append(again.Searches, answer)
	}
	again.compare()
	return again, nil
}

// again searches with the recorded probes.
func (a Answer) again(dir string, o objective.Objective, r *Record) (Answer, error) {
	answer := Answer{Start: a.Start, Step: a.Step, Probes: []Probe{}}
	var broken error // not one of the ways in which a search ends
	rate, err := Search(Start{a.Start, a.Step}, func(kind Kind, rate float64) (Outcome, error) {
		n := len(answer.Probes)
		if n == len(a.Probes) {
			broken = fmt.Errorf("it would go on with a %s at %s requests/s", kind, decimal(rate))
			return Invalid, broken
		}
		var p Probe
		if p, broken = reread(dir, a.Probes[n].Dir, o, r, caseName(kind, n+1), rate); broken != nil {
			return Invalid, broken
		}
		p.Kind = kind
		answer.Probes = append(answer.Probes, p)
		return p.Outcome(), nil
	})
	if broken == nil && len(answer.Probes) < len(a.Probes) {
		broken = fmt.Errorf("it ends after %d of %d probes", len(answer.Probes), len(a.Probes))
	}
	answer.end(rate, r.EventsPerRequest, err)
	return answer, broken
}

// reread computes a probe from its raw files, which have to be those of the probe that the search
// asks for.
func reread(dir, below string, o objective.Objective, r *Record, name string, rate float64) (Probe, error) {
	raw, err := record.ReadRaw(filepath.Join(dir, filepath.FromSlash(below)))
	if err != nil {
		return Probe{}, err
	}
	if raw.Run.Scenario.Name != r.Scenario || raw.Run.Scenario.Case != name || raw.Run.Load.EventsPerRequest != r.EventsPerRequest {
		return Probe{}, fmt.Errorf("%s is %s with %d events a request, not %s/%s with %d", below, raw.Run.Scenario.Label(),
			raw.Run.Load.EventsPerRequest, r.Scenario, name, r.EventsPerRequest)
	}
	for _, phase := range raw.Run.Phases {
		if phase.Measured && phase.Rate != rate {
			return Probe{}, fmt.Errorf("%s ran at %s requests/s, the search asks for %s", below, decimal(phase.Rate), decimal(rate))
		}
	}
	s, err := figures.Summarize(raw)
	if err != nil {
		return Probe{}, fmt.Errorf("%s: %w", below, err)
	}
	return newProbe("", rate, o, s, judge.Validate(raw, s), below), nil
}
