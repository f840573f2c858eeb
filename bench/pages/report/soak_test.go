package report

import (
	"strings"
	"testing"

	"sekali/bench/record"
)

// TestSoaksRowHidesNothing: what was stored twice or otherwise broken stands in the row of README.
func TestSoaksRowHidesNothing(t *testing.T) {
	for _, c := range []struct {
		soak record.SoakSummary
		want string
	}{
		{record.SoakSummary{Acknowledged: 9}, "0 of 9 lost, in"},
		{record.SoakSummary{Acknowledged: 9, Duplicated: 2}, "0 of 9 lost, **2 stored twice**, in"},
		{record.SoakSummary{Acknowledged: 9, Broken: []string{"late"}}, "0 of 9 lost, **1 other promises broken**, in"},
	} {
		if got := (&soak{SoakSummary: c.soak}).answer(); !strings.HasPrefix(got, c.want) {
			t.Errorf("the row says %q, want %q", got, c.want)
		}
	}
}
