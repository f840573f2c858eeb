package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"sekali/bench/pages/compare"
	"sekali/bench/record"
)

// compareRuns sets two runs or result folders side by side; its exit code is the verdict on the
// second.
func compareRuns(_ context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(stderr)
	pictures := flags.String("pictures", "results/runs/compare", "`folder` that gets the queue traces; empty draws none")
	margin := marginFlag(flags)
	if exit, ok := parse(flags, args, "<A> <B>", 2); !ok {
		return exit
	}
	for _, path := range flags.Args() {
		_, err := record.Open(path)
		if err != nil && !errors.As(err, &record.NoneError{}) { // that is no mistake in the command
			fmt.Fprintf(stderr, "bench compare: %v\n", err)
			return exitUsage
		}
	}
	result, err := compare.Run(compare.Config{A: flags.Arg(0), B: flags.Arg(1), Margin: *margin, Pictures: *pictures}, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "bench compare: %v\n", err)
	}
	return exitOfVerdict(result.Verdict)
}
