package audit

import (
	"slices"
	"testing"
	"time"

	"sekali/loadgen/ledger"
)

// TestLongLoad: a load that lasts longer than times can be held for has none of the three checks
// that need them, and nobody is accused. A shorter one has all.
func TestLongLoad(t *testing.T) {
	for hours, timed := range map[int]bool{11: true, 13: false} {
		m := newModel(t, 10, 2, 0)
		m.began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		m.outside = &Outside{Told: [][2]int64{}}
		late := time.Duration(hours) * time.Hour
		for request, sent := range []time.Duration{0, late} {
			m.attempt(uint64(request), ledger.Attempt{Status: 202, Accepted: 10, SentNS: int64(sent), DoneNS: int64(sent + time.Second)})
			m.apply(uint64(request), 10)
		}
		events := m.events()
		for i := range events[10:] {
			events[10+i].ReceivedAt = m.began.Add(late+time.Millisecond).AppendFormat(nil, time.RFC3339Nano)
		}
		report := m.audit(t, each(events))
		if !clean(report) {
			t.Errorf("%d h: %+v", hours, report)
		}
		for _, name := range []string{OutOfTime, OutOfRealTimeOrder, ToldTooShort} {
			if made := slices.ContainsFunc(report.Checks, func(c Check) bool { return c.Name == name }); made != timed {
				t.Errorf("%d h: %s made: %v", hours, name, made)
			}
		}
	}
}
