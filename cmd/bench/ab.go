package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	comparison "sekali/bench/compare"
	"sekali/bench/result"
	"sekali/bench/runner"
)

// ab runs two aggregators in turn, A B, B A, A B, …, so that what the machine does to one it does
// to the other, and compares them. Its exit code is the verdict on B. Without -b, A runs against
// itself: what is the noise here?
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
	failed, err := turns(ctx, f.config, [2]side{{"a", *a}, {"b", *b}}, out, stdout,
		func(c runner.Config) (string, int) { return runner.Run(ctx, c, stdout, stderr) })
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

// turn is one run: it returns its folder and its exit code.
type turn func(runner.Config) (dir string, exit int)

// turns runs both sides as often as the repeats say and counts the runs that came to no result. A
// pair that the machine disturbed is set aside, whatever its figures, and run again at the end,
// since who disturbed it may not be done; those beyond mostSetAside stay, and leave the comparison
// without evidence. An error says that nothing can be run at all.
func turns(ctx context.Context, config runner.Config, sides [2]side, out string, stdout io.Writer, run turn) (failed int, err error) {
	repeats := config.Repeat
	config.Repeat, config.Version = 1, version
	cases := 0
	for _, s := range config.Scenarios {
		cases += len(s.Cases)
	}
	aside := 0
	for repeat := 0; repeat < repeats+aside; repeat++ {
		var dirs [2]string
		for turn := range sides {
			at := first(repeat) ^ turn
			fmt.Fprintf(stdout, "%s, %d of %d\n", sides[at].name, repeat+1, repeats+aside)
			config.Aggregator, config.Out = sides[at].program, filepath.Join(out, sides[at].name)
			// An INVALID run is the comparison's matter: it says so beside its verdict.
			dir, exit := run(config)
			if ctx.Err() != nil {
				return failed, nil
			}
			if exit == runner.ExitUsage {
				return failed, fmt.Errorf("%s, %d of %d was not begun", sides[at].name, repeat+1, repeats+aside)
			}
			dirs[at] = dir
		}
		missing, why, err := look(dirs, cases)
		if err != nil {
			return failed, err
		}
		if why != "" && aside < mostSetAside(repeats) {
			aside++
			fmt.Fprintf(stdout, "set aside, to be run again at the end (%d of at most %d): %s\n", aside, mostSetAside(repeats), why)
			if err := setAside(dirs, sides, out); err != nil {
				return failed, err
			}
			continue
		}
		failed += missing
	}
	return failed, nil
}

// mostSetAside bounds how many pairs are run again: a machine that disturbs more of them is not one
// to measure on.
func mostSetAside(repeats int) int { return max(2, repeats/4) }

// look counts the results that a pair lacks, and says what the machine did to one of its runs. It
// says nothing where a run lacks a result, broke an expectation or is INVALID for any other reason:
// that may be a program's doing, and is not set aside.
func look(dirs [2]string, cases int) (missing int, disturbed string, err error) {
	programs := false
	for _, dir := range dirs {
		index, err := result.ReadIndex(dir)
		if err != nil {
			return 0, "", err
		}
		missing += cases - len(index.Results)
		for _, entry := range index.Results {
			run, err := result.ReadRun(filepath.Join(dir, entry.Dir))
			if err != nil {
				return 0, "", err
			}
			if run.Validity.Disturbed() {
				disturbed = fmt.Sprintf("%s (%s)", strings.Join(run.Validity.Reasons, "; "), filepath.Join(dir, entry.Dir))
			}
			programs = programs || !run.Held() || !run.Validity.Valid && !run.Validity.Disturbed()
		}
	}
	if missing > 0 || programs {
		return missing, "", nil
	}
	return 0, disturbed, nil
}

// setAside moves a pair out of the folders that are compared.
func setAside(dirs [2]string, sides [2]side, out string) error {
	for i, dir := range dirs {
		to := filepath.Join(out, "set-aside", sides[i].name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := os.Rename(dir, filepath.Join(to, filepath.Base(dir))); err != nil {
			return err
		}
	}
	return nil
}

// first is the side that begins a repeat: A, B, A, B, …, so that who goes second is not always the
// same.
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
