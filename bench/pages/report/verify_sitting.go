package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"sekali/bench/experiment/saturation"
	"sekali/bench/judge"
	"sekali/bench/record"
)

// verifySittings holds each index below the reference to the folders beside it, and names each
// folder that no index, search or table speaks of.
func verifySittings(reference string) (differences []error) {
	entries, err := os.ReadDir(reference)
	if err != nil {
		return []error{err}
	}
	for _, entry := range entries {
		dir := filepath.Join(reference, entry.Name())
		switch {
		case !entry.IsDir() || entry.Name() == faultsDir || entry.Name() == clusterFaultsDir || entry.Name() == soakDir:
		case there(dir, record.IndexFile):
			differences = append(differences, verifySitting(dir)...)
		case there(dir, saturation.SearchFile):
			differences = append(differences, verifySearchSittings(dir)...)
		default:
			differences = append(differences, fmt.Errorf("%s: neither %s nor %s: nothing in it is of the report", dir, record.IndexFile, saturation.SearchFile))
		}
	}
	return differences
}

// verifySearchSittings does the same with the runs of a search, each of which has to be one of its
// probes.
func verifySearchSittings(dir string) (differences []error) {
	found, err := saturation.Read(dir)
	if err != nil {
		return []error{err}
	}
	var probed []string
	for _, below := range found.Dirs() {
		probed = append(probed, filepath.Join(dir, filepath.FromSlash(below)))
	}
	runs, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		return []error{err}
	}
	for _, run := range runs {
		differences = append(differences, verifySitting(run)...)
		// A probe is a result in a run of its own, the curve is a run.
		if !slices.ContainsFunc(probed, func(p string) bool { return p == run || filepath.Dir(p) == run }) {
			differences = append(differences, fmt.Errorf("%s: the search does not speak of it", run))
		}
	}
	return differences
}

// verifySitting holds an index to its folders.
func verifySitting(dir string) (differences []error) {
	name := filepath.Join(dir, record.IndexFile)
	s, err := readSitting(dir)
	if err != nil {
		return []error{err}
	}
	if !s.Whole() {
		differences = append(differences, fmt.Errorf("%s: the sitting was interrupted: %d of %d runs had ended", name, s.Ended(), s.Planned))
	}
	if len(s.runs) == 0 {
		return append(differences, fmt.Errorf("%s: no result", name))
	}
	again := s.Index
	again.Results = nil
	for i, run := range s.runs {
		again.Results = append(again.Results, entryOf(s.Results[i].Dir, run))
		if run.StartedAt.Before(s.StartedAt) || s.Whole() && run.StartedAt.After(s.FinishedAt) {
			differences = append(differences, fmt.Errorf("%s: %s began outside of the sitting", name, s.Results[i].Dir))
		}
		if run.ID != s.ID {
			differences = append(differences, fmt.Errorf("%s: %s is of the run %s", name, s.Results[i].Dir, run.ID))
		}
	}
	// The last of them has the environment of all.
	last := s.runs[len(s.runs)-1]
	again.Environment = last.Environment
	differences = append(differences, compareJSON(name, s.Index, again)...)
	n, absent, err := s.planned()
	if err != nil {
		return append(differences, err)
	}
	for _, what := range absent {
		differences = append(differences, fmt.Errorf("%s: of %d runs of this sitting %d are there; absent: %s", name, n, len(s.runs), what))
	}
	return append(differences, unlisted(dir, s.Index)...)
}

// entryOf is what an index says of a run.
func entryOf(dir string, run record.Run) record.Entry {
	return record.Entry{Dir: dir, Scenario: run.Scenario.Name, Case: run.Scenario.Case, Repeat: run.Scenario.Repeat,
		Valid: run.Validity.Valid, Held: run.Held(), Clean: judge.Clean(run.Audit)}
}

// unlisted names the folders that the index does not have.
func unlisted(dir string, index record.Index) (differences []error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []error{err}
	}
	for _, entry := range entries {
		if entry.IsDir() && !slices.ContainsFunc(index.Results, func(e record.Entry) bool { return e.Dir == entry.Name() }) {
			differences = append(differences, fmt.Errorf("%s: not in %s", filepath.Join(dir, entry.Name()), record.IndexFile))
		}
	}
	return differences
}

func there(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return !errors.Is(err, os.ErrNotExist)
}
