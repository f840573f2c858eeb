package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekali/bench/record"
)

// TestCompareOfNothing: what is not there is a mistake in the command, and no verdict.
func TestCompareOfNothing(t *testing.T) {
	empty := t.TempDir()
	for _, args := range [][]string{{empty, empty}, {empty + "/missing", empty}, {empty}} {
		var stdout, stderr bytes.Buffer
		if exit := compareRuns(t.Context(), append([]string{"-pictures", ""}, args...), &stdout, &stderr); exit != 2 || stderr.Len() == 0 {
			t.Errorf("%q: exit %d, %s", args, exit, strings.TrimSpace(stderr.String()))
		}
	}
}

// TestCompareWithoutAResult: runs that came to no result are no mistake in the command, and no
// evidence. What they had planned is said.
func TestCompareWithoutAResult(t *testing.T) {
	runs := t.TempDir()
	run := filepath.Join(runs, "20261130-030000")
	err := errors.Join(os.Mkdir(run, 0o755), record.WriteIndex(run, record.Index{Results: []record.Entry{},
		LeftOut: []record.LeftOut{{Scenario: "kill", Case: "journal", Repeat: 1, Code: record.LeftFailed, Why: "failed: it ended by itself"}}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{run, runs} {
		exit, stdout, stderr := call("compare", "-pictures", "", path, path)
		if exit != 3 || stdout != "NO RESULT of A: kill/journal, repeat 1: failed: it ended by itself\n" ||
			!strings.Contains(stderr, "nothing to compare: record: no results: no run in "+path+" has left one") {
			t.Errorf("%s: exit %d\n%s%s", path, exit, stdout, stderr)
		}
	}
}
