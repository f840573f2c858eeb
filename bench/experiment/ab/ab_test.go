package ab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/bench/experiment/runner"
	"sekali/bench/internal/audit"
	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/pages/compare"
	"sekali/bench/record"
	"sekali/bench/scenario"
)

// TestSitsUntilItCanDecide: without a number of pairs a sitting goes on until the evidence decides,
// and says after how many it gave up.
func TestSitsUntilItCanDecide(t *testing.T) {
	for name, test := range map[string]struct {
		rates   map[string]func(n int) float64 // events/s that each side commits in its n-th run
		broken  bool                           // a run of B broke what its scenario claims
		verdict compare.Verdict
		pairs   int
		ended   string
	}{
		"far apart":      {map[string]func(int) float64{"a": steady(4000), "b": steady(2000)}, false, compare.Worse, 10, ""},
		"the same":       {map[string]func(int) float64{"a": steady(4000), "b": steady(4000)}, false, compare.SameOrBetter, 10, ""},
		"all over":       {map[string]func(int) float64{"a": wild, "b": func(n int) float64 { return wild(n + 5) }}, false, compare.NotEnough, 40, "gave up after 40 pairs"},
		"broken by both": {map[string]func(int) float64{"a": steady(3000), "b": wild}, true, compare.NotEnough, 10, "gave up after 10 pairs: what a program did"},
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			runs := map[string]int{}
			at := time.Unix(0, 0)
			run := func(c runner.Config) (string, runner.Outcome) {
				side := filepath.Base(c.Out)
				dir := filepath.Join(c.Out, "runs", fmt.Sprintf("%03d", runs[side]))
				at = at.Add(time.Minute)
				seed := uint64(1 + 2*runs[side])
				if side == "b" {
					seed++
				}
				if err := write(dir, at, test.rates[side](runs[side]), !test.broken, seed); err != nil {
					t.Fatal(err)
				}
				runs[side]++
				return dir, 0
			}
			program := filepath.Join(out, "program")
			if err := os.WriteFile(program, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			var stdout strings.Builder
			verdict, err := Sit(t.Context(), Config{Runner: runner.Config{Scenarios: []*scenario.Scenario{{Name: "noise", Cases: make([]scenario.Case, 1)}}},
				A: program, B: out + "/./program", Out: out, Run: run}, &stdout)
			if err != nil {
				t.Fatal(err)
			}
			record, err := Read(out)
			if err != nil {
				t.Fatal(err)
			}
			if verdict != test.verdict || record.Verdict != verdict.String() || record.Pairs != test.pairs || runs["a"] != test.pairs || !strings.HasPrefix(record.Ended, test.ended) || (test.ended == "") != (record.Ended == "") {
				t.Errorf("%v after %d pairs, recorded %+v\n%s", verdict, runs["a"], record, stdout.String())
			}
			if !slices.Equal(record.Looks, []int{10, 20, 40}) {
				t.Errorf("looks %v", record.Looks)
			}
		})
	}
}

// TestNoResults: a side that comes to no result is no evidence, and ab.json says so.
func TestNoResults(t *testing.T) {
	for name, empty := range map[string]string{"B": "b", "A": "a", "both": "ab"} {
		t.Run(name, func(t *testing.T) {
			out, runs := t.TempDir(), 0
			run := func(c runner.Config) (string, runner.Outcome) {
				runs++
				dir := filepath.Join(c.Out, "runs", fmt.Sprintf("%03d", runs))
				err := os.MkdirAll(dir, 0o755)
				if strings.Contains(empty, filepath.Base(c.Out)) {
					err = errors.Join(err, record.WriteIndex(dir, record.Index{Format: record.Format, Results: []record.Entry{}}))
				} else {
					err = errors.Join(err, write(dir, time.Unix(int64(60*runs), 0), 4000, true, uint64(runs)))
				}
				if err != nil {
					t.Fatal(err)
				}
				return dir, runner.Failed
			}
			program := filepath.Join(out, "program")
			if err := os.WriteFile(program, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			var stdout strings.Builder
			verdict, err := Sit(t.Context(), Config{Runner: runner.Config{Scenarios: []*scenario.Scenario{{Name: "noise", Cases: make([]scenario.Case, 1)}}},
				A: program, B: out + "/./program", Pairs: 2, Out: out, Run: run}, &stdout)
			left, errRead := Read(out)
			if err != nil || errRead != nil || verdict != compare.NotEnough || left.Verdict != verdict.String() || left.Pairs != 2 || !strings.HasPrefix(left.Ended, "gave up after 2 pairs") {
				t.Errorf("%v, %+v, %v, %v", verdict, left, err, errRead)
			}
			if said := stdout.String(); !strings.Contains(said, "no results") || !strings.Contains(said, "runs came to no result") {
				t.Error(said)
			}
		})
	}
}

// TestSkippedIsNoEvidence: a case that this machine cannot run is no fault of a program. It is no
// evidence either, whatever the other cases say, and ab.json has the reason.
func TestSkippedIsNoEvidence(t *testing.T) {
	for name, test := range map[string]struct {
		skips   string // sides that skip the case
		beside  bool   // another case has results
		rate    float64
		verdict compare.Verdict
	}{
		"by both":                    {"ab", false, 4000, compare.NotEnough},
		"by A":                       {"a", false, 4000, compare.NotEnough},
		"by B":                       {"b", false, 4000, compare.NotEnough},
		"by both, the other as good": {"ab", true, 4000, compare.NotEnough},
		"by both, the other worse":   {"ab", true, 2000, compare.Worse},
	} {
		t.Run(name, func(t *testing.T) {
			out, runs := t.TempDir(), 0
			run := func(c runner.Config) (string, runner.Outcome) {
				runs++
				side, rate := filepath.Base(c.Out), 4000.
				dir := filepath.Join(c.Out, "runs", fmt.Sprintf("%03d", runs))
				if side == "b" {
					rate = test.rate
				}
				index := record.Index{Format: record.Format, Results: []record.Entry{}}
				err := os.MkdirAll(dir, 0o755)
				if test.beside || !strings.Contains(test.skips, side) {
					err = errors.Join(err, write(dir, at(runs), rate, true, uint64(runs)))
					index.Results = append(index.Results, record.Entry{Dir: "noise-1", Scenario: "noise", Repeat: 1})
				}
				if strings.Contains(test.skips, side) {
					index.LeftOut = []record.LeftOut{{Scenario: "apart", Case: "three", Code: record.LeftSkipped, Why: "skipped: no network namespaces here"}}
				}
				if err = errors.Join(err, record.WriteIndex(dir, index)); err != nil {
					t.Fatal(err)
				}
				return dir, runner.Held
			}
			config := configOf(t, out, 0, run)
			if test.beside {
				config.Runner.Scenarios = append(config.Runner.Scenarios, &scenario.Scenario{Name: "apart", Cases: make([]scenario.Case, 1)})
			}
			var stdout strings.Builder
			verdict, err := Sit(t.Context(), config, &stdout)
			left, errRead := Read(out)
			if err != nil || errRead != nil || verdict != test.verdict || left.Verdict != verdict.String() {
				t.Errorf("%v, %+v, %v, %v", verdict, left, err, errRead)
			}
			said := stdout.String()
			if !strings.Contains(said, "no evidence of apart/three: skipped: no network namespaces here") || strings.Contains(said, "a program") || strings.Contains(said, "came to no result:") {
				t.Error(said)
			}
			if ended := "gave up after"; verdict == compare.NotEnough && (!strings.HasPrefix(left.Ended, ended) || !strings.HasSuffix(left.Ended, "no network namespaces here")) {
				t.Errorf("ended: %s", left.Ended)
			}
		})
	}
}

// TestTooFewPairs: who asks for fewer pairs than could call anything worse learns it before they
// run.
func TestTooFewPairs(t *testing.T) {
	for pairs, warned := range map[int]bool{7: true, 8: false} {
		out, runs := t.TempDir(), 0
		var stdout strings.Builder
		run := func(c runner.Config) (string, runner.Outcome) {
			if said := strings.Contains(stdout.String(), "too few to call anything worse: that takes 8"); said != warned {
				t.Errorf("%d pairs, before the first run: %q", pairs, stdout.String())
			}
			runs++
			rate := 4000.
			if filepath.Base(c.Out) == "b" {
				rate = 2000
			}
			dir := filepath.Join(c.Out, "runs", fmt.Sprintf("%03d", runs))
			if err := write(dir, time.Unix(int64(60*runs), 0), rate, true, uint64(runs)); err != nil {
				t.Fatal(err)
			}
			return dir, 0
		}
		program := filepath.Join(out, "program")
		if err := os.WriteFile(program, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		verdict, err := Sit(t.Context(), Config{Runner: runner.Config{Scenarios: []*scenario.Scenario{{Name: "noise", Cases: make([]scenario.Case, 1)}}},
			A: program, B: out + "/./program", Pairs: pairs, Out: out, Run: run}, &stdout)
		if want := map[bool]compare.Verdict{true: compare.NotEnough, false: compare.Worse}[warned]; err != nil || verdict != want {
			t.Errorf("%d pairs of half the rate: %v, %v, want %v\n%s", pairs, verdict, err, want, stdout.String())
		}
	}
}

// TestEndsWithPairs: a sitting that cannot go on, or is interrupted, leaves what it has.
func TestEndsWithPairs(t *testing.T) {
	for name, test := range map[string]struct {
		last  int    // runs that are begun
		ended string // SIDE is the one that was not begun
		begun bool
	}{
		"vanished at once":      {1, "", false},
		"vanished mid-way":      {2, "could not go on after 1 pairs: SIDE, 2 of 10 was not begun", true},
		"vanished in the other": {3, "could not go on after 1 pairs: SIDE, 2 of 10 was not begun", true},
		"interrupted later":     {4, "interrupted after 2 pairs", true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			out, runs := t.TempDir(), 0
			var order []string
			run := func(c runner.Config) (string, runner.Outcome) {
				order = append(order, filepath.Base(c.Out))
				if runs++; runs > test.last {
					if strings.HasPrefix(name, "interrupted") {
						interrupt()
						return "", runner.Failed
					}
					return "", runner.NotBegun
				}
				dir := filepath.Join(c.Out, "runs", fmt.Sprintf("%03d", runs))
				if err := write(dir, at(runs), 4000, true, uint64(runs)); err != nil {
					t.Fatal(err)
				}
				return dir, 0
			}
			verdict, err := Sit(ctx, configOf(t, out, 0, run), io.Discard)
			if err == nil || verdict != compare.NotEnough || errors.As(err, &NotBegun{}) == test.begun {
				t.Errorf("%v, %v", verdict, err)
			}
			left, err := Read(out)
			if !test.begun {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("without a pair: %+v, %v", left, err)
				}
				return
			}
			ended := strings.Replace(test.ended, "SIDE", order[len(order)-1], 1)
			if err != nil || left.Ended != ended || left.Verdict != verdict.String() || left.A.Given == "" {
				t.Errorf("%+v, %v", left, err)
			}
		})
	}
}

// TestPictureThatCannotBeDrawn takes no verdict away, and no pair that is still to come.
func TestPictureThatCannotBeDrawn(t *testing.T) {
	for name, test := range map[string]struct {
		b       func(n int) float64
		verdict compare.Verdict
		pairs   int
	}{"worse": {steady(2000), compare.Worse, 10}, "all over": {func(n int) float64 { return wild(n + 5) }, compare.NotEnough, 40}} {
		t.Run(name, func(t *testing.T) {
			out, runs := t.TempDir(), 0
			if err := os.WriteFile(filepath.Join(out, "pictures"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			run := func(c runner.Config) (string, runner.Outcome) {
				rate := 4000.
				if filepath.Base(c.Out) == "b" {
					rate = test.b(runs / 2)
				} else if test.pairs == 40 {
					rate = wild(runs / 2)
				}
				runs++
				dir := filepath.Join(c.Out, "runs", fmt.Sprintf("%03d", runs))
				if err := write(dir, at(runs), rate, true, uint64(runs)); err != nil {
					t.Fatal(err)
				}
				return dir, 0
			}
			verdict, left, said, err := sit(t, out, 0, run)
			if verdict != test.verdict || !errors.Is(err, compare.ErrReport) || left.Verdict != verdict.String() || left.Pairs != test.pairs {
				t.Errorf("%v, %+v, %v\n%s", verdict, left, err, said)
			}
		})
	}
}

// sit has two empty programs compared, and returns what Sit does and leaves.
func sit(t *testing.T, out string, pairs int, run func(runner.Config) (string, runner.Outcome)) (verdict compare.Verdict, left Record, said string, err error) {
	t.Helper()
	var stdout strings.Builder
	verdict, err = Sit(t.Context(), configOf(t, out, pairs, run), &stdout)
	left, errRead := Read(out)
	if errRead != nil {
		t.Error(errRead)
	}
	return verdict, left, stdout.String(), err
}

func configOf(t *testing.T, out string, pairs int, run func(runner.Config) (string, runner.Outcome)) Config {
	t.Helper()
	program := filepath.Join(out, "program")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	return Config{Runner: runner.Config{Scenarios: []*scenario.Scenario{{Name: "noise", Cases: make([]scenario.Case, 1)}}},
		A: program, B: out + "/./program", Pairs: pairs, Out: out, Run: run}
}

// at is when a run began.
func at(run int) time.Time { return time.Unix(int64(60*run), 0) }

func steady(rate float64) func(int) float64 { return func(int) float64 { return rate } }

// wild is a server whose runs differ by up to a half, in no order.
func wild(n int) float64 { return 2500 + float64(n*7919%11)*150 }

// write makes a run of one result, like no other of another seed.
func write(dir string, at time.Time, rate float64, held bool, seed uint64) error {
	one := filepath.Join(dir, "noise-1")
	if err := resulttest.Write(one, resulttest.Model{Scenario: "noise", Ack: "store", Rate: 60, Measured: time.Second, EventsPerS: rate, Seed: seed}); err != nil {
		return err
	}
	run, err := record.ReadRun(one)
	if err != nil {
		return err
	}
	run.StartedAt = at
	run.Expectations[0].Held = held
	return errors.Join(record.WriteRun(one, run),
		record.WriteIndex(dir, record.Index{Format: record.Format, Results: []record.Entry{{Dir: "noise-1", Scenario: "noise", Repeat: 1}}}))
}

// Each side begins one of two pairs, and neither the same one in all of them.
func TestCoinSaysWhoBegins(t *testing.T) {
	var s sitting
	begun := map[int]int{}
	for ; s.done < 128; s.done += 2 {
		first := s.first()
		s.done++
		if second := s.first(); second != 1-first {
			t.Fatalf("pairs %d and %d: both begin with %d", s.done-1, s.done, first)
		}
		s.done--
		begun[first]++
	}
	if begun[0] == 0 || begun[1] == 0 {
		t.Errorf("64 times the one or the other: %v", begun)
	}
}

// TestDisturbedPairsAreSetAside: what the machine did to either side costs a pair, what a program
// did costs the evidence.
func TestDisturbedPairsAreSetAside(t *testing.T) {
	machine, program := record.Reason{Code: judge.OthersTook, Text: "others took 40 %"}, record.Reason{Code: judge.GeneratorLate, Text: "the generator was late"}
	for name, test := range map[string]struct {
		invalid        map[int][]record.Reason // reasons, by the run's place in the order
		compared, runs int
	}{
		"all well":                {nil, 8, 16},
		"a disturbed A":           {map[int][]record.Reason{0: {machine}}, 8, 18},
		"a disturbed B":           {map[int][]record.Reason{3: {{Code: judge.MachineStoodStill, Text: "stood still"}}}, 8, 18},
		"the program's own":       {map[int][]record.Reason{4: {program}}, 8, 16},
		"both":                    {map[int][]record.Reason{4: {machine, program}}, 8, 16},
		"the other's own":         {map[int][]record.Reason{4: {machine}, 5: {program}}, 8, 16},
		"refused, and disturbed":  {map[int][]record.Reason{5: {machine}}, 8, 18},
		"lost events":             {map[int][]record.Reason{5: {machine}}, 8, 16},
		"disturbed all the time":  {map[int][]record.Reason{0: {machine}, 2: {machine}, 4: {machine}, 6: {machine}}, 8, 20},
		"disturbed, and together": {map[int][]record.Reason{14: {machine}, 15: {machine}}, 8, 18},
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			runs := 0
			var order []string
			run := func(c runner.Config) (string, runner.Outcome) {
				dir := filepath.Join(c.Out, "runs", fmt.Sprintf("%03d", runs))
				if err := os.MkdirAll(filepath.Join(dir, "noise-1"), 0o755); err != nil {
					t.Fatal(err)
				}
				order = append(order, filepath.Base(c.Out))
				reasons := test.invalid[runs]
				held, broken, lost := runs != 5, "refused", &audit.Report{}
				if name == "lost events" && !held {
					broken, lost.Lost = "lost", 1
				} else if name != "refused, and disturbed" {
					held = true
				}
				runs++
				err := errors.Join(
					record.WriteIndex(dir, record.Index{Format: record.Format, Results: []record.Entry{{Dir: "noise-1"}}}),
					record.WriteRun(filepath.Join(dir, "noise-1"), record.Run{Format: record.Format, Validity: record.Validity{Valid: reasons == nil, Reasons: reasons},
						Audit: lost, Expectations: []record.Expectation{{Name: broken, Held: held}}}))
				if err != nil {
					t.Fatal(err)
				}
				return dir, 0
			}
			config := runner.Config{Scenarios: []*scenario.Scenario{{Cases: make([]scenario.Case, 1)}}}
			s := sitting{Config: Config{Runner: config, Out: out, Run: run}, stdout: io.Discard, cases: 1, sides: [2]side{{name: "a"}, {name: "b"}}}
			if err := s.turns(t.Context(), 8); err != nil || s.failed != 0 {
				t.Fatalf("%d failed, %v", s.failed, err)
			}
			if runs != test.runs {
				t.Errorf("%d runs, want %d", runs, test.runs)
			}
			// A pair that is run again comes behind all others: the sides go on taking turns.
			for four := range slices.Chunk(order, 4) {
				if got := strings.Join(four, " "); !strings.HasPrefix("a b b a", got) && !strings.HasPrefix("b a a b", got) {
					t.Errorf("order: %s in %v", got, order)
				}
			}
			for _, side := range []string{"a", "b"} {
				if left, err := os.ReadDir(filepath.Join(out, side, "runs")); err != nil || len(left) != test.compared {
					t.Errorf("%s: %d pairs are compared, want %d; %v", side, len(left), test.compared, err)
				}
			}
		})
	}
}
