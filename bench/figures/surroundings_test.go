package figures

import (
	"testing"

	"sekali/bench/record"
)

// TestOthersAtTheEnd: the window may end with the answer of the last sample, and not after it.
func TestOthersAtTheEnd(t *testing.T) {
	raw := &record.Raw{Run: record.Run{Surroundings: &record.Surroundings{CoreCount: 2}}}
	for at := int64(0); at <= 2*second; at += second / 10 {
		raw.Trace = append(raw.Trace, record.Sample{TNS: at, AnsweredNS: at + 5e5, MachineCPUNS: 3600*second + at, ServerCPUNS: at / 2})
	}
	for endNS, want := range map[int64]float64{2*second + 4e5: 0.25, 2*second + 6e5: -1, second: 0.25, second / 2: -1} {
		got := others(raw, 2, 0, endNS)
		if (got == nil) != (want < 0) || got != nil && (*got < want-0.001 || *got > want+0.001) {
			t.Errorf("to %d: %v, want %v", endNS, got, want)
		}
	}
}
