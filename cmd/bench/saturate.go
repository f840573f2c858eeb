package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"sekali/bench/experiment/runner"
	"sekali/bench/experiment/saturation"
	"sekali/bench/judge/objective"
	"sekali/bench/pages/report"
	"sekali/bench/scenario"
)

// saturateFlags lay what the command line says of the search over what the scenario says.
type saturateFlags struct {
	scenario string
	config   saturation.Config
	set      []func(*scenario.Search)
}

func (f *saturateFlags) bind(flags *flag.FlagSet) {
	flags.StringVar(&f.scenario, "scenario", "saturation", "the scenario's `file` or name: open loop, its rates are set by the search, which its block search describes")
	flags.Func("objective", "what a rate has to meet, in place of the scenario's: `terms` of "+strings.Join(objective.Names(), ", "), func(text string) error {
		o, err := objective.Parse(text)
		f.set = append(f.set, func(s *scenario.Search) { s.Objective.Objective = o })
		return err
	})
	flags.Func("start", "the first `rate` in requests a second, in place of the scenario's, such as 100/s", func(text string) error {
		rate, err := scenario.ParseRate(strings.TrimSuffix(text, "/s") + "/s")
		f.set = append(f.set, func(s *scenario.Search) { s.Start = rate })
		return err
	})
	repeat := flags.Int("repeat", 0, "how many searches, in place of the scenario's; they have to agree within 10 %")
	budget := flags.Duration("budget", 0, "the most `time` that all of it may take, in place of the scenario's")
	f.set = append(f.set, func(s *scenario.Search) {
		flags.Visit(func(given *flag.Flag) {
			switch given.Name {
			case "repeat":
				s.Repeat = *repeat
			case "budget":
				s.Budget = scenario.Duration(*budget)
			}
		})
	})
	flags.BoolVar(&f.config.Curve, "curve", true, "measure latency at ten rates up to 105 % of the answer")
	flags.StringVar(&f.config.Runner.Out, "out", "results", "`folder` that gets runs/saturate-<time>")
	flags.StringVar(&f.config.Runner.Aggregator, "aggregator", "bin/aggregator", "`program` to start for each probe, or URL of a running server, which is left running")
}

// load reads the scenario.
func (f *saturateFlags) load() error {
	s, err := readScenario(f.scenario)
	if err != nil {
		return err
	}
	f.config.Search = s.Search
	for _, set := range f.set {
		set(&f.config.Search)
	}
	if err := f.config.Search.Check(); err != nil {
		return err
	}
	f.config.Plan, err = saturation.NewPlan(s)
	return err
}

// saturate searches for the highest rate that meets an objective.
func saturate(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("saturate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	f := saturateFlags{}
	f.bind(flags)
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	if err := f.load(); err != nil {
		fmt.Fprintf(stderr, "bench saturate: %v\n", err)
		return exitUsage
	}
	f.config.Run = runner.Run
	f.config.Runner.Version, f.config.Runner.Self, f.config.Runner.Finished = version, self, report.WritePage
	f.config.Runner.Out = saturation.Folder(f.config.Runner.Out, time.Now())
	record, outcome := saturation.Run(ctx, f.config, stdout, stderr)
	exit := exitOf(outcome)
	if record.Curve == "" {
		return exit
	}
	curves, err := report.WriteCurves(filepath.Join(f.config.Runner.Out, filepath.FromSlash(record.Curve)), f.config.Search.Objective.Objective)
	if err != nil {
		fmt.Fprintf(stderr, "bench saturate: %v\n", err)
		return exitFailed
	}
	for _, path := range curves {
		fmt.Fprintf(stdout, "curve: %s\n", path)
	}
	return exit
}
