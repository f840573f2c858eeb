package integration_test

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"sekali/aggregator/crash"
	"sekali/bench/experiment/faults"
	"sekali/bench/figures"
	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/internal/programs"
)

// crashBinary is the aggregator built with its crash points.
var crashBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "aggregator-crash")
	return path, programs.Build(path, programs.CrashTag, "aggregator")
})

// TestFaults tries every fault of the lab's catalogue few times. What it comes to is computed from
// the record as it was written and read again.
func TestFaults(t *testing.T) {
	program, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, kind := range faults.Catalogue() {
		t.Run(kind.Name, func(t *testing.T) {
			// These need a load that is not too thin, and get it alone.
			if kind.Tells != record.TellsOverload && kind.Promise != record.PrefixOrRefuse {
				t.Parallel()
			}
			config := faults.Config{Aggregator: binary, Crash: program, Dumps: "../aggregator/store/testdata/version*.sql", Short: true, Log: t.Output()}
			row := tryFault(t, dir, config, kind)
			if !judge.FaultHeld(row) || row.Acknowledged == 0 && row.Promise != record.PrefixOrRefuse {
				t.Errorf("promised: %s; %+v", row.Promise, row)
			}
		})
	}
}

// TestCrashPointsAreTried: the catalogue has every place of the code at which a test build dies.
func TestCrashPointsAreTried(t *testing.T) {
	if tried, places := faults.CrashPoints(), crash.Points(); !slices.Equal(tried, places) {
		t.Errorf("the catalogue has %q, the code %q", tried, places)
	}
	names := []string{}
	for _, kind := range faults.Catalogue() {
		names = append(names, kind.Name)
	}
	for _, place := range []string{crash.StoreExpiring, crash.StoreMigrating} {
		if !slices.Contains(names, "crash at "+place) {
			t.Errorf("the catalogue has no crash at %s", place)
		}
	}
}

// tryFault does what a kind says and returns what it comes to, computed from the record as it was
// written to dir and read again.
func tryFault(t *testing.T, dir string, config faults.Config, kind faults.Kind) record.FaultSummary {
	t.Helper()
	left, err := faults.Run(t.Context(), config, kind)
	if err != nil {
		t.Fatal(err)
	}
	name, err := record.WriteFault(dir, left)
	if err == nil {
		left, err = record.ReadFault(filepath.Join(dir, name))
	}
	if err != nil {
		t.Fatal(err)
	}
	row, err := figures.Fault(left)
	if err != nil {
		t.Fatal(err)
	}
	if row.Skipped != "" {
		t.Skip("skipped: " + row.Skipped)
	}
	return row
}
