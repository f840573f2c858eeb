package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"

	"sekali/bench/experiment/ab"
	"sekali/bench/experiment/runner"
	"sekali/bench/pages/compare"
)

// compareInTurn runs two aggregators in turn. Its exit code is the verdict on B. Without -b, A runs
// against itself: what is the noise here?
func compareInTurn(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("ab", flag.ContinueOnError)
	flags.SetOutput(stderr)
	f := runFlags{}
	f.bind(flags, "; one is needed", "runs/ab-<time>")
	f.bindServer(flags)
	flags.IntVar(&f.config.Repeat, "repeat", 0, "pairs of runs (default until the evidence decides, or four times the least that could)")
	const side = "that is %s: a program, a URL, a folder with go.mod, or a revision of git such as main~5, which are built"
	a := flags.String("a", "", "the `aggregator` "+fmt.Sprintf(side, "A"))
	b := flags.String("b", "", "the `aggregator` "+fmt.Sprintf(side, "B")+"; none: A against itself, for the noise floor")
	margin := marginFlag(flags)
	flags.BoolVar(&f.config.Profile, "profile", false, "take profiles: if B is worse, where its CPU time grew is printed")
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	if *a == "" || len(f.scenarios) == 0 {
		fmt.Fprintln(stderr, "bench ab: -a and -scenario are needed")
		return exitUsage
	}
	if f.config.Repeat < 0 {
		fmt.Fprintf(stderr, "bench ab: -repeat must be at least 1, not %d\n", f.config.Repeat)
		return exitUsage
	}
	if err := f.load(); err != nil {
		fmt.Fprintf(stderr, "bench ab: %v\n", err)
		return exitUsage
	}
	f.config.Version = version
	verdict, err := ab.Sit(ctx, ab.Config{Runner: f.config, A: *a, B: *b, Pairs: f.config.Repeat, Margin: *margin,
		Out: ab.Folder(f.config.Out, time.Now()),
		Run: func(c runner.Config) (string, runner.Outcome) { return runner.Run(ctx, c, stdout, stderr) }}, stdout)
	switch {
	case ctx.Err() != nil:
		return exitFailed
	case err != nil:
		fmt.Fprintf(stderr, "bench ab: %v\n", err)
		if errors.As(err, &ab.NotBegun{}) {
			return exitUsage
		}
		if !errors.Is(err, compare.ErrReport) {
			return exitFailed
		}
	}
	return exitOfVerdict(verdict)
}

// marginFlag is given in per cent, and is a part once it is parsed.
func marginFlag(flags *flag.FlagSet) *float64 {
	margin := compare.DefaultMargin
	flags.Func("margin", fmt.Sprintf("`per cent` by which B may be worse and count as the same (default %v)", 100*margin), func(text string) error {
		percent, err := strconv.ParseFloat(text, 64)
		if err != nil || !(percent > 0 && percent < 100) {
			return fmt.Errorf("it is a number of per cent, more than 0 and less than 100")
		}
		margin = percent / 100
		return nil
	})
	return &margin
}
