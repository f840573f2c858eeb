package main

import (
	"sekali/bench/experiment/runner"
	comparison "sekali/bench/pages/compare"
)

// The exit codes of the contract; docs/reference/lab.md says them to users.
const (
	exitHeld    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitInvalid = 3
)

// exitOf is the code for what runs came to.
func exitOf(o runner.Outcome) int {
	switch o {
	case runner.Held:
		return exitHeld
	case runner.NotBegun:
		return exitUsage
	case runner.Invalid:
		return exitInvalid
	}
	return exitFailed
}

// exitOfVerdict is the code for what a comparison came to.
func exitOfVerdict(v comparison.Verdict) int {
	switch v {
	case comparison.SameOrBetter:
		return exitHeld
	case comparison.NotEnough:
		return exitInvalid
	}
	return exitFailed
}
