// Package saturationtest runs searches without a process: in place of runner.Run it makes result
// folders from a model of an aggregator with a known capacity.
package saturationtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sekali/bench/experiment/runner"
	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
	"sekali/bench/scenario"
)

// Text is a scenario for the models, which always have a warm-up of 1 s and 50 events a request.
const Text = `name: saturation
question: Synthetic figures for a test. What is the highest rate?
stream: {seed: 1, duplicates: 0.2}
load:
  events_per_request: 50
  phases:
    - {name: warm-up, rate: 1/s, duration: 1s}
    - {name: measured, rate: 1/s, duration: 1s, measured: true}
aggregator: {ack: store}
`

// Aggregator is a model. Its methods are not for concurrent use.
type Aggregator struct {
	Capacity func(probe int) float64 // requests a second, of probe number n of all, from 1
	Spoil    func(probe int, run *record.Run)
	Exit     func(probe int, s *scenario.Scenario) runner.Outcome // of what else goes wrong; nil: nothing
	Skipped  string                                               // why this machine cannot run it; "": it can

	probes int
}

// Run is a runner.Run.
func (a *Aggregator) Run(_ context.Context, config runner.Config, stdout, _ io.Writer) (dir string, outcome runner.Outcome) {
	a.probes++
	if a.Exit != nil {
		if outcome = a.Exit(a.probes, config.Scenarios[0]); outcome == runner.NotBegun {
			return "", outcome
		}
	}
	id := fmt.Sprintf("synthetic-%02d", a.probes)
	dir = filepath.Join(config.Out, "runs", id)
	if a.Skipped != "" {
		return a.skip(dir, id, config.Scenarios[0].Name, stdout)
	}
	index := record.Index{ID: id}
	for _, s := range config.Scenarios {
		for _, one := range s.Cases {
			entry, err := a.write(dir, s, one)
			if err != nil {
				fmt.Fprintf(stdout, "FAILED %v\n", err)
				return dir, runner.Failed
			}
			if !entry.Valid && outcome == runner.Held {
				outcome = runner.Invalid
			}
			index.Results = append(index.Results, entry)
		}
	}
	last, err := record.ReadRun(filepath.Join(dir, index.Results[len(index.Results)-1].Dir))
	if err == nil {
		index.ID, index.StartedAt, index.FinishedAt, index.Environment = last.ID, last.StartedAt, last.StartedAt, last.Environment
		err = record.WriteIndex(dir, index)
	}
	if err != nil {
		fmt.Fprintf(stdout, "FAILED %v\n", err)
		return dir, runner.Failed
	}
	return dir, outcome
}

// skip leaves a run without a result, as the runner does.
func (a *Aggregator) skip(dir, id, scenario string, stdout io.Writer) (string, runner.Outcome) {
	index := record.Index{ID: id, Results: []record.Entry{}, LeftOut: []record.LeftOut{{Scenario: scenario, Repeat: 1, Code: record.LeftSkipped, Why: "skipped: " + a.Skipped}}}
	if err := errors.Join(os.MkdirAll(dir, 0o755), record.WriteIndex(dir, index)); err != nil {
		fmt.Fprintf(stdout, "FAILED %v\n", err)
		return dir, runner.Failed
	}
	return dir, runner.Invalid
}

func (a *Aggregator) write(dir string, s *scenario.Scenario, one scenario.Case) (record.Entry, error) {
	entry := record.Entry{Dir: fmt.Sprintf("%s-%s-1", s.Name, one.Name), Scenario: s.Name, Case: one.Name, Repeat: 1}
	folder := filepath.Join(dir, entry.Dir)
	measured := one.Settings.Load.Phases[len(one.Settings.Load.Phases)-1]
	model := resulttest.Model{Text: string(s.Text), Scenario: s.Name, Case: one.Name, Repeat: 1, Ack: "store", Rate: float64(measured.Rate), WarmUp: float64(measured.Rate),
		Measured: time.Duration(measured.Duration), EventsPerS: 50 * a.Capacity(a.probes), Seed: uint64(a.probes)}
	if p := one.Point; p != nil {
		model.Sweep = &record.Sweep{Parameter: p.Parameter, Value: p.Value, Curve: p.Curve}
	}
	if err := resulttest.Write(folder, model); err != nil {
		return entry, err
	}
	run, err := record.ReadRun(folder)
	if err != nil {
		return entry, err
	}
	if a.Spoil != nil {
		a.Spoil(a.probes, &run)
	}
	if err := record.WriteRun(folder, run); err != nil {
		return entry, err
	}
	if run, err = judge.Finish(folder); err != nil {
		return entry, err
	}
	entry.Valid, entry.Held, entry.Clean = run.Validity.Valid, run.Held(), judge.Clean(run.Audit)
	return entry, os.WriteFile(filepath.Join(folder, "aggregator.log"), nil, 0o644)
}
