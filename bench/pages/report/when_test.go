package report

import (
	"testing"
	"time"

	"sekali/bench/record"
)

func TestWhen(t *testing.T) {
	run := func(day int, commit string) repeat {
		return repeat{Run: record.Run{StartedAt: time.Date(2026, 11, day, 23, 59, 0, 0, time.UTC), Environment: record.Environment{Commit: commit}}}
	}
	s := &set{
		scenarios: []*scenario{{Cases: []*group{{Repeats: []repeat{run(29, "a1"), run(30, "a1")}}, {Profiled: []repeat{run(28, "a1")}}}}},
		faults:    &record.Faults{Date: "2026-11-30T01:02:03Z", Commit: "a1"},
		senders:   &senders{record.Senders{Date: "2026-11-30", Commit: "a1"}},
	}
	says := func(want string) {
		t.Helper()
		if rows := s.when(); len(rows) != 1 || rows[0].Measured != want {
			t.Errorf("%+v, want %q", rows, want)
		}
	}
	says("28 November 2026 to 30 November 2026, commit `a1`")
	s.cluster = &record.Faults{Date: "2026-11-27T01:02:03Z", Commit: "b2"}
	s.senders.Commit = ""
	says("scenarios, faults: 28 November 2026 to 30 November 2026, commit `a1`; the cluster's faults: 27 November 2026, commit `b2`; senders: 30 November 2026, commit `unknown`")
	if rows := (&set{}).when(); rows != nil {
		t.Errorf("of nothing: %+v", rows)
	}
}
