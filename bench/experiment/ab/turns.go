package ab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sekali/bench/experiment/runner"
	"sekali/bench/judge"
	"sekali/bench/record"
)

// turns runs both sides until there are so many pairs, and counts the results they lack. A pair
// that the machine disturbed is set aside, whatever its figures, and run again at the end, since
// who disturbed it may not be done; those beyond mostSetAside stay, and leave the comparison
// without evidence. An error says that nothing can be run at all, or that ctx ended.
func (s *sitting) turns(ctx context.Context, pairs int) error {
	for ; s.done < pairs+s.aside; s.done++ {
		dirs, err := s.pair(ctx, pairs+s.aside)
		if err != nil {
			return err
		}
		missing, broken, disturbed, err := s.evidenceOf(dirs)
		if err != nil {
			return err
		}
		if disturbed != "" && s.aside < mostSetAside(pairs) {
			if err := s.setAside(dirs); err != nil {
				return err
			}
			s.aside++
			fmt.Fprintf(s.stdout, "set aside, to be run again at the end (%d of at most %d): %s\n", s.aside, mostSetAside(pairs), disturbed)
			continue
		}
		s.failed += missing
		if broken {
			s.broken++
		}
	}
	return nil
}

// pair runs one of each side.
func (s *sitting) pair(ctx context.Context, of int) (dirs [2]string, err error) {
	config := s.Runner
	config.Repeat = 1
	begins := s.first()
	for turn := range s.sides {
		at := begins ^ turn
		side := s.sides[at]
		fmt.Fprintf(s.stdout, "%s, %d of %d\n", side.name, s.done+1, of)
		config.Aggregator, config.Out = side.Program, filepath.Join(s.Out, side.name)
		// An INVALID run is the comparison's matter: it says so beside its verdict.
		dir, outcome := s.Run(config)
		if ctx.Err() != nil {
			return dirs, ctx.Err()
		}
		if outcome == runner.NotBegun {
			err := fmt.Errorf("%s, %d of %d was not begun", side.name, s.done+1, of)
			if s.done == 0 {
				err = NotBegun{err}
			}
			return dirs, err
		}
		dirs[at] = dir
	}
	return dirs, nil
}

// mostSetAside bounds how many pairs are run again: a machine that disturbs more of them is not one
// to measure on.
func mostSetAside(pairs int) int { return max(2, pairs/4) }

// evidenceOf counts the results that a pair lacks. What this machine skipped is no program's doing,
// and is noted with its reason. It also says what the machine did to one of the pair's runs, unless
// a run lacks a result, or is broken or INVALID for any other reason: that may be a program's
// doing, and is not set aside. Changes that are not committed are no reason, and are said once
// where only the run tells of them.
func (s *sitting) evidenceOf(dirs [2]string) (missing int, broken bool, disturbed string, err error) {
	told := false
	for i, dir := range dirs {
		index, err := record.ReadIndex(dir)
		if err != nil {
			return 0, false, "", err
		}
		missing += s.cases - len(index.Results) - s.noteSkipped(index)
		for _, entry := range index.Results {
			run, err := record.ReadRun(filepath.Join(dir, entry.Dir))
			if err != nil {
				return 0, false, "", err
			}
			if isDirty(run.Aggregator.Version) && !s.sides[i].Uncommitted {
				s.sides[i].Uncommitted, told = true, true
			}
			run.Validity = judge.DespiteDirtyTree(run.Validity)
			if judge.Disturbed(run.Validity) {
				disturbed = fmt.Sprintf("%s (%s)", strings.Join(run.Validity.Texts(), "; "), filepath.Join(dir, entry.Dir))
			}
			broken = broken || len(judge.Broken(run)) > 0 || !run.Validity.Valid && !judge.Disturbed(run.Validity)
		}
	}
	if told {
		s.sayUncommitted()
	}
	if missing > 0 || broken {
		disturbed = ""
	}
	return missing, broken, disturbed, nil
}

// noteSkipped notes which cases a run skipped and why, and returns how many.
func (s *sitting) noteSkipped(index record.Index) (n int) {
	for _, left := range index.LeftOut {
		if left.Failed() {
			continue
		}
		n++
		text := record.Scenario{Name: left.Scenario, Case: left.Case}.Label() + ": " + left.Why
		if !slices.Contains(s.skipped, text) {
			s.skipped = append(s.skipped, text)
		}
	}
	return n
}

// setAside moves a pair out of the folders that are compared.
func (s *sitting) setAside(dirs [2]string) error {
	for i, dir := range dirs {
		to := filepath.Join(s.Out, "set-aside", s.sides[i].name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := os.Rename(dir, filepath.Join(to, filepath.Base(dir))); err != nil {
			return err
		}
	}
	return nil
}

// first is the side that begins the next pair. Each side begins one of two pairs, so that a drift
// hits both alike. A coin says which, so that what comes and goes in step with the runs does too.
func (s *sitting) first() int {
	if s.done%2 == 0 {
		s.coin = rand.IntN(2)
	}
	return s.coin ^ s.done%2
}
