package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	comparison "sekali/bench/compare"
	"sekali/bench/result"
	"sekali/bench/runner"
)

// ab runs two aggregators in turn, A B, B A, A B, …, so that what the machine does to one it does to the other, and
// compares them. Its exit code is the verdict on B. Without -b, A runs against itself: what is the noise here?
func ab(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("ab", flag.ContinueOnError)
	flags.SetOutput(stderr)
	f := runFlags{}
	f.bind(flags)
	a := flags.String("a", "", "the `program` that is A")
	b := flags.String("b", "", "the `program` that is B; none: A against itself, for the noise floor")
	margin := marginFlag(flags)
	flags.BoolVar(&f.config.Profile, "profile", false, "take profiles: if B is worse, where its CPU time grew is printed")
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	if *a == "" || len(f.scenarios) == 0 {
		fmt.Fprintln(stderr, "bench ab: -a and -scenario are needed")
		return runner.ExitUsage
	}
	if f.config.Repeat < 1 {
		fmt.Fprintf(stderr, "bench ab: -repeat must be at least 1, not %d\n", f.config.Repeat)
		return runner.ExitUsage
	}
	if err := f.load(); err != nil {
		fmt.Fprintf(stderr, "bench ab: %v\n", err)
		return runner.ExitUsage
	}
	out := filepath.Join(f.config.Out, "runs", "ab-"+time.Now().UTC().Format("20060102-150405"))
	c := comparison.Config{A: filepath.Join(out, "a", "runs"), B: filepath.Join(out, "b", "runs"), Margin: *margin, Same: *b == "",
		Pictures: filepath.Join(out, "pictures")}
	if c.Same {
		*b = *a
	}
	failed, err := turns(ctx, f.config, [2]side{{"a", *a}, {"b", *b}}, out, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "bench ab: %v\n", err)
		return runner.ExitUsage
	}
	if ctx.Err() != nil {
		return runner.ExitFailed
	}
	verdict, err := comparison.Run(c, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "bench ab: %v\n", err)
	}
	if failed > 0 {
		fmt.Fprintf(stdout, "%d runs came to no result: whatever the others say, that is no evidence for B\n", failed)
		if verdict == comparison.SameOrBetter {
			verdict = comparison.NotEnough
		}
	}
	return int(verdict)
}

// side is one of the two programs, and the name of its folder.
type side struct{ name, program string }

// turns runs both sides as often as the repeats say and counts the runs that came to no result. An error says that nothing
// can be run at all.
func turns(ctx context.Context, config runner.Config, sides [2]side, out string, stdout, stderr io.Writer) (failed int, err error) {
	repeats := config.Repeat
	config.Repeat, config.Version = 1, version
	cases := 0
	for _, s := range config.Scenarios {
		cases += len(s.Cases)
	}
	for repeat := range repeats {
		for turn := range sides {
			side := sides[first(repeat)^turn]
			fmt.Fprintf(stdout, "%s, %d of %d\n", side.name, repeat+1, repeats)
			config.Aggregator, config.Out = side.program, filepath.Join(out, side.name)
			// An INVALID run is the comparison's matter: it says so beside its verdict.
			dir, exit := runner.Run(ctx, config, stdout, stderr)
			if ctx.Err() != nil {
				return failed, nil
			}
			if exit == runner.ExitUsage {
				return failed, fmt.Errorf("%s, %d of %d was not begun", side.name, repeat+1, repeats)
			}
			index, err := result.ReadIndex(dir)
			if err != nil {
				return failed, err
			}
			failed += cases - len(index.Results)
		}
	}
	return failed, nil
}

// first is the side that begins a repeat: A, B, A, B, …, so that who goes second is not always the same.
func first(repeat int) int { return repeat % 2 }

// marginFlag is given in per cent, and is a part once it is parsed.
func marginFlag(flags *flag.FlagSet) *float64 {
	margin := comparison.DefaultMargin
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
