// Package judge says what a run is worth: whether its figures are the aggregator's, whether what
// was expected of it held, and whether anything was lost.
package judge

import (
	"fmt"
	"os"
	"path/filepath"

	"sekali/bench/figures"
	"sekali/bench/record"
)

// Finish computes what follows from the raw files and run.json's inputs (the summary, the validity,
// the hashes), writes it into run.json and bench.txt, and returns the whole. Doing it again changes
// nothing.
func Finish(dir string) (record.Run, error) {
	raw, err := record.ReadRaw(dir)
	if err != nil {
		return record.Run{}, err
	}
	run := raw.Run
	if run.Summary, err = figures.Summarize(raw); err != nil {
		return run, fmt.Errorf("%s: %w", dir, err)
	}
	run.Validity = Validate(raw, run.Summary)
	if run.Files, err = record.HashFiles(dir); err != nil {
		return run, err
	}
	if err := record.WriteRun(dir, run); err != nil {
		return run, err
	}
	text, err := figures.BenchText(run)
	if err != nil {
		return run, fmt.Errorf("judge: %s: %w", record.BenchFile, err)
	}
	if err := os.WriteFile(filepath.Join(dir, record.BenchFile), text, 0o644); err != nil {
		return run, fmt.Errorf("judge: %w", err)
	}
	return run, nil
}
