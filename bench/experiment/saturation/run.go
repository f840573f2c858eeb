// Package saturation finds the highest rate of requests at which an aggregator meets an objective:
// a search of audited probes that ends, an answer that is confirmed, and the curve of latency
// against rate. What it says follows from the probes' raw files.
package saturation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sekali/bench/experiment/runner"
	"sekali/bench/record"
	"sekali/bench/scenario"
)

// Config says what to search for.
type Config struct {
	Plan   *Plan
	Search scenario.Search
	Curve  bool          // measure one at the answer
	Runner runner.Config // Out is the folder of the searches; Finished is called for the curve's results alone
	// Run is runner.Run.
	Run func(ctx context.Context, config runner.Config, stdout, stderr io.Writer) (dir string, outcome runner.Outcome)
}

// The ways in which searches end before their end.
var (
	errInterrupted = errors.New("interrupted")
	errBudget      = errors.New("the budget was used up")
	errFailed      = errors.New("a run failed")
	errSkipped     = errors.New("nothing was run")
	errUsage       = errors.New("a run could not be begun")
)

// Run searches as often as it was asked to, measures the curve, writes search.json however that
// ends, and returns it with its outcome: that of runner.Run for what failed, and
// runner.Invalid where the searches went to their end, or to that of the budget, without an
// answer that they agree on. Where the first probe cannot be begun there is nothing to write.
func Run(ctx context.Context, config Config, stdout, stderr io.Writer) (Record, runner.Outcome) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(config.Search.Budget), errBudget)
	defer cancel()
	s := session{Config: config, stdout: stdout, stderr: stderr, record: Record{
		Scenario: config.Plan.name, Objective: config.Search.Objective.String(), EventsPerRequest: config.Plan.eventsPerRequest,
		Repeat: config.Search.Repeat, BudgetS: time.Duration(config.Search.Budget).Seconds(), Searches: []Answer{}}}
	outcome := s.run(ctx)
	if outcome == runner.NotBegun {
		if len(s.record.Dirs()) == 0 {
			return s.record, outcome
		}
		outcome = runner.Failed // what was asked could be run: the program has vanished since
	}
	if err := errors.Join(s.record.Write(config.Runner.Out), s.unlink()); err != nil {
		fmt.Fprintf(stderr, "bench saturate: %v\n", err)
		return s.record, runner.Failed
	}
	fmt.Fprintf(stdout, "every probe: %s\n", filepath.Join(config.Runner.Out, SearchFile))
	return s.record, outcome
}

// session is a record in the making.
type session struct {
	Config
	stdout, stderr io.Writer
	record         Record
}

func (s *session) run(ctx context.Context) (outcome runner.Outcome) {
	for n := range s.Search.Repeat {
		start := s.start()
		fmt.Fprintf(s.stdout, "search %d of %d: %s, from %s requests/s\n", n+1, s.Search.Repeat, s.record.Objective, decimal(start.Rate))
		err := s.search(ctx, start)
		outcome = max(outcome, outcomeOf(err))
		if err != nil && !isEnd(err) {
			return s.end(err)
		}
	}
	s.record.compare()
	fmt.Fprintln(s.stdout, s.record.Verdict())
	if s.record.Agree != nil && !*s.record.Agree {
		outcome = runner.Invalid
	}
	median, found := s.record.Median()
	if !s.Curve || !found {
		return outcome
	}
	err := s.curve(ctx, median)
	if err != nil && !isEnd(err) {
		return s.end(err)
	}
	return max(outcome, outcomeOf(err))
}

// end is that before the end.
func (s *session) end(err error) (outcome runner.Outcome) {
	s.record.Ended = err.Error()
	fmt.Fprintf(s.stdout, "ended early: %v\n", err)
	return outcomeOf(err)
}

// isEnd says that a search or a curve went to its end, with or without an answer.
func isEnd(err error) bool {
	for _, end := range []error{ErrInvalid, ErrNone, ErrNotConfirmed, ErrUnbounded} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

func outcomeOf(err error) runner.Outcome {
	switch {
	case err == nil:
		return runner.Held
	case isEnd(err), errors.Is(err, errBudget), errors.Is(err, errSkipped): // nothing was shown
		return runner.Invalid
	case errors.Is(err, errUsage):
		return runner.NotBegun
	}
	return runner.Failed
}

// start is where the next search begins: with small steps at the first answer, once there is one.
func (s *session) start() Start {
	if found := s.record.found(); len(found) > 0 {
		return Start{found[0], nearStep}
	}
	return Start{float64(s.Search.Start), farStep}
}

// search adds an answer to the record, whatever it is.
func (s *session) search(ctx context.Context, start Start) error {
	answer := Answer{Start: start.Rate, Step: start.Step, Probes: []Probe{}}
	rate, err := Search(start, func(kind Kind, rate float64) (Outcome, error) {
		probe, err := s.probe(ctx, kind, len(answer.Probes)+1, rate)
		if err != nil {
			return Invalid, err
		}
		answer.Probes = append(answer.Probes, probe)
		fmt.Fprintf(s.stdout, "  %s\n", probe.describe(s.record.EventsPerRequest))
		return probe.Outcome(), nil
	})
	answer.end(rate, s.record.EventsPerRequest, err)
	s.record.Searches = append(s.record.Searches, answer)
	fmt.Fprintf(s.stdout, "  %s\n", answer)
	return err
}

// probe runs one. A failed audit or expectation ends the searches: what loses events has no rate.
func (s *session) probe(ctx context.Context, kind Kind, n int, rate float64) (Probe, error) {
	one, err := s.Plan.probe(kind, n, rate)
	if err != nil {
		return Probe{}, err
	}
	config := s.Runner
	config.Finished = nil // a page for each of dozens of probes is more than they are worth
	dir, _, err := s.measure(ctx, config, one)
	if err != nil {
		return Probe{}, err
	}
	folders, err := record.Open(dir)
	if err == nil && len(folders) == 0 {
		err = skipped(dir)
	}
	if err != nil {
		return Probe{}, err
	}
	below, err := filepath.Rel(s.Runner.Out, folders[0].Dir)
	if err != nil {
		return Probe{}, err
	}
	run := folders[0].Run
	return newProbe(kind, rate, s.Search.Objective.Objective, run.Summary, run.Validity, filepath.ToSlash(below)), nil
}

// skipped says why a run has no result, by its index.
func skipped(dir string) error {
	index, err := record.ReadIndex(dir)
	if err != nil {
		return err
	}
	err = errSkipped
	for _, left := range index.LeftOut {
		err = fmt.Errorf("%w: %s", err, left.Why)
	}
	return err
}

// curve measures latency against rate.
func (s *session) curve(ctx context.Context, rate float64) error {
	sweep, err := s.Plan.curve(rate)
	if err != nil {
		return err
	}
	if sweep == nil {
		fmt.Fprintln(s.stdout, "no curve: around so low a rate there are no two whole ones")
		return nil
	}
	fmt.Fprintf(s.stdout, "curve: %d rates around %s requests/s\n", len(sweep.Cases), decimal(rate))
	dir, outcome, err := s.measure(ctx, s.Runner, sweep)
	if err != nil {
		return err
	}
	if s.record.Curve, err = filepath.Rel(s.Runner.Out, dir); err != nil {
		return err
	}
	s.record.Curve = filepath.ToSlash(s.record.Curve)
	if outcome == runner.Invalid {
		fmt.Fprintln(s.stdout, "  INVALID in part: the picture says where")
		return ErrInvalid
	}
	return nil
}

// measure runs a scenario; outcome is runner.Held or runner.Invalid unless there is an error,
// which says why.
func (s *session) measure(ctx context.Context, config runner.Config, one *scenario.Scenario) (dir string, outcome runner.Outcome, err error) {
	config.Scenarios, config.Repeat = []*scenario.Scenario{one}, 1
	var said bytes.Buffer
	dir, outcome = s.Run(ctx, config, &said, s.stderr)
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), errBudget):
		return dir, outcome, fmt.Errorf("%w: %s", errBudget, time.Duration(s.Search.Budget))
	case ctx.Err() != nil:
		return dir, outcome, errInterrupted
	case outcome == runner.NotBegun:
		return dir, outcome, errUsage
	case outcome == runner.Failed:
		_, _ = io.Copy(s.stderr, &said) // what did not hold
		return dir, outcome, fmt.Errorf("%w: %s", errFailed, dir)
	}
	return dir, outcome, nil
}

// unlink removes the runner's link to the latest of the probes, which says nothing.
func (s *session) unlink() error {
	if err := os.Remove(filepath.Join(s.Runner.Out, runner.LatestLink)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (p Probe) describe(eventsPerRequest int) string {
	word := map[Outcome]string{Met: "met", Missed: "missed", Invalid: "INVALID, does not count"}[p.Outcome()]
	text := fmt.Sprintf("%-7s %6s requests/s, %9.0f events/s: %s", p.Kind, decimal(p.RequestsPerS), p.RequestsPerS*float64(eventsPerRequest), word)
	if reasons := slices.Concat(p.Failed, p.Invalid); len(reasons) > 0 {
		text += ": " + strings.Join(reasons, "; ")
	}
	return text
}

func (a Answer) String() string {
	if a.RequestsPerS == nil {
		if a.Best != nil {
			return fmt.Sprintf("no answer: %s\n  the best there is evidence for: %s", a.Error, a.Best)
		}
		return "no answer: " + a.Error
	}
	return fmt.Sprintf("found and confirmed: %s requests/s, %.0f events/s", decimal(*a.RequestsPerS), *a.EventsPerS)
}

// Verdict says in a line what the searches came to together.
func (r *Record) Verdict() string {
	var rates []string
	for _, rate := range r.found() {
		rates = append(rates, decimal(rate))
	}
	median, found := r.Median()
	events := fmt.Sprintf("%.0f events/s", median*float64(r.EventsPerRequest))
	switch {
	case !found:
		return "no rate was confirmed as the highest" + r.evidence()
	case r.Repeat == 1:
		return fmt.Sprintf("answer: %s requests/s, %s, to within %.0f %%", rates[0], events, 100*Resolution)
	case len(rates) < r.Repeat:
		return fmt.Sprintf("%d of %d searches have an answer: %s requests/s", len(rates), r.Repeat, strings.Join(rates, ", "))
	}
	word := "agree"
	if !*r.Agree {
		word = "do not agree"
	}
	return fmt.Sprintf("answers: %s requests/s; their range is %.1f %% of their median %s (%s), the bound is %.0f %%: they %s", strings.Join(rates, ", "),
		100**r.Range, decimal(median), events, 100*Agreement, word)
}

// evidence is the best rate of all searches, as the end of a sentence.
func (r *Record) evidence() string {
	var best *Best
	for _, a := range r.Searches {
		if a.Best != nil && (best == nil || a.Best.RequestsPerS > best.RequestsPerS) {
			best = a.Best
		}
	}
	if best == nil {
		return ", and none was met"
	}
	return "; the best there is evidence for: " + best.String()
}

// Folder names a search's folder by its start.
func Folder(out string, now time.Time) string {
	return filepath.Join(out, "runs", "saturate-"+now.UTC().Format(record.IDLayout))
}
