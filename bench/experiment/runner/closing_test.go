package runner

import (
	"os"
	"strings"
	"testing"
	"time"

	"sekali/bench/internal/audit"
	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/bench/scenario"
)

// closingOf is a run of one case for each way to end.
func closingOf(out *strings.Builder, colours bool) *closing {
	jobOf := func(name string) job { return job{scenario: &scenario.Scenario{Name: name}, repeat: 1, repeats: 1} }
	ms := func(v float64) *float64 { return &v }
	held := func(lost uint64, reasons ...record.Reason) *record.Run {
		return &record.Run{
			Summary:  record.Summary{ThroughputProcessedPerS: ms(473_400), ResponseTimeMS: record.Percentiles{P50: ms(0.8214), P99: ms(2320)}},
			Audit:    &audit.Report{Lost: lost},
			Validity: record.Validity{Valid: len(reasons) == 0, Reasons: reasons},
		}
	}
	broken := held(3)
	broken.Expectations = []record.Expectation{{Name: "lost", Expected: "0", Got: "3"}}
	c := &closing{w: out, colours: colours, dir: "results/runs/x", pages: true}
	for _, one := range []struct {
		name string
		run  *record.Run
	}{
		{"good", held(0)}, {"control", held(91_607)}, {"bad", broken},
		{"busy", held(0, record.Reason{Code: judge.OthersTook, Text: "others took 22 % of all cores, the bound is 15 %"})},
		{"busy-too", held(0, record.Reason{Code: judge.OthersTook, Text: "others took 31 % of all cores, the bound is 15 %"})},
		{"still", held(0, record.Reason{Code: judge.MachineStoodStill, Text: "the machine stood still for 400 ms, the bound is 250 ms"})},
	} {
		c.add(done{job: jobOf(one.name), conclusion: conclude(*one.run), run: one.run})
	}
	c.add(done{job: jobOf("disk-full"), conclusion: skipped, why: "needs root"})
	return c
}

// TestClosingTable: who has only the last screen knows what each case came to, and what to do.
func TestClosingTable(t *testing.T) {
	var out strings.Builder
	c := closingOf(&out, false)
	c.print()
	for _, want := range []string{
		"case       verdict  events/s  p50 ms  p99 ms              lost  page\n",
		"good       passed     473400   0.821    2320                 0  good-1/report.html\n",
		"control    passed     473400   0.821    2320  91607 (expected)  control-1/report.html\n",
		"bad        FAILED     473400   0.821    2320                 3  bad-1/report.html\n",
		"disk-full  skipped         –       –       –                 –  –\n",
		"  busy, busy-too\n    why: others took 22 % of all cores, the bound is 15 %\n    do:  close what else runs",
		"  still\n    why: the machine stood still",
		"lost: acknowledged and not stored.",
		"FAILED: bad\n    why: lost: expected 0, got 3\n",
		"skipped: disk-full\n    why: needs root\n",
		"The pages are in results/runs/x",
		"2 passed, 1 FAILED, 3 INVALID, 1 skipped\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("without %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("colours that nobody asked for: %q", out.String())
	}
	if outcome := c.outcome(); outcome != Failed {
		t.Errorf("outcome %d", outcome)
	}
}

func TestClosingColours(t *testing.T) {
	var plain, coloured strings.Builder
	closingOf(&plain, false).print()
	closingOf(&coloured, true).print()
	for _, want := range []string{"\x1b[32mpassed\x1b[0m", "\x1b[31mFAILED\x1b[0m", "\x1b[33mINVALID\x1b[0m"} {
		if !strings.Contains(coloured.String(), want) {
			t.Errorf("without %q: %q", want, coloured.String())
		}
	}
	without := coloured.String()
	for _, code := range append([]string{"0"}, "32", "31", "33", "2") {
		without = strings.ReplaceAll(without, "\x1b["+code+"m", "")
	}
	if without != plain.String() {
		t.Errorf("colours move the columns:\n%s\n%s", without, plain.String())
	}
}

// TestNoColour: a file is no terminal, and NO_COLOR is heeded on one.
func TestNoColour(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if wantsColour(file) || wantsColour(&strings.Builder{}) {
		t.Error("a file gets colours")
	}
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("skipped: no terminal can be made: ", err)
	}
	defer terminal.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !wantsColour(terminal) {
		t.Error("a terminal gets none")
	}
	t.Setenv("NO_COLOR", "1")
	if wantsColour(terminal) {
		t.Error("NO_COLOR is not heeded")
	}
}

func TestPlainFigures(t *testing.T) {
	for want, v := range map[string]float64{"2320": 2324.7, "0.00123": 0.0012345, "0": 0, "41.2": 41.23, "123000": 123456} {
		if got := plain(v, 3); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	counts := map[string]uint64{"0 reset": 3, "503 queue_full": 12, "0 timeout": 3}
	if got, want := causes(counts), "12 × 503 queue_full, 3 × reset, 3 × timeout"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestTimeLeft: every case takes 2 s longer than its phases, as starts and audits do; the estimate
// has to be near the truth from the first case on, and close at the end.
func TestTimeLeft(t *testing.T) {
	var jobs []job
	for range 20 {
		jobs = append(jobs, job{scenario: &scenario.Scenario{Name: "x"}, settings: scenario.Settings{Load: scenario.Load{
			EventsPerRequest: 500, Phases: []scenario.Phase{{Duration: scenario.Duration(4 * time.Second)}, {Clients: 8, Requests: 600}}}}})
	}
	const took = 8 * time.Second // 4 s, 1 s for 300 000 events, and 3 s beside
	e := newEstimate(jobs)
	now := time.Unix(0, 0)
	for i := range jobs {
		e.begin(i, now)
		for _, gone := range []time.Duration{0, took / 2} {
			truth := time.Duration(len(jobs)-i)*took - gone
			if got := e.left(now.Add(gone)); got < truth*8/10-2*time.Second || got > truth*12/10+2*time.Second {
				t.Errorf("case %d after %s: %s left, in truth %s", i+1, gone, got, truth)
			}
		}
		now = now.Add(took)
		e.finish(now)
	}
	if got := e.left(now.Add(time.Hour)); got != 0 {
		t.Errorf("%s left after the end", got)
	}
}

// TestRefusedInAnInvalidRun: what the machine may have had refused is no failure of the
// aggregator's, unless the run is VALID; what the audit found is, whatever the machine did.
func TestRefusedInAnInvalidRun(t *testing.T) {
	invalid := record.Validity{Reasons: []record.Reason{{Code: judge.OthersTook, Text: "others took 40 %"}}}
	for _, test := range []struct {
		name     string
		lost     uint64
		validity record.Validity
		outcome  Outcome
		said     string
	}{
		{"refused", 0, invalid, Invalid, "  not counted         refused: expected 0, got 7, of a run that is INVALID"},
		{"unacknowledged", 0, invalid, Invalid, "  not counted         unacknowledged"},
		{"refused", 0, record.Validity{Valid: true}, Failed, "  NOT HELD            refused"},
		{"lost", 7, invalid, Failed, "  NOT HELD            lost"},
	} {
		run := record.Run{Audit: &audit.Report{Lost: test.lost}, Validity: test.validity, Expectations: []record.Expectation{{Name: test.name, Expected: "0", Got: "7"}}}
		one := job{scenario: &scenario.Scenario{Name: "x"}, repeats: 1}
		var said strings.Builder
		printRun(&said, one, run, false)
		c := &closing{w: &said}
		c.add(done{job: one, conclusion: conclude(run), run: &run})
		if outcome := c.outcome(); outcome != test.outcome || !strings.Contains(said.String(), test.said) {
			t.Errorf("%s, %d lost, %s: outcome %d\n%s", test.name, test.lost, test.validity, outcome, said.String())
		}
	}
}

// TestClosingReasons: reasons of two codes are two, whatever is to be done, and a case that has one
// twice is named once.
func TestClosingReasons(t *testing.T) {
	var out strings.Builder
	c := &closing{w: &out}
	for _, one := range []struct{ name, code, text string }{
		{"a", judge.TraceContradicts, "the queue was emptier than nothing"}, {"b", judge.LittlesLaw, "the latencies do not fit the queue"},
	} {
		reason := record.Reason{Code: one.code, Text: one.text}
		run := &record.Run{Audit: &audit.Report{}, Validity: record.Validity{Reasons: []record.Reason{reason, reason}}}
		c.add(done{job: job{scenario: &scenario.Scenario{Name: one.name}, repeat: 1, repeats: 1}, conclusion: invalid, run: run})
	}
	c.printReasons()
	for _, want := range []string{"\n  a\n    why: the queue was emptier than nothing\n", "\n  b\n    why: the latencies do not fit the queue\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("without %q:\n%s", want, &out)
		}
	}
}
