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
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(stderr)
	config := faults.Config{Log: io.Discard}
	out := flags.String("out", filepath.Join("results", "faults"), "`folder` for the records and the table, made anew")
	only := flags.String("only", "", "`regexp` of the names of faults; the others are not tried")
	flags.StringVar(&config.Aggregator, "aggregator", filepath.Join("bin", "aggregator"), "`program` under test")
	flags.StringVar(&config.Crash, "crash", filepath.Join("bin", "aggregator-crash"), "the same `program` built with -tags sekali_crash")
	flags.StringVar(&config.Dumps, "dumps", filepath.Join("aggregator", "store", "testdata", "version*.sql"), "`pattern` of databases of older versions")
	flags.BoolVar(&config.Short, "short", false, "each fault few times and for a moment")
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	chosen, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintf(stderr, "bench faults: -only: %v\n", err)
		return exitUsage
	}
	held, err := faults.RunAll(ctx, config, chosen, *out, stderr)
	if table, err := os.ReadFile(filepath.Join(*out, faults.TableFile)); err == nil {
		stdout.Write(table)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench faults: %v\n", err)
	}
	if err != nil || !held {
		return exitFailed
	}
	return exitHeld
}
