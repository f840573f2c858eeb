// Package ab runs two aggregators in turn, A B, B A or B A, A B, so that what the machine does to
// one it does to the other, until a comparison of them can decide.
package ab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"sekali/bench/experiment/runner"
	"sekali/bench/pages/compare"
	"sekali/bench/record"
)

// growth is how many pairs a look has for one of the look before: the cost of a look too few is
// half of the pairs at most. With maxLooks of them a sitting ends at four times its first look.
const (
	growth   = 2
	maxLooks = 3
)

// Config says what to compare. Runner has the scenarios; its Aggregator, Out and Repeat are set for
// each run.
type Config struct {
	Runner runner.Config
	A, B   string // a program, a URL, a folder with go.mod or a revision of git; B "": A against itself
	Pairs  int    // 0: until the comparison can decide, or gives up
	Margin float64
	Out    string // folder of the sitting
	// Run is runner.Run.
	Run func(c runner.Config) (dir string, outcome runner.Outcome)
}

// Folder names a sitting's folder by its start.
func Folder(out string, now time.Time) string {
	return filepath.Join(out, "runs", "ab-"+now.UTC().Format(record.IDLayout))
}

// Sit compares two aggregators and returns the verdict on B. Once there is a pair it writes
// ab.json, whatever the verdict is and however the sitting ends. An error is NotBegun where nothing
// can be run at all, and a compare.ErrReport beside a verdict; else ctx ended, or it could not go
// on.
func Sit(ctx context.Context, c Config, stdout io.Writer) (compare.Verdict, error) {
	s := sitting{Config: c, stdout: stdout, record: Record{Format: record.Format, Margin: c.Margin}}
	for _, one := range c.Runner.Scenarios {
		s.cases += len(one.Cases)
		s.record.Scenarios = append(s.record.Scenarios, one.Name)
	}
	s.record.Looks = s.looks()
	if err := s.prepare(ctx); err != nil {
		return compare.NotEnough, NotBegun{err}
	}
	s.sayUncommitted()
	if least := compare.LeastRepeats(s.cases, 1); s.Pairs > 0 && s.Pairs < least {
		fmt.Fprintf(stdout, "WARNING: %d pairs are too few to call anything worse: that takes %d\n", s.Pairs, least)
	}
	verdict, err := s.decide(ctx)
	if s.done == 0 {
		return verdict, err
	}
	if err := errors.Join(err, s.finish(ctx, verdict, err)); err != nil {
		return verdict, err
	}
	return verdict, s.unwritten
}

// decide runs pairs and looks at them, until they decide or there are enough of them.
func (s *sitting) decide(ctx context.Context) (compare.Verdict, error) {
	verdict := compare.NotEnough
	for i, pairs := range s.record.Looks {
		if err := s.turns(ctx, pairs); err != nil {
			return compare.NotEnough, err
		}
		last := i == len(s.record.Looks)-1
		var err error
		if verdict, err = s.look(last); err != nil {
			return compare.NotEnough, err
		}
		if verdict != compare.NotEnough || s.hopeless() {
			break
		}
		if !last {
			fmt.Fprintf(s.stdout, "after %d pairs: not enough evidence yet, on to %d\n", pairs, s.record.Looks[i+1])
		}
	}
	return verdict, nil
}

// finish writes what the sitting came to, and why it has no verdict. err is what ended it.
func (s *sitting) finish(ctx context.Context, verdict compare.Verdict, err error) error {
	s.record.A, s.record.B = s.sides[0].Side, s.sides[1].Side
	s.record.Pairs, s.record.SetAside, s.record.Verdict = s.done-s.aside, s.aside, verdict.String()
	switch {
	case err != nil && ctx.Err() != nil:
		s.record.Ended = fmt.Sprintf("interrupted after %d pairs", s.record.Pairs)
	case err != nil:
		s.record.Ended = fmt.Sprintf("could not go on after %d pairs: %v", s.record.Pairs, err)
	case verdict != compare.NotEnough:
	case s.failed+s.broken > 0:
		s.record.Ended = fmt.Sprintf("gave up after %d pairs: what a program did to its own run no repeat mends", s.record.Pairs)
	case len(s.skipped) > 0:
		s.record.Ended = fmt.Sprintf("gave up after %d pairs: what is skipped here no repeat brings: %s", s.record.Pairs, strings.Join(s.skipped, "; "))
	case s.Pairs == 0:
		s.record.Ended = fmt.Sprintf("gave up after %d pairs; -repeat N takes N of them", s.record.Pairs)
	}
	if s.record.Ended != "" {
		fmt.Fprintln(s.stdout, s.record.Ended)
	}
	s.sayUncommitted()
	return s.record.write(s.Out)
}

// NotBegun is why nothing could be run.
type NotBegun struct{ error }

func (n NotBegun) Unwrap() error { return n.error }

// sitting is a comparison in the making.
type sitting struct {
	Config
	stdout io.Writer
	record Record
	sides  [2]side
	cases  int // of all scenarios
	done   int // pairs that were run, those set aside included
	coin   int // the side that began the last pair of an even number
	aside  int // pairs that were set aside
	failed int // results that the pairs lack, and that were not skipped
	broken int // pairs that a program, not the machine, made INVALID or broke an expectation in

	skipped []string // cases that this machine could not run, each with its reason, once

	lab       bool  // this lab was built with changes that are not committed
	unwritten error // what the last look could not print or draw
}

// hopeless says that further pairs could not pass B either.
func (s *sitting) hopeless() bool { return s.failed+s.broken+len(s.skipped) > 0 }

// looks are the numbers of pairs after which the sides are compared, the last one in any case.
func (s *sitting) looks() []int {
	if s.Pairs > 0 {
		return []int{s.Pairs}
	}
	looks := []int{compare.LeastRepeats(s.cases, maxLooks)}
	for len(looks) < maxLooks {
		looks = append(looks, growth*looks[len(looks)-1])
	}
	return looks
}

// look compares what there is, and prints it where it ends the sitting.
func (s *sitting) look(last bool) (compare.Verdict, error) {
	var said bytes.Buffer
	result, err := compare.Run(compare.Config{A: filepath.Join(s.Out, "a", "runs"), B: filepath.Join(s.Out, "b", "runs"),
		Margin: s.Margin, Same: s.B == "", Looks: len(s.record.Looks), Pictures: filepath.Join(s.Out, "pictures"), Uncommitted: true}, &said)
	s.unwritten = nil
	if errors.Is(err, compare.ErrReport) {
		s.unwritten, err = err, nil
	}
	if errors.Is(err, compare.ErrNothing) && s.failed+len(s.skipped) > 0 { // the verdict is NotEnough
		fmt.Fprintln(&said, err)
		err = nil
	}
	verdict := result.Verdict
	s.record.Withheld = result.Withheld
	if err != nil || verdict != compare.NotEnough || last || s.hopeless() {
		_, _ = s.stdout.Write(said.Bytes())
	}
	if s.failed > 0 {
		fmt.Fprintf(s.stdout, "%d runs came to no result: whatever the others say, that is no evidence for B\n", s.failed)
	}
	for _, one := range s.skipped {
		fmt.Fprintf(s.stdout, "no evidence of %s\n", one)
	}
	if verdict == compare.SameOrBetter && s.failed+len(s.skipped) > 0 {
		verdict = compare.NotEnough
	}
	return verdict, err
}
