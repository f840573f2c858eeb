package judge

import (
	"testing"

	"sekali/bench/record"
)

// TestFaultHeld: a fault that met nothing shows nothing. Damaged files may be refused every time,
// and a control may be caught before anything is acknowledged.
func TestFaultHeld(t *testing.T) {
	for name, test := range map[string]struct {
		fault record.FaultSummary
		held  bool
	}{
		"nothing lost":                    {record.FaultSummary{Promise: record.NothingLost, Times: 1, Acknowledged: 1}, true},
		"one lost":                        {record.FaultSummary{Promise: record.NothingLost, Times: 1, Acknowledged: 2, Lost: 1}, false},
		"one stored twice":                {record.FaultSummary{Promise: record.NothingLost, Times: 1, Acknowledged: 2, Duplicated: 1}, false},
		"nothing acknowledged":            {record.FaultSummary{Promise: record.NothingLost, Times: 1}, false},
		"a promise of no name, none sent": {record.FaultSummary{Times: 1}, false},
		"damaged, and refused each time":  {record.FaultSummary{Promise: record.PrefixOrRefuse, Times: 2}, true},
		"never damaged":                   {record.FaultSummary{Promise: record.PrefixOrRefuse}, false},
		"a control that lost":             {record.FaultSummary{Promise: record.SomethingLost, Times: 1, Acknowledged: 2, Lost: 1}, true},
		"a control that lost nothing":     {record.FaultSummary{Promise: record.SomethingLost, Times: 1, Acknowledged: 2}, false},
		"caught at once":                  {record.FaultSummary{Promise: record.MustBeCaught, Times: 2, Caught: 2}, true},
		"caught once":                     {record.FaultSummary{Promise: record.MustBeCaught, Times: 2, Caught: 1}, false},
		"never tried to be caught":        {record.FaultSummary{Promise: record.MustBeCaught}, false},
	} {
		if held := FaultHeld(test.fault); held != test.held {
			t.Errorf("%s: held %v, want %v", name, held, test.held)
		}
	}
}
