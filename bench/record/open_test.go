package record_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sekali/bench/record"
)

// What left no result is handed on beside what there is, of a run and of a folder of runs, also
// where a run has no result at all.
func TestOpenHandsOnWhatWasLeftOut(t *testing.T) {
	runs := t.TempDir()
	write := func(name string, index record.Index) {
		t.Helper()
		dir := filepath.Join(runs, name)
		err := os.MkdirAll(dir, 0o755)
		for _, entry := range index.Results {
			err = errors.Join(err, os.MkdirAll(filepath.Join(dir, entry.Dir), 0o755), record.WriteRun(filepath.Join(dir, entry.Dir), record.Run{}))
		}
		if err := errors.Join(err, record.WriteIndex(dir, index)); err != nil {
			t.Fatal(err)
		}
	}
	write("1", record.Index{Results: []record.Entry{{Dir: "steady-1"}, {Dir: "burst-1"}}, LeftOut: []record.LeftOut{{Scenario: "kill", Code: record.LeftFailed, Why: "failed: it ended by itself"}}})
	write("2", record.Index{LeftOut: []record.LeftOut{{Scenario: "network", Code: record.LeftSkipped, Why: "skipped: ip is not installed"}}})
	// The code says it, whatever the words are.
	write("3", record.Index{Results: []record.Entry{{Dir: "steady-1"}}, LeftOut: []record.LeftOut{{Scenario: "kill", Code: record.LeftFailed, Why: "it ended by itself"},
		{Scenario: "network", Code: record.LeftSkipped, Why: "failed: not so"}}})
	for path, want := range map[string]int{runs: 4, filepath.Join(runs, "3"): 2, filepath.Join(runs, "1"): 1, filepath.Join(runs, "1", "burst-1"): 0} {
		folders, err := record.Open(path)
		if err != nil || len(folders) == 0 {
			t.Fatalf("%s: %d folders, %v", path, len(folders), err)
		}
		for _, f := range folders {
			if len(f.LeftOut) != want {
				t.Errorf("%s: %s has %v", path, f.Dir, f.LeftOut)
			}
			for _, left := range f.LeftOut {
				if left.Failed() != (left.Scenario == "kill") {
					t.Errorf("%+v: failed %v", left, left.Failed())
				}
			}
		}
	}
}
