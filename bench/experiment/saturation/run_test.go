package saturation

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekali/bench/experiment/runner"
	"sekali/bench/judge/objective"
	"sekali/bench/labtest/saturationtest"
	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/loadgen/attack"
)

// settings are those of a search for 40 requests a second.
func settings(t *testing.T, repeat int) Config {
	t.Helper()
	s, err := scenario.Parse("saturation.yaml", []byte(saturationtest.Text))
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Search: s.Search, Runner: runner.Config{Out: filepath.Join(t.TempDir(), "saturate-synthetic")}}
	if config.Plan, err = NewPlan(s); err != nil {
		t.Fatal(err)
	}
	if config.Search.Objective.Objective, err = objective.Parse("p90<100ms,refused=0,leftover<10%"); err != nil {
		t.Fatal(err)
	}
	config.Search.Start, config.Search.Repeat = 25, repeat
	return config
}

func steady(rate float64) func(int) float64 { return func(int) float64 { return rate } }

func TestRun(t *testing.T) {
	config := settings(t, 3)
	config.Curve = true
	model := saturationtest.Aggregator{Capacity: func(probe int) float64 { return 40 + float64(probe%2) }}
	config.Run = model.Run
	var stdout, stderr bytes.Buffer
	record, outcome := Run(t.Context(), config, &stdout, &stderr)
	if outcome != runner.Held || record.Ended != "" || record.Agree == nil || !*record.Agree || *record.Range > Agreement || stderr.Len() > 0 {
		t.Fatalf("exit %d, %+v\n%s%s", outcome, record, &stdout, &stderr)
	}
	for n, a := range record.Searches {
		if a.RequestsPerS == nil || *a.RequestsPerS < 36 || *a.RequestsPerS > 43 || *a.EventsPerS != 50**a.RequestsPerS {
			t.Errorf("search %d: %+v", n, a)
		}
		last := a.Probes[len(a.Probes)-1]
		if last.Kind != Confirming || last.RequestsPerS != *a.RequestsPerS || !last.Met || len(last.Figures) != 3 {
			t.Errorf("search %d ends with %+v", n, last)
		}
	}
	if first, later := record.Searches[0], record.Searches[1]; later.Start != *first.RequestsPerS || len(later.Probes) >= len(first.Probes) {
		t.Errorf("the second search begins at %v and has %d probes, the first %d", later.Start, len(later.Probes), len(first.Probes))
	}
	if !strings.Contains(stdout.String(), "they agree\n") || !strings.Contains(stdout.String(), "every probe: "+filepath.Join(config.Runner.Out, SearchFile)) {
		t.Error(stdout.String())
	}
	written, err := Read(config.Runner.Out)
	if err != nil || !reflect.DeepEqual(written, record) {
		t.Errorf("written: %+v, %v", written, err)
	}
	for _, dir := range written.Dirs() {
		if _, err := os.Stat(filepath.Join(config.Runner.Out, dir)); err != nil {
			t.Error(err)
		}
	}
	if again, err := Recompute(config.Runner.Out, written); err != nil || !reflect.DeepEqual(again, written) {
		t.Errorf("recomputed: %+v, %v", again, err)
	}
}

// TestRunEnds: however it ends, search.json says why, has what was probed by then, and no rate that
// was not confirmed.
func TestRunEnds(t *testing.T) {
	spoiled := func(from int) func(int, *record.Run) {
		return func(probe int, run *record.Run) { run.Environment.Race = probe >= from }
	}
	third := func(probe int, _ *scenario.Scenario) runner.Outcome {
		return map[bool]runner.Outcome{true: runner.Failed}[probe == 3]
	}
	vanished := func(probe int, _ *scenario.Scenario) runner.Outcome {
		return map[bool]runner.Outcome{true: runner.NotBegun}[probe == 3]
	}
	curve := func(_ int, s *scenario.Scenario) runner.Outcome {
		return map[bool]runner.Outcome{true: runner.Failed}[len(s.Cases) > 1]
	}
	for name, test := range map[string]struct {
		model     saturationtest.Aggregator
		objective string
		change    func(*Config)
		interrupt int // in this probe; 0: none
		outcome   runner.Outcome
		reason    string // of search.json, or of its first search
		probes    int    // of its first search
	}{
		"none meets it":              {model: saturationtest.Aggregator{Capacity: steady(40)}, objective: "p50<1us", outcome: 3, reason: ErrNone.Error(), probes: 12},
		"all is INVALID":             {model: saturationtest.Aggregator{Capacity: steady(40), Spoil: spoiled(1)}, outcome: 3, reason: ErrInvalid.Error(), probes: 6},
		"INVALID after what was met": {model: saturationtest.Aggregator{Capacity: steady(40), Spoil: spoiled(2)}, outcome: 3, reason: ErrInvalid.Error(), probes: 13},
		"not confirmed": {model: saturationtest.Aggregator{Capacity: func(probe int) float64 {
			return map[bool]float64{true: 40, false: 1}[probe <= 8]
		}}, outcome: 3, reason: ErrNotConfirmed.Error(), probes: 18},
		"a probe fails":        {model: saturationtest.Aggregator{Capacity: steady(40), Exit: third}, outcome: 1, reason: errFailed.Error() + ": ", probes: 2},
		"the program vanishes": {model: saturationtest.Aggregator{Capacity: steady(40), Exit: vanished}, outcome: 1, reason: errUsage.Error(), probes: 2},
		"interrupted":          {model: saturationtest.Aggregator{Capacity: steady(40)}, interrupt: 3, outcome: 1, reason: "interrupted", probes: 2},
		"the budget":           {model: saturationtest.Aggregator{Capacity: steady(40)}, change: func(c *Config) { c.Search.Budget = 1 }, outcome: 3, reason: "the budget was used up: 1ns"},
		"cannot be planned": {model: saturationtest.Aggregator{Capacity: steady(40)}, outcome: 1, reason: "saturation.yaml:11:1: ", change: func(c *Config) {
			c.Plan.text = []byte(saturationtest.Text + "cases: []\n")
		}},
		"the curve fails": {model: saturationtest.Aggregator{Capacity: steady(40), Exit: curve}, change: func(c *Config) { c.Curve = true }, outcome: 1,
			reason: errFailed.Error() + ": ", probes: 9},
		"skipped": {model: saturationtest.Aggregator{Capacity: steady(40), Skipped: "a disk that is held to a rate needs root"}, outcome: 3,
			reason: "nothing was run: skipped: a disk that is held to a rate needs root"},
	} {
		t.Run(name, func(t *testing.T) {
			config := settings(t, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var err error
			if test.objective != "" {
				if config.Search.Objective.Objective, err = objective.Parse(test.objective); err != nil {
					t.Fatal(err)
				}
			}
			if test.change != nil {
				test.change(&config)
			}
			config.Run = interrupting(&test.model, cancel, test.interrupt)
			var stdout, stderr bytes.Buffer
			_, outcome := Run(ctx, config, &stdout, &stderr)
			record, err := Read(config.Runner.Out)
			if err != nil || outcome != test.outcome || len(record.Searches) != 1 {
				t.Fatalf("exit %d, %+v, %v\n%s%s", outcome, record, err, &stdout, &stderr)
			}
			first := record.Searches[0]
			reason := record.Ended
			if reason == "" {
				reason = first.Error
			}
			if !strings.HasPrefix(reason, test.reason) || len(first.Probes) != test.probes || (first.RequestsPerS != nil) != (name == "the curve fails") {
				t.Errorf("%q after %d probes: %+v", reason, len(first.Probes), first)
			}
			if record.Agree != nil || record.Curve != "" {
				t.Errorf("agree %v, curve %q", record.Agree, record.Curve)
			}
			if said := stdout.String(); !strings.Contains(said, SearchFile) || strings.Contains(said, "confirmed: ") != (first.RequestsPerS != nil) {
				t.Error(said)
			}
			if again, err := Recompute(config.Runner.Out, record); (err == nil) != (record.Ended == "") || err == nil && !reflect.DeepEqual(again, record) {
				t.Errorf("recomputed: %+v, %v", again, err)
			}
		})
	}
}

// interrupting cancels in the middle of a probe, whose run then fails as it does at ctrl-C.
func interrupting(model *saturationtest.Aggregator, cancel func(), at int) func(context.Context, runner.Config, io.Writer, io.Writer) (string, runner.Outcome) {
	probe := 0
	return func(ctx context.Context, config runner.Config, stdout, stderr io.Writer) (string, runner.Outcome) {
		if probe++; probe == at {
			cancel()
			return config.Out, runner.Failed
		}
		return model.Run(ctx, config, stdout, stderr)
	}
}

// TestInvalidCurve is an exit code of 3 although the search has an answer.
func TestInvalidCurve(t *testing.T) {
	config := settings(t, 1)
	config.Curve = true
	model := saturationtest.Aggregator{Capacity: steady(40), Spoil: func(_ int, run *record.Run) { run.Environment.Race = run.Scenario.Sweep != nil }}
	config.Run = model.Run
	var stdout, stderr bytes.Buffer
	record, outcome := Run(t.Context(), config, &stdout, &stderr)
	if outcome != runner.Invalid || record.Curve == "" || record.Searches[0].RequestsPerS == nil || !strings.Contains(stdout.String(), "INVALID in part") {
		t.Errorf("exit %d, %+v\n%s%s", outcome, record, &stdout, &stderr)
	}
}

// TestSearchesThatDisagree are no answer.
func TestSearchesThatDisagree(t *testing.T) {
	config := settings(t, 2)
	model := saturationtest.Aggregator{Capacity: func(probe int) float64 { return map[bool]float64{true: 40, false: 60}[probe <= 9] }}
	config.Run = model.Run
	var stdout, stderr bytes.Buffer
	record, outcome := Run(t.Context(), config, &stdout, &stderr)
	if outcome != runner.Invalid || record.Agree == nil || *record.Agree || !strings.Contains(stdout.String(), "they do not agree") {
		t.Errorf("exit %d, %+v\n%s%s", outcome, record, &stdout, &stderr)
	}
}

// TestUsage: what cannot be run at all leaves nothing behind.
func TestUsage(t *testing.T) {
	config := settings(t, 1)
	model := saturationtest.Aggregator{Exit: func(int, *scenario.Scenario) runner.Outcome { return runner.NotBegun }}
	config.Run = model.Run
	var stdout, stderr bytes.Buffer
	if _, outcome := Run(t.Context(), config, &stdout, &stderr); outcome != runner.NotBegun || strings.Contains(stdout.String(), SearchFile) {
		t.Errorf("exit %d: %s", outcome, &stdout)
	}
	if _, err := os.Stat(config.Runner.Out); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestAgree(t *testing.T) {
	for _, test := range []struct {
		rates  []float64
		repeat int
		want   string // "": neither true nor false
	}{
		{[]float64{100}, 1, ""},
		{[]float64{100}, 2, "false"},
		{[]float64{100, 109}, 2, "true"},
		{[]float64{100, 109}, 3, "false"},
		{[]float64{100, 111, 112}, 3, "false"},
		{[]float64{96, 100, 105}, 3, "true"},
		{nil, 3, "false"},
	} {
		r := Record{Repeat: test.repeat}
		for _, rate := range test.rates {
			r.Searches = append(r.Searches, Answer{RequestsPerS: &rate})
		}
		r.compare()
		got := ""
		if r.Agree != nil {
			got = fmt.Sprint(*r.Agree)
		}
		text, err := record.MarshalJSON(r)
		if err != nil || got != test.want || strings.Contains(string(text), `"agree"`) != (test.want != "") {
			t.Errorf("%v of %d: %q, %v\n%s", test.rates, test.repeat, got, err, text)
		}
	}
}

// TestForgedSearchIsRecomputed: no figure of search.json can be another than that of the raw files.
func TestForgedSearchIsRecomputed(t *testing.T) {
	config := settings(t, 1)
	model := saturationtest.Aggregator{Capacity: steady(40)}
	config.Run = model.Run
	var stdout, stderr bytes.Buffer
	if _, outcome := Run(t.Context(), config, &stdout, &stderr); outcome != runner.Held {
		t.Fatalf("exit %d: %s%s", outcome, &stdout, &stderr)
	}
	for name, forge := range map[string]func(*Record){
		"answer":             func(r *Record) { *r.Searches[0].RequestsPerS++ },
		"events":             func(r *Record) { *r.Searches[0].EventsPerS++ },
		"a figure":           func(r *Record) { r.Searches[0].Probes[2].Figures["p90"] /= 2 },
		"a rate":             func(r *Record) { r.Searches[0].Probes[2].RequestsPerS++ },
		"an outcome":         func(r *Record) { r.Searches[0].Probes[0].Met = false },
		"the start":          func(r *Record) { r.Searches[0].Start = 26 },
		"the objective":      func(r *Record) { r.Objective = "p90<200ms" },
		"no objective":       func(r *Record) { r.Objective = "quick" },
		"the batch":          func(r *Record) { r.EventsPerRequest = 500 },
		"a probe left out":   func(r *Record) { r.Searches[0].Probes = r.Searches[0].Probes[1:] },
		"a probe of another": func(r *Record) { r.Searches[0].Probes[0].Dir = r.Searches[0].Probes[1].Dir },
		"the confirmation left out": func(r *Record) {
			r.Searches[0].Probes = r.Searches[0].Probes[:len(r.Searches[0].Probes)-1]
		},
		"a probe too many": func(r *Record) { r.Searches[0].Probes = append(r.Searches[0].Probes, r.Searches[0].Probes[0]) },
		"agreement":        func(r *Record) { yes := true; r.Agree = &yes },
		"repeats":          func(r *Record) { r.Repeat = 3 },
	} {
		record, err := Read(config.Runner.Out)
		if err != nil {
			t.Fatal(err)
		}
		forge(&record)
		if again, err := Recompute(config.Runner.Out, record); err == nil && reflect.DeepEqual(again, record) {
			t.Errorf("%s: not seen", name)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"format":1}`:                                          "format 1",
		`{"format":2,"colour":1}`:                               "colour",
		`{"format":2,"curve":"../../etc"}`:                      "not a folder below it",
		`{"format":2,"searches":[{"probes":[{"dir":"/etc"}]}]}`: "not a folder below it",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, SearchFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTextIsAScenario: what a probe runs is a file of its own, which says all that is run.
func TestTextIsAScenario(t *testing.T) {
	plan := settings(t, 1).Plan
	for kind, length := range map[Kind]time.Duration{Probing: time.Second, Confirming: 3 * time.Second} {
		s, err := plan.probe(kind, 7, 12.3)
		if err != nil {
			t.Fatal(err)
		}
		load := s.Cases[0].Settings.Load
		if s.Cases[0].Name != fmt.Sprintf("%s-07", kind) || len(load.Phases) != 2 || float64(load.Phases[1].Rate) != 12.3 || load.Duration() != time.Second+length {
			t.Errorf("%s: %+v", kind, s.Cases[0])
		}
	}
	for name, text := range map[string]string{
		"closed loop": strings.ReplaceAll(saturationtest.Text, "rate: 1/s", "clients: 4"),
		"cases":       saturationtest.Text + "cases: [{name: a}]\n",
		"a sweep":     saturationtest.Text + "sweep: {parameter: load.rate, values: [1, 2]}\n",
		"a fault":     saturationtest.Text + "fault: {kind: sigkill, at: 1s}\n",
	} {
		s, err := scenario.Parse("s.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewPlan(s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// planned are the cases of a probe at a rate, and of the curve up to 40.
func planned(t *testing.T, text string, kind Kind, rate float64) []scenario.Case {
	t.Helper()
	s, err := scenario.Parse("s.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(s)
	if err != nil {
		t.Fatal(err)
	}
	probe, err := plan.probe(kind, 1, rate)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := plan.curve(40)
	if err != nil {
		t.Fatal(err)
	}
	return append(probe.Cases, curve.Cases...)
}

// TestArrivalsAreKept: a search with random arrivals has them in each probe, and on the curve.
func TestArrivalsAreKept(t *testing.T) {
	text := strings.ReplaceAll(saturationtest.Text, "rate: 1/s", "rate: 1/s, arrivals: poisson")
	for _, one := range planned(t, text, Probing, 12.3) {
		for _, phase := range one.Settings.Load.Phases {
			if phase.Arrivals != attack.Poisson {
				t.Errorf("%s, %s: arrivals %q", one.Name, phase.Name, phase.Arrivals)
			}
		}
	}
}

// TestObjectiveAloneSaysWhatMayBeRefused: whatever the scenario expects, a rate that is too high
// fails neither a probe nor the curve; what the audit finds still does.
func TestObjectiveAloneSaysWhatMayBeRefused(t *testing.T) {
	for _, expect := range []string{"", "expect: {refused: 0, failures: 0, unacknowledged: 0}\n", "expect: {unacknowledged: any}\n"} {
		for _, one := range planned(t, saturationtest.Text+expect, Confirming, 40) {
			e := one.Settings.Expect
			if e.Refused != scenario.Any || e.Failures != scenario.Any || e.Unacknowledged != scenario.Any || e.Lost != scenario.Exactly(0) {
				t.Errorf("%q, %s: %+v", expect, one.Name, e)
			}
		}
	}
}

// TestCurveOfLowRates has each whole rate once, and is none where there are no two.
func TestCurveOfLowRates(t *testing.T) {
	plan := settings(t, 1).Plan
	for rate, points := range map[float64]int{1: 0, 1.4: 0, 2: 2, 12.3: 9, 400: 10} {
		s, err := plan.curve(rate)
		if err != nil || (s == nil) != (points == 0) || s != nil && len(s.Cases) != points {
			t.Errorf("%v: %+v, %v, want %d points", rate, s, err, points)
			continue
		}
		if s != nil && math.Abs(float64(s.Cases[points-1].Settings.Load.Phases[1].Rate)-1.05*rate) > 0.51 {
			t.Errorf("%v: ends at %+v", rate, s.Cases[points-1].Settings.Load)
		}
	}
}
