package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"sekali/bench/experiment"
	"sekali/bench/figures"
	"sekali/bench/judge"
	"sekali/bench/pages/terminal"
	"sekali/bench/record"
)

// The files of a run of faults, beside the records: the figures, and the same for people.
const (
	FiguresFile = "faults.json"
	TableFile   = "faults.txt"
)

// RunAll tries every one of the kinds whose name only matches, and writes records, figures and
// table into dir, which is made anew. Not held: a promise was not kept, or all was skipped. A kind
// that could not be tried is an error, after all the others; so is one that left something behind,
// whose row is there. When ctx ends, what was found by then is written.
func RunAll(ctx context.Context, config Config, kinds []Kind, only *regexp.Regexp, dir string, progress io.Writer) (held bool, err error) {
	found := record.Faults{Faults: []record.FaultSummary{}, Files: []record.File{}}
	found.Date, found.Machine, found.Commit = experiment.WhereAndWhen(config.Version)
	held = true
	var failed []error
	kinds = slices.DeleteFunc(kinds, func(k Kind) bool { return !only.MatchString(k.Name) })
	if found.Planned = len(kinds); found.Planned == 0 {
		return false, errors.New("faults: there is none of that name")
	}
	if err := experiment.Anew(dir, FiguresFile); err != nil {
		return false, fmt.Errorf("faults: %w", err)
	}
	if err := write(dir, found); err != nil { // who is killed leaves a folder that can be made anew
		return false, err
	}
	for i, kind := range kinds {
		fmt.Fprintf(progress, "%s: %s\n", kind.Name, kind.Injects)
		began := time.Now()
		row, file, err := runInto(ctx, config, kind, record.Sitting{Number: i + 1, Of: len(kinds)}, dir)
		if ctx.Err() != nil {
			return false, errors.Join(ctx.Err(), err, write(dir, found))
		}
		if err != nil {
			failed = append(failed, err)
			fmt.Fprintf(progress, "%-44s failed: %v\n", kind.Name, err)
		}
		if err != nil && !errors.As(err, &notGivenBack{}) {
			continue
		}
		found.Faults, found.Files = append(found.Faults, row), append(found.Files, file)
		held = held && (row.Skipped != "" || judge.FaultHeld(row))
		fmt.Fprintf(progress, "%-44s %5d times %9d acknowledged %6d lost  %3.0f s %s\n", kind.Name, row.Times, row.Acknowledged, row.Lost,
			time.Since(began).Seconds(), row.Skipped)
	}
	if n := len(found.Faults); n > 0 && !slices.ContainsFunc(found.Faults, func(f record.FaultSummary) bool { return f.Skipped == "" }) {
		failed = append(failed, fmt.Errorf("faults: nothing was tried: %s", found.Faults[n-1].Skipped))
	}
	failed = append(failed, write(dir, found))
	err = errors.Join(failed...)
	return held && err == nil, err
}

// write writes figures and table.
func write(dir string, found record.Faults) error {
	return errors.Join(record.WriteFaults(filepath.Join(dir, FiguresFile), found), writeTable(filepath.Join(dir, TableFile), found))
}

// runInto tries one kind, writes its record, and returns what is computed from that, also beside a
// notGivenBack.
func runInto(ctx context.Context, config Config, kind Kind, place record.Sitting, dir string) (row record.FaultSummary, file record.File, err error) {
	left, err := Run(ctx, config, kind)
	behind := notGivenBack{}
	if err != nil && !errors.As(err, &behind) {
		return row, file, err
	}
	left.Sitting = &place
	name, err := record.WriteFault(dir, left)
	if err != nil {
		return row, file, err
	}
	if file, err = record.HashFile(dir, name); err != nil {
		return row, file, err
	}
	if row, err = figures.Fault(left); err == nil && behind.error != nil {
		err = behind
	}
	return row, file, err
}

func writeTable(path string, found record.Faults) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	if err := errors.Join(terminal.Faults(file, found), file.Close()); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	return nil
}
