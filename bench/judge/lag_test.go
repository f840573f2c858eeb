package judge

import (
	"testing"

	"sekali/bench/record"
)

// TestLagOfFewRequests: which percentile is held to which bound depends on how many there are.
func TestLagOfFewRequests(t *testing.T) {
	ms := func(v float64) *float64 { return &v }
	for name, test := range map[string]struct {
		lag  record.Percentiles
		late bool
	}{
		"p99 within":               {record.Percentiles{P90: ms(1), P99: ms(49), Max: ms(400)}, false},
		"p99 beyond":               {record.Percentiles{P90: ms(1), P99: ms(51), Max: ms(400)}, true},
		"no p99, p90 within":       {record.Percentiles{P90: ms(49), Max: ms(400)}, false},
		"no p99, p90 beyond":       {record.Percentiles{P90: ms(51), Max: ms(400)}, true},
		"only the longest, within": {record.Percentiles{Max: ms(249)}, false},
		"only the longest, beyond": {record.Percentiles{Max: ms(251)}, true},
		"none":                     {record.Percentiles{}, false},
	} {
		if reasons := generatorReasons(&record.Raw{}, record.Summary{GeneratorLagMS: test.lag}); len(reasons) > 0 != test.late {
			t.Errorf("%s: %q", name, reasons)
		}
	}
}
