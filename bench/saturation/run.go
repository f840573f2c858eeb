package saturation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/montanaflynn/stats"

	"sekali/bench/result"
	"sekali/bench/runner"
	"sekali/bench/scenario"
)

// Agreement is how far the answers of several searches may be apart, as a share of their median.
const Agreement = 0.10

// SearchFile is what a search leaves behind, beside its runs.
const SearchFile = "search.json"

// Config says what to search for.
type Config struct {
	Plan      *Plan
	Objective Objective
	Text      string // the objective, as it was given
	Start     float64
	Repeat    int           // searches
	Curve     bool          // measure one at the answer
	Runner    runner.Config // Out is the folder of the searches
}

// Record is search.json.
type Record struct {
	Objective        string   `json:"objective"`
	EventsPerRequest int      `json:"events_per_request"`
	Searches         []Answer `json:"searches"`
	Agree            bool     `json:"agree"` // all found one, and they are within a tenth
	Curve            string   `json:"curve"` // the run of the curve, from this file on; "": none
}

// Answer is what one search came to.
type Answer struct {
	RequestsPerS float64 `json:"requests_per_s"` // the highest rate that was met and confirmed; without one, the highest that short probes met
	EventsPerS   float64 `json:"events_per_s"`
	Error        string  `json:"error"` // "": found and confirmed
	Probes       []Probe `json:"probes"`
}

// Probe is one run of a search, in order.
type Probe struct {
	Kind         Kind     `json:"kind"`
	RequestsPerS int      `json:"requests_per_s"`
	Met          bool     `json:"met"`
	Failed       []string `json:"failed"`  // terms of the objective
	Invalid      []string `json:"invalid"` // reasons
	Dir          string   `json:"dir"`     // the result folder, from this file on
}

// Agree says whether rates are within Agreement of their median.
func Agree(rates []float64) bool {
	median, err := stats.Median(rates)
	return err == nil && slices.Max(rates)-slices.Min(rates) <= Agreement*median
}

// Run searches, draws nothing, writes search.json and returns it with the exit code.
func Run(ctx context.Context, config Config, stdout, stderr io.Writer) (Record, int) {
	settings, err := config.Plan.with("")
	if err != nil {
		fmt.Fprintf(stderr, "bench saturate: %v\n", err)
		return Record{}, runner.ExitUsage
	}
	record := Record{Objective: config.Text, EventsPerRequest: settings.Cases[0].Settings.Load.EventsPerRequest}
	exit, found := runner.ExitHeld, []float64{}
	for n := range config.Repeat {
		fmt.Fprintf(stdout, "search %d of %d: %s\n", n+1, config.Repeat, config.Text)
		answer, err := search(ctx, config, record.EventsPerRequest, stdout, stderr)
		record.Searches = append(record.Searches, answer)
		switch {
		case err == nil:
			found = append(found, answer.RequestsPerS)
			fmt.Fprintf(stdout, "  found and confirmed: %.0f requests/s, %.0f events/s\n", answer.RequestsPerS, answer.EventsPerS)
		case errors.Is(err, errFailed) || ctx.Err() != nil:
			fmt.Fprintf(stdout, "  %v\n", err)
			return record, runner.ExitFailed
		default:
			exit = runner.ExitInvalid
			fmt.Fprintf(stdout, "  %v (highest that was met: %.0f requests/s)\n", err, answer.RequestsPerS)
		}
	}
	record.Agree = len(found) == config.Repeat && Agree(found)
	switch {
	case config.Repeat > 1 && record.Agree:
		fmt.Fprintf(stdout, "the %d searches agree within %.0f %%\n", config.Repeat, 100*Agreement)
	case config.Repeat > 1:
		fmt.Fprintf(stdout, "the %d searches do not agree within %.0f %%\n", config.Repeat, 100*Agreement)
		exit = runner.ExitInvalid
	}
	if config.Curve && len(found) > 0 {
		median, _ := stats.Median(found) // there is one
		if record.Curve, err = curve(ctx, config, median, stdout, stderr); err != nil {
			fmt.Fprintf(stderr, "bench saturate: %v\n", err)
			exit = runner.ExitFailed
		}
	}
	text, err := result.MarshalJSON(record)
	if err == nil {
		err = os.WriteFile(filepath.Join(config.Runner.Out, SearchFile), text, 0o644)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench saturate: %v\n", err)
		exit = runner.ExitFailed
	}
	return record, exit
}

var errFailed = errors.New("a probe failed")

func search(ctx context.Context, config Config, perRequest int, stdout, stderr io.Writer) (Answer, error) {
	answer := Answer{Probes: []Probe{}}
	rate, err := Search(config.Start, func(kind Kind, rate float64) (Outcome, error) {
		s, err := config.Plan.scenario(kind, len(answer.Probes)+1, rate)
		if err != nil {
			return Invalid, err
		}
		probe, err := config.ask(ctx, s, kind, whole(rate), stderr)
		if err != nil {
			return Invalid, err
		}
		answer.Probes = append(answer.Probes, probe)
		fmt.Fprintf(stdout, "  %s\n", probe)
		switch {
		case len(probe.Invalid) > 0:
			return Invalid, nil
		case probe.Met:
			return Met, nil
		}
		return Missed, nil
	})
	answer.RequestsPerS = float64(whole(rate))
	answer.EventsPerS = answer.RequestsPerS * float64(perRequest)
	if err != nil {
		answer.Error = err.Error()
	}
	return answer, err
}

// ask runs one probe. A failed audit or expectation ends the search: what loses events has no rate.
func (c Config) ask(ctx context.Context, s *scenario.Scenario, kind Kind, rate int, stderr io.Writer) (Probe, error) {
	config := c.Runner
	config.Scenarios, config.Repeat = []*scenario.Scenario{s}, 1
	dir, exit := runner.Run(ctx, config, io.Discard, stderr)
	if exit != runner.ExitHeld && exit != runner.ExitInvalid {
		return Probe{}, fmt.Errorf("%w, exit code %d: %s", errFailed, exit, dir)
	}
	folders, err := result.Open(dir)
	if err != nil {
		return Probe{}, err
	}
	run := folders[0].Run
	probe := Probe{Kind: kind, RequestsPerS: rate, Failed: c.Objective.Failed(run.Summary), Invalid: run.Validity.Reasons}
	probe.Met = len(probe.Failed) == 0
	probe.Dir, err = filepath.Rel(c.Runner.Out, folders[0].Dir)
	return probe, err
}

func (p Probe) String() string {
	text := fmt.Sprintf("%-7s %6d requests/s: met", p.Kind, p.RequestsPerS)
	if !p.Met {
		text = fmt.Sprintf("%-7s %6d requests/s: missed", p.Kind, p.RequestsPerS)
	}
	for _, reason := range slices.Concat(p.Failed, p.Invalid) {
		text += "; " + reason
	}
	if len(p.Invalid) > 0 {
		text += " (INVALID: does not count)"
	}
	return text
}

// curve measures latency against rate and returns the run's folder, from the searches' folder on.
func curve(ctx context.Context, config Config, rate float64, stdout, stderr io.Writer) (string, error) {
	s, err := config.Plan.curve(rate)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(stdout, "curve: %d rates up to %d requests/s\n", len(curvePoints), whole(curvePoints[len(curvePoints)-1]*rate))
	c := config.Runner
	c.Scenarios, c.Repeat = []*scenario.Scenario{s}, 1
	dir, exit := runner.Run(ctx, c, io.Discard, stderr)
	if exit == runner.ExitFailed || exit == runner.ExitUsage {
		return "", fmt.Errorf("the curve's run failed: %s", dir)
	}
	return filepath.Rel(config.Runner.Out, dir)
}

// Folder names a search's folder by its start.
func Folder(out string, now time.Time) string {
	return filepath.Join(out, "runs", "saturate-"+now.UTC().Format("20060102-150405"))
}
