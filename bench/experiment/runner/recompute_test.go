package runner

import (
	"strings"
	"testing"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/loadgen/ledger"
)

const arrivalsText = `name: random
question: When are they due?
stream: {seed: 3}
load:
  events_per_request: 10
  phases:
    - {name: even, rate: 100/s, duration: 1s}
    - {name: measured, rate: 100/s, arrivals: poisson, duration: 1s, measured: true}
`

// planned is a run whose requests were due as its scenario says.
func planned(t *testing.T) *record.Raw {
	t.Helper()
	s, err := scenario.Parse("random.yaml", []byte(arrivalsText))
	if err != nil {
		t.Fatal(err)
	}
	one := s.Cases[0].Settings
	raw := &record.Raw{Run: record.Run{Scenario: record.Scenario{Name: s.Name, Question: s.Question, Text: arrivalsText}, Audit: &audit.Report{},
		Aggregator: record.Aggregator{Ack: one.Aggregator.Ack, Flags: flagsOf(one, false)}, Stream: one.Stream, Load: loadOf(one)}}
	for i, p := range attackPhases(one.Load.Phases, one.Stream.Seed) {
		n, _ := p.Planned()
		begins := int64(i) * 1e9
		raw.Run.Phases = append(raw.Run.Phases, record.PhaseTimes{Name: p.Name, Rate: p.Rate, Arrivals: p.Arrivals, Measured: p.Measured, StartNS: begins, Planned: n})
		due := p.Schedule()
		for k := range n {
			raw.Requests = append(raw.Requests, record.Request{Planned: true, Phase: i, First: ledger.Attempt{PlannedNS: begins + int64(due(k))}})
		}
	}
	return raw
}

// The plan is replayed, random arrivals too: a request that is said to have been due at another
// moment is found.
func TestPlanIsReplayed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*record.Raw)
		want   string
	}{
		"control":               {func(*record.Raw) {}, ""},
		"even, later":           {func(r *record.Raw) { r.Requests[50].First.PlannedNS++ }, "request 50 was due"},
		"at random, later":      {func(r *record.Raw) { r.Requests[150].First.PlannedNS += 2000 }, "request 150 was due"},
		"said to be even":       {func(r *record.Raw) { r.Run.Phases[1].Arrivals = "" }, "phases are"},
		"another seed":          {func(r *record.Raw) { r.Run.Stream.Seed++ }, "stream is"},
		"fewer requests":        {func(r *record.Raw) { r.Run.Phases[1].Planned-- }, "by its scenario 100"},
		"one that nobody wrote": {func(r *record.Raw) { r.Requests[3].Planned = false }, "not in the ledger"},
		"another question":      {func(r *record.Raw) { r.Run.Scenario.Question = "Why?" }, "asks"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := planned(t)
			test.change(raw)
			_, err := Recompute(raw)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
