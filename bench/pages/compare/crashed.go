package compare

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"sekali/bench/record"
)

// printCrashed names the runs of a side that came to no result: no table has them.
func printCrashed(w io.Writer, side string, crashed []record.LeftOut) {
	for _, l := range crashed {
		fmt.Fprintf(w, "NO RESULT of %s: %s, repeat %d: %s\n", side, labelOf(l), l.Repeat, l.Why)
	}
}

// noneIn is the error of a run without any result.
func noneIn(path string) error {
	index, err := record.ReadIndex(path)
	if err != nil {
		return err
	}
	return record.NoneError{Path: path, LeftOut: index.LeftOut}
}

// noneOf names what a side that has no result at all had planned, if that is the error.
func noneOf(w io.Writer, side string, err error) error {
	var none record.NoneError
	if errors.As(err, &none) {
		printCrashed(w, side, none.LeftOut)
	}
	return err
}

// printInterrupted names the runs of a side that are not whole. What they had measured counts.
func printInterrupted(w io.Writer, side string, groups []group) {
	told := map[string]bool{}
	for _, g := range groups {
		for _, f := range g.folders {
			if run := filepath.Dir(f.Dir); f.Interrupted != "" && !told[run] {
				told[run] = true
				fmt.Fprintf(w, "INTERRUPTED, or still under way: %s, %s, of which %s\n", side, run, f.Interrupted)
			}
		}
	}
}

// noResultIn ends the last line: for these cases the figures of the others do not speak.
func noResultIn(crashed []record.LeftOut) string {
	var labels []string
	for _, l := range crashed {
		if label := labelOf(l); !slices.Contains(labels, label) {
			labels = append(labels, label)
		}
	}
	if len(labels) == 0 {
		return ""
	}
	return fmt.Sprintf("; B came to no result in %s, and no figure of another run is evidence for it", strings.Join(labels, ", "))
}

func labelOf(l record.LeftOut) string { return record.Scenario{Name: l.Scenario, Case: l.Case}.Label() }
