package judge_test

import (
	"testing"

	"sekali/bench/internal/audit"
	"sekali/bench/judge"
	"sekali/bench/record"
)

// In an INVALID run only what the audit found counts against the aggregator, in a VALID one all.
func TestBroken(t *testing.T) {
	clean, lossy := &audit.Report{}, &audit.Report{Lost: 3}
	wrong := &audit.Report{Checks: []audit.Check{{Name: "received"}}}
	for _, test := range []struct {
		name           string
		audit          *audit.Report
		valid, invalid bool
	}{
		{"refused", clean, true, false}, {"unacknowledged", clean, true, false}, {"acknowledged", clean, true, false},
		{"failures", clean, true, false}, {"refused", lossy, true, false}, {"lost", lossy, true, true}, {"counters", wrong, true, true}, {"rejected", clean, true, true},
		{"lost", clean, true, false}, // a control that had to lose something
		{"lost", nil, true, false},
	} {
		for valid, want := range map[bool]bool{true: test.valid, false: test.invalid} {
			run := record.Run{Audit: test.audit, Validity: record.Validity{Valid: valid}, Expectations: []record.Expectation{{Name: test.name}, {Name: "duplicated", Held: true}}}
			if got := judge.Broken(run); len(got) > 0 != want {
				t.Errorf("%s, valid %v: %v", test.name, valid, got)
			}
		}
	}
}
