package main

import (
	"sekali/bench/experiment/runner"
	"sekali/bench/pages/compare"
)

// The exit codes of the contract.
const (
	exitHeld    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitInvalid = 3
)

const faultExits = "0: every promise was kept, and every control did what it must. 1: one was not or did not, " +
	"or it was interrupted or could not go on. 2: a bad flag."

// exits are what the codes of each command mean. Its -h prints them, and docs/reference/commands.md
// has them from there.
var exits = map[string]string{
	"run": "0: all held. 1: an expectation or the audit failed, a case could not be run to its end, or the run was interrupted. " +
		"2: a bad flag or scenario file. 3: INVALID, the generator or the machine set a figure; or this machine can run none of it.",
	"profile": "0: all held. 1: as of run, or a profile cannot be read. 2: a bad flag or scenario file. 3: as of run.",
	"compare": "0: B is the same or better. 1: B is worse. 2: a bad flag, or a folder without a run. 3: not enough evidence, no result, or it was interrupted.",
	"ab": "0: B is the same or better. 1: B is worse, or there is no verdict: it was interrupted or could not go on. " +
		"2: a bad flag, scenario file or program. 3: not enough evidence.",
	"saturate": "0: a rate was found. 1: a run failed, or it was interrupted. 2: a bad flag or scenario file. " +
		"3: no answer, answers that do not agree, or a curve that is INVALID in part.",
	"faults":         faultExits,
	"cluster-faults": faultExits,
	"soak":           "0: nothing was lost, and nothing grew. 1: something was or did, or it was interrupted or could not go on. 2: a bad flag.",
	"cluster":        "0: stopped as asked. 1: it could not go on, and says why. 2: a bad flag.",
	"mutants": "0: the lab saw every lie that it can see. 1: it did not, or accused an honest one; a run came to no result, and not by its lie; or it was interrupted or could not go on. " +
		"2: a bad flag, or a folder -out with something else in it.",
	"serve":  "0: stopped as asked. 2: a bad flag, or it cannot serve that, and says why.",
	"report": "0: written. 1: it could not be made, and says why. 2: a bad flag.",
	"verify": "0: every figure is the same. 1: one differs, or cannot be computed, or it was interrupted. 2: a bad flag.",
	"audit":  "0: clean. 1: not clean, or it could not be made. 2: a bad flag, or a file of a token that cannot be read.",
}

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
func exitOfVerdict(v compare.Verdict) int {
	switch v {
	case compare.SameOrBetter:
		return exitHeld
	case compare.NotEnough:
		return exitInvalid
	}
	return exitFailed
}
