package judge

import (
	"sekali/bench/internal/audit"
	"sekali/bench/record"
)

// Broken are the expectations that a run broke, as far as the aggregator can be held to them. In a
// VALID run that is each; in an INVALID one only what the audit found: that something was refused,
// or not answered, or that a control lost nothing, may be the machine's doing there.
func Broken(run record.Run) []record.Expectation {
	var broken []record.Expectation
	for _, e := range run.Expectations {
		if !e.Held && (run.Validity.Valid || foundByAudit(run, e.Name)) {
			broken = append(broken, e)
		}
	}
	return broken
}

func foundByAudit(run record.Run, name string) bool {
	switch name {
	case "refused", "failures", "unacknowledged", "acknowledged":
		return false
	case "rejected": // by index, in an answer
		return true
	}
	return run.Audit != nil && !Clean(run.Audit)
}

// Clean says that an audit found nothing to complain about. A run that was not audited is not
// clean.
func Clean(a *audit.Report) bool {
	if a == nil || a.Lost+a.Duplicated+a.Unexpected+a.OutOfOrder > 0 {
		return false
	}
	for _, c := range a.Checks {
		if !c.Held {
			return false
		}
	}
	return true
}
