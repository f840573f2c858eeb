package judge

import "sekali/bench/record"

// FaultHeld reports that a fault's promise was kept.
func FaultHeld(f record.FaultSummary) bool {
	if len(f.Broken) > 0 {
		return false
	}
	exact := f.Duplicated == 0 && f.Unexpected == 0
	switch f.Promise {
	case record.SomethingLost:
		return f.Lost > 0
	case record.MustBeCaught:
		return f.Times > 0 && f.Caught == f.Times
	case record.PrefixOrRefuse:
		return exact
	}
	return exact && f.Lost == 0
}
