package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"sekali/bench/experiment/faults"
)

// tryFaults tries every kind of fault at length and writes what was lost.
func tryFaults(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	config := faults.Config{Version: version, Log: io.Discard}
	flags := faultFlags("faults", &config, stderr)
	flags.StringVar(&config.Crash, "crash", filepath.Join("bin", "aggregator-crash"), "the same `program` built with -tags sekali_crash")
	flags.StringVar(&config.Dumps, "dumps", filepath.Join("aggregator", "store", "testdata", "version*.sql"), "`pattern` of databases of older versions")
	return runFaults(ctx, flags, args, &config, faults.Catalogue(), stdout, stderr)
}

// tryClusterFaults is the same with a cluster.
func tryClusterFaults(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	config := faults.Config{Version: version, Log: io.Discard}
	flags := faultFlags("cluster-faults", &config, stderr)
	flags.StringVar(&config.LogServer, "log", filepath.Join("bin", "sekali-log"), "`program` of the log servers")
	flags.StringVar(&config.Upgrade, "upgrade", "", "`program` that aggregators are upgraded to; the default is that of -aggregator")
	flags.IntVar(&config.Count, "count", 0, "how `often` each fault is injected; 0: as the catalogue says")
	return runFaults(ctx, flags, args, &config, faults.ClusterCatalogue(), stdout, stderr)
}

// faultFlags are those that both have.
func faultFlags(name string, config *faults.Config, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.String("out", filepath.Join("results", name), "`folder` for the records and the table, made anew")
	flags.String("only", "", "`regexp` of the names of faults; the others are not tried")
	flags.StringVar(&config.Aggregator, "aggregator", filepath.Join("bin", "aggregator"), "`program` under test")
	flags.BoolVar(&config.Short, "short", false, "each fault few times and for a moment")
	return flags
}

func runFaults(ctx context.Context, flags *flag.FlagSet, args []string, config *faults.Config, kinds []faults.Kind, stdout, stderr io.Writer) int {
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	out := flags.Lookup("out").Value.String()
	chosen, err := regexp.Compile(flags.Lookup("only").Value.String())
	if err != nil {
		fmt.Fprintf(stderr, "bench %s: -only: %v\n", flags.Name(), err)
		return exitUsage
	}
	held, err := faults.RunAll(ctx, *config, kinds, chosen, out, stderr)
	if table, err := os.ReadFile(filepath.Join(out, faults.TableFile)); err == nil {
		stdout.Write(table)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench %s: %v\n", flags.Name(), err)
	}
	if err != nil || !held {
		return exitFailed
	}
	return exitHeld
}
