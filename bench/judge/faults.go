package judge

import "sekali/bench/record"

// FaultHeld reports that a fault's promise was kept. What met nothing has kept none: where nothing
// was acknowledged, nothing could be lost. Only of damaged files every one may be refused.
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
		return exact && f.Times > 0
	}
	return exact && f.Lost == 0 && f.Acknowledged > 0
}
