package runner

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/loadgen/attack"
)

// Recompute reads the scenario of a run again, as its run.json has it, and returns what was claimed
// and what became of it, by the audit and the summary in r.Run. The error is for a run that is not
// the one that the text asks for: another load, other flags, requests that were due at other times.
func Recompute(r *record.Raw) ([]record.Expectation, error) {
	s, err := scenarioOf(r.Run)
	if err != nil {
		return nil, err
	}
	one := s.Cases[0]
	if r.Run.Audit == nil {
		return nil, errors.New("not audited")
	}
	return expectations(one.Settings.Expect, *r.Run.Audit, r.Run.Summary), asPlanned(r, one)
}

// scenarioOf is the scenario of a run, by its text, with the case of the run alone.
func scenarioOf(run record.Run) (*scenario.Scenario, error) {
	s, err := scenario.Parse("scenario", []byte(run.Scenario.Text))
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(s.Cases, func(one scenario.Case) bool { return one.Name == run.Scenario.Case })
	if at < 0 || s.Name != run.Scenario.Name {
		return nil, fmt.Errorf("its scenario %q has no case %q", s.Name, run.Scenario.Label())
	}
	if s.Question != run.Scenario.Question {
		return nil, fmt.Errorf("its scenario asks %q, not %q", s.Question, run.Scenario.Question)
	}
	s.Cases = s.Cases[at : at+1]
	return s, nil
}

// asPlanned holds a run to what its scenario says of it.
func asPlanned(r *record.Raw, one scenario.Case) error {
	run := r.Run
	planned, err := plan(one.Settings, slices.Contains(run.Aggregator.Flags, profileFlag))
	if err != nil {
		return err
	}
	for i, part := range recordedPlan(run) {
		if run.Aggregator.External { // it has its own flags, and the stream a seed of the moment
			switch i {
			case planStream:
				continue
			case planFlags:
				planned[i] = flagsText([]string{})
			}
		}
		if part != planned[i] {
			return fmt.Errorf("its %s; by the text of its scenario, the %s", part, planned[i])
		}
	}
	if p, s := one.Point, run.Scenario.Sweep; (p == nil) != (s == nil) || p != nil && *s != (record.Sweep{Parameter: p.Parameter, Value: p.Value, Curve: p.Curve}) {
		return errors.New("it is at another point of the sweep than its case")
	}
	if err := asBroken(run.Fault, one.Settings.Fault); err != nil {
		return err
	}
	return onTime(r, attackPhases(one.Settings.Load.Phases, run.Stream.Seed))
}

// asBroken holds the moments of a fault to the plan: it did not come sooner, and what was broken
// stayed so for as long as it was to.
func asBroken(f *record.FaultTimes, planned scenario.Fault) error {
	if f == nil {
		return nil
	}
	from, lasts, until := f.ExitedNS, planned.RestartAfter, f.RestartedNS
	if planned.Lasts() {
		from, lasts = f.AtNS, planned.For
	}
	if f.Join != nil {
		until = f.Join.BeganNS
	}
	switch {
	case f.AtNS < int64(planned.At):
		return fmt.Errorf("its fault came after %s; by its scenario after %s", time.Duration(f.AtNS), time.Duration(planned.At))
	case (f.ExitedNS > 0) == planned.Lasts():
		return fmt.Errorf("a process ended after %s; by its scenario the fault is %s", time.Duration(f.ExitedNS), planned.Kind)
	case until-from < int64(lasts):
		return fmt.Errorf("its fault lasted for %s; by its scenario for %s", time.Duration(until-from), time.Duration(lasts))
	}
	return nil
}

// onTime holds the number of requests, and in an open loop the moment at which each was due, to the
// plan, which is a function of the scenario alone.
func onTime(r *record.Raw, phases []attack.Phase) error {
	for i, p := range phases {
		if planned, known := p.Planned(); known && planned != r.Run.Phases[i].Planned {
			return fmt.Errorf("phase %s has %d requests; by its scenario %d", p.Name, r.Run.Phases[i].Planned, planned)
		}
	}
	next, schedules := make([]uint64, len(phases)), make([]func(uint64) time.Duration, len(phases))
	for i, p := range phases {
		schedules[i] = p.Schedule()
	}
	for number, q := range r.Requests {
		if !q.Planned {
			return fmt.Errorf("request %d is not in the ledger", number)
		}
		i := next[q.Phase]
		next[q.Phase]++
		if phases[q.Phase].Rate == 0 {
			continue
		}
		due, was := schedules[q.Phase](i), time.Duration(q.First.PlannedNS-r.Run.Phases[q.Phase].StartNS)
		if (was-due).Abs() > logarithmSlack || was != due && phases[q.Phase].Arrivals == "" {
			return fmt.Errorf("request %d was due %s after its phase began; by its scenario %s", number, was, due)
		}
	}
	return nil
}

// logarithmSlack is for processors that round a logarithm otherwise: random arrivals are made of
// sums of them.
const logarithmSlack = time.Microsecond

// attackPhases are the phases of a scenario as the generator takes them; seed is the stream's.
func attackPhases(phases []scenario.Phase, seed uint64) []attack.Phase {
	var all []attack.Phase
	for i, p := range phases {
		all = append(all, attack.Phase{Name: p.Name, Rate: float64(p.Rate), Arrivals: arrivals(p), Seed: seed + uint64(i), Clients: p.Clients,
			Duration: time.Duration(p.Duration), Requests: p.Requests, Measured: p.Measured})
	}
	return all
}

// arrivals are those of a phase as a record has them: even ones are not named.
func arrivals(p scenario.Phase) string {
	if p.Arrivals == attack.Poisson {
		return attack.Poisson
	}
	return ""
}
