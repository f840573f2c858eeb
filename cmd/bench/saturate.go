package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	reports "sekali/bench/report"
	"sekali/bench/runner"
	"sekali/bench/saturation"
)

const (
	// defaultObjective is what most people mean by "it keeps up": nearly everybody is answered soon, nobody is turned away, and
	// what is accepted is processed as fast as it comes.
	defaultObjective = "p99<50ms,refused=0,backlog<2s,leftover<10%"
	// confirmLength is how much longer than a probe the run is that confirms the answer.
	confirmLength = 3
)

// saturate searches for the highest rate that meets an objective.
func saturate(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("saturate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	name := flags.String("scenario", "saturation", "the scenario's `file` or name: open loop, its rates are set by the search")
	objective := flags.String("objective", defaultObjective, "what a rate has to meet: `terms` of p50, p90, p99, p999, refused, unknown, backlog and leftover")
	start := flags.Float64("start", 100, "the first `rate`, in requests a second")
	config := saturation.Config{}
	flags.IntVar(&config.Repeat, "repeat", 1, "how many searches; they have to agree within 10 %")
	flags.BoolVar(&config.Curve, "curve", true, "measure latency at ten rates up to 105 % of the answer")
	flags.StringVar(&config.Runner.Out, "out", "results", "`folder` that gets runs/saturate-<time>")
	flags.StringVar(&config.Runner.Aggregator, "aggregator", "bin/aggregator", "`program` to start for each probe, or URL of a running server, which is left running")
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	usage := func(err error) int {
		fmt.Fprintf(stderr, "bench saturate: %v\n", err)
		return runner.ExitUsage
	}
	var err error
	if config.Objective, err = saturation.Parse(*objective); err != nil {
		return usage(err)
	}
	if config.Text, config.Start = *objective, *start; *start < 1 || config.Repeat < 1 {
		return usage(fmt.Errorf("-start and -repeat must be at least 1"))
	}
	path := *name
	if !strings.ContainsAny(path, "/.") {
		path = filepath.Join("scenarios", path+".yaml")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return usage(err)
	}
	if config.Plan, err = saturation.NewPlan(path, text, confirmLength); err != nil {
		return usage(err)
	}
	config.Runner.Version, config.Runner.Self, config.Runner.Finished = version, self, reports.WritePage
	config.Runner.Out = saturation.Folder(config.Runner.Out, time.Now())
	record, exit := saturation.Run(ctx, config, stdout, stderr)
	if record.Curve != "" {
		curves, err := reports.WriteCurves(filepath.Join(config.Runner.Out, record.Curve))
		if err != nil {
			fmt.Fprintf(stderr, "bench saturate: %v\n", err)
			return runner.ExitFailed
		}
		for _, path := range curves {
			fmt.Fprintf(stdout, "curve: %s\n", path)
		}
	}
	fmt.Fprintf(stdout, "every probe: %s\n", filepath.Join(config.Runner.Out, saturation.SearchFile))
	return exit
}
