package judge_test

import (
	"strings"
	"testing"
	"time"

	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
)

// around is what a record has whose surroundings were watched, on both cores.
func around(r *record.Run) { r.Surroundings = &record.Surroundings{Cores: "0-1", CoreCount: 2} }

// What surrounded a run makes it INVALID, each for its own reason, within its window and in no
// other time; and what could not be measured is said.
func TestSurroundings(t *testing.T) {
	const second = int64(1e9)
	quiet := func(s *record.Sample) { s.MachineCPUNS = resulttest.Others(s, 0.1) }
	// grown makes a counter grow at a rate, from one moment to another.
	grown := func(s *record.Sample, from, to int64, rate float64) int64 {
		return int64(rate * float64(min(max(s.TNS, from), to)-from))
	}
	for _, test := range []struct {
		name, code, text string
		run              func(*record.Run)
		sample           func(*record.Sample)
	}{
		{"as it must be", "", "", func(*record.Run) {}, func(*record.Sample) {}},
		{"others on one core", judge.OthersTook, "others took 40 % of the cores that the run may use (1), the bound is 15 %",
			func(r *record.Run) { r.Surroundings.Cores, r.Surroundings.CoreCount = "1", 1 },
			func(s *record.Sample) { s.MachineCPUNS = resulttest.Others(s, 0.2) }},
		{"no /proc/stat", judge.OthersUnknown, "is not measurable: /proc/stat has no line",
			func(r *record.Run) { r.Surroundings.OthersUnknown = "/proc/stat has no line" }, func(s *record.Sample) { s.MachineCPUNS = 0 }},
		{"a gap in it", judge.OthersUnknown, "lacks it in some samples", func(*record.Run) {}, func(s *record.Sample) {
			if s.TNS > 2*second {
				s.MachineCPUNS = 0
			}
		}},
		{"throttled", judge.Throttled, "a CPU quota held the run back in 10 of its periods, for 400 ms on all cores together", func(*record.Run) {},
			func(s *record.Sample) {
				s.ThrottledPeriods, s.ThrottledNS = grown(s, 2*second, 3*second, 1e-8), grown(s, 2*second, 3*second, 0.4)
			}},
		{"throttled before", "", "", func(*record.Run) {}, func(s *record.Sample) { s.ThrottledPeriods = grown(s, 0, second/2, 1e-8) }},
		{"stopped", judge.GeneratorStalled, "the generator did not run for 6 % of the measured time, the bound is 5 %", func(*record.Run) {},
			func(s *record.Sample) { s.StalledNS = grown(s, 0, 9*second, 0.06) }},
		{"stopped, hardly", "", "", func(*record.Run) {}, func(s *record.Sample) { s.StalledNS = grown(s, 0, 9*second, 0.04) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := resulttest.Folder(t, resulttest.Burst)
			resulttest.RewriteRun(t, dir, around)
			resulttest.RewriteRun(t, dir, test.run)
			resulttest.Rewrite(t, dir, func(s *record.Sample) { quiet(s); test.sample(s) })
			v := validity(t, dir)
			if test.code == "" {
				if !v.Valid {
					t.Errorf("%v", v)
				}
			} else if len(v.Reasons) != 1 || v.Reasons[0].Code != test.code || !strings.Contains(v.Reasons[0].Text, test.text) || judge.OfAggregator(v.Reasons[0]) {
				t.Errorf("%+v", v)
			}
		})
	}
}

// Of a load that is shorter, others are measured over a second; and where the trace ends before,
// that is a reason.
func TestOthersOfAShortLoad(t *testing.T) {
	short := resulttest.Model{Scenario: "short", Ack: "journal", Rate: 300, Measured: 300 * time.Millisecond, EventsPerS: 50_000, Seed: 2}
	dir := resulttest.Folder(t, short)
	resulttest.RewriteRun(t, dir, around)
	resulttest.Rewrite(t, dir, func(s *record.Sample) { s.MachineCPUNS = resulttest.Others(s, 0.4) })
	if v := validity(t, dir); len(v.Reasons) != 1 || v.Reasons[0].Code != judge.OthersUnknown || !strings.Contains(v.Reasons[0].Text, "does not cover a second") {
		t.Errorf("a trace of less than a second: %+v", v)
	}
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	last := raw.Trace[len(raw.Trace)-1]
	resulttest.AddSamples(t, dir, 20, func(s *record.Sample) {
		s.TNS, s.AnsweredNS = s.TNS+100e6, s.AnsweredNS+100e6
		s.MachineCPUNS = last.MachineCPUNS + int64(0.8*float64(s.TNS-last.TNS))
	})
	if v := validity(t, dir); len(v.Reasons) != 1 || v.Reasons[0].Code != judge.OthersTook {
		t.Errorf("a trace of more than a second: %+v", v)
	}
}

// A running server's CPU time is not known, which is said, and no fault of the run's.
func TestUncheckedOfARunningServer(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Burst)
	resulttest.RewriteRun(t, dir, func(r *record.Run) {
		around(r)
		r.Aggregator.External = true
		r.Surroundings.OthersUnknown = "the server is not ours"
		r.Surroundings.ThrottlingUnknown = "no control group"
	})
	v := validity(t, dir)
	if !v.Valid || len(v.Unchecked) != 2 || v.Unchecked[0].Code != judge.OthersUnknown || v.Unchecked[1].Code != judge.ThrottlingUnknown ||
		!strings.Contains(v.String(), "not checked: what others took of the cores is not measurable: the server is not ours; whether") {
		t.Errorf("%v", v)
	}
}
