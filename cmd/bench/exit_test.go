package main

import (
	"testing"

	"sekali/bench/experiment/runner"
	"sekali/bench/pages/compare"
)

// TestExitCodes: scripts know the codes by their numbers, as docs/reference/commands.md has them.
func TestExitCodes(t *testing.T) {
	for outcome, want := range map[runner.Outcome]int{runner.Held: 0, runner.Failed: 1, runner.NotBegun: 2, runner.Invalid: 3, 99: 1} {
		if got := exitOf(outcome); got != want {
			t.Errorf("outcome %d: exit code %d, want %d", outcome, got, want)
		}
	}
	for verdict, want := range map[compare.Verdict]int{compare.SameOrBetter: 0, compare.Worse: 1, compare.NotEnough: 3, 99: 1} {
		if got := exitOfVerdict(verdict); got != want {
			t.Errorf("verdict %s: exit code %d, want %d", verdict, got, want)
		}
	}
}
