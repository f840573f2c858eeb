package ab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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

// TestRevisions: a side may be a revision, whose aggregator is built, while what is not committed
// stays what it is; or a folder, which is built with what is not committed.
func TestRevisions(t *testing.T) {
	repository := t.TempDir()
	t.Chdir(repository)
	say := func(text string) {
		t.Helper()
		main := fmt.Sprintf("package main\n\nvar version string\n\nfunc main() { println(%q, version) }\n", text)
		if err := errors.Join(os.MkdirAll("cmd/aggregator", 0o755), os.WriteFile("cmd/aggregator/main.go", []byte(main), 0o644),
			os.WriteFile("go.mod", []byte("module tiny\n\ngo 1.26\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	commit := func() {
		t.Helper()
		for _, args := range [][]string{{"add", "-A"}, {"-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "x"}} {
			if _, err := git(t.Context(), ".", nil, args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := git(t.Context(), ".", nil, "init", "-q"); err != nil {
		t.Fatal(err)
	}
	say("first")
	commit()
	say("second")
	commit()
	say("third")
	for given, want := range map[string]string{"HEAD~1": "first", "HEAD": "second", ".": "third"} {
		found, err := find(context.Background(), given, filepath.Join(t.TempDir(), "programs"))
		if err != nil {
			t.Fatalf("%s: %v", given, err)
		}
		said, err := exec.Command(found.Program).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(said), want+" ") {
			t.Errorf("%s says %q, %v", given, said, err)
		}
		if found.Commit == "" || !strings.Contains(string(said), found.Commit) {
			t.Errorf("%s: commit %q, the program says %q", given, found.Commit, said)
		}
	}
	if left, err := git(t.Context(), ".", nil, "status", "--porcelain"); err != nil || left != "M cmd/aggregator/main.go" {
		t.Errorf("the repository has %q, %v", left, err)
	}
	if _, err := find(t.Context(), "HEAD~9", t.TempDir()); err == nil || !strings.Contains(err.Error(), "no revision of git here") {
		t.Errorf("an unknown revision: %v", err)
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
			run := func(c runner.Config) (string, runner.Outcome) {
				dir := filepath.Join(c.Out, "runs", fmt.Sprintf("%03d", runs))
				if err := os.MkdirAll(filepath.Join(dir, "noise-1"), 0o755); err != nil {
					t.Fatal(err)
				}
				// A pair that is run again comes behind all others: the sides go on taking turns.
				if want := []string{"a", "b", "b", "a"}[runs%4]; filepath.Base(c.Out) != want {
					t.Errorf("run %d is of %s, want %s", runs, filepath.Base(c.Out), want)
				}
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
			for _, side := range []string{"a", "b"} {
				if left, err := os.ReadDir(filepath.Join(out, side, "runs")); err != nil || len(left) != test.compared {
					t.Errorf("%s: %d pairs are compared, want %d; %v", side, len(left), test.compared, err)
				}
			}
		})
	}
}
