package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"

	comparison "sekali/bench/compare"
	"sekali/bench/runner"
)

// ab runs two aggregators in turn, A B A B, so that what the machine does to one it does to the other, and compares
// them. Its exit code is the verdict on B.
func ab(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("ab", flag.ContinueOnError)
	flags.SetOutput(stderr)
	f := runFlags{}
	f.bind(flags)
	a := flags.String("a", "", "the `program` that is A")
	b := flags.String("b", "", "the `program` that is B")
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	if *a == "" || *b == "" || len(f.scenarios) == 0 {
		fmt.Fprintln(stderr, "bench ab: -a, -b and -scenario are needed")
		return runner.ExitUsage
	}
	if err := f.load(); err != nil {
		fmt.Fprintf(stderr, "bench ab: %v\n", err)
		return runner.ExitUsage
	}
	out := filepath.Join(f.config.Out, "runs", "ab-"+time.Now().UTC().Format("20060102-150405"))
	repeats := f.config.Repeat
	f.config.Repeat, f.config.Version = 1, version
	sides := []struct{ name, program string }{{"a", *a}, {"b", *b}}
	for repeat := range repeats {
		for _, side := range sides {
			fmt.Fprintf(stdout, "%s, %d of %d\n", side.name, repeat+1, repeats)
			config := f.config
			config.Aggregator, config.Out = side.program, filepath.Join(out, side.name)
			// An INVALID run is the comparison's matter: it says so beside its verdict.
			if _, exit := runner.Run(ctx, config, stdout, stderr); exit == runner.ExitUsage || ctx.Err() != nil {
				return exit
			}
		}
	}
	verdict, err := comparison.Run(comparison.Config{
		A: filepath.Join(out, "a", "runs"), B: filepath.Join(out, "b", "runs"), Pictures: filepath.Join(out, "pictures"),
	}, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "bench ab: %v\n", err)
	}
	return int(verdict)
}
