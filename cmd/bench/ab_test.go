package main

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekali/bench/memoryserver"
	"sekali/bench/result"
	"sekali/bench/runner"
	"sekali/bench/scenario"
)

func TestABUsage(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"no A":          {[]string{"-scenario", "noise"}, "-a and -scenario are needed"},
		"no scenario":   {[]string{"-a", "x"}, "-a and -scenario are needed"},
		"no repeat":     {[]string{"-a", "x", "-scenario", "x", "-repeat", "0"}, "-repeat must be at least 1, not 0"},
		"no margin":     {[]string{"-a", "x", "-scenario", "x", "-margin", "0"}, "more than 0 and less than 100"},
		"no number":     {[]string{"-a", "x", "-scenario", "x", "-margin", "NaN"}, "more than 0 and less than 100"},
		"not a program": {[]string{"-a", "/nonexistent", "-scenario", write(t, "tiny.yaml", scenarioText), "-out", t.TempDir()}, "a, 1 of 1 was not begun"},
	} {
		if exit, _, stderr := call(append([]string{"ab"}, test.args...)...); exit != 2 || !strings.Contains(stderr, test.says) {
			t.Errorf("%s: exit %d, %s", name, exit, stderr)
		}
	}
}

// TestABTakesTurns runs a server against itself: A B, B A, and the comparison sees that they took
// turns.
func TestABTakesTurns(t *testing.T) {
	server := httptest.NewServer(memoryserver.New())
	defer server.Close()
	out := t.TempDir()
	exit, stdout, stderr := call("ab", "-a", server.URL, "-scenario", write(t, "tiny.yaml", scenarioText), "-repeat", "2", "-out", out)
	if exit != 3 {
		t.Errorf("exit %d, %s%s", exit, stdout, stderr)
	}
	var order []string
	for line := range strings.Lines(stdout) {
		if side, _, ok := strings.Cut(line, " of 2\n"); ok {
			order = append(order, side)
		}
	}
	if got := strings.Join(order, "; "); got != "a, 1; b, 1; b, 2; a, 2" {
		t.Errorf("order: %s", got)
	}
	for _, want := range []string{"The sides took turns", "Noise floor", "A against itself: not enough evidence"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("does not say %q:\n%s", want, stdout)
		}
	}
	pictures, err := filepath.Glob(filepath.Join(out, "runs", "ab-*", "pictures", "tiny.svg"))
	if err != nil || len(pictures) != 1 {
		t.Errorf("pictures: %q (%v)", pictures, err)
	}
	if _, err := os.Stat(filepath.Dir(pictures[0])); err != nil {
		t.Error(err)
	}
}

// TestABSetsDisturbedPairsAside: what the machine did to either side costs a pair, what a program
// did costs the evidence.
func TestABSetsDisturbedPairsAside(t *testing.T) {
	const machine, program = "others took 40 % of all cores, the bound is 15 %", "the generator was late: longest of planned to sent is 90 ms, the bound is 50 ms"
	for name, test := range map[string]struct {
		invalid        map[int][]string // reasons, by the run's place in the order
		compared, runs int
	}{
		"all well":                {nil, 8, 16},
		"a disturbed A":           {map[int][]string{0: {machine}}, 8, 18},
		"a disturbed B":           {map[int][]string{3: {"the machine stood still for 400 ms, the bound is 250 ms"}}, 8, 18},
		"the program's own":       {map[int][]string{4: {program}}, 8, 16},
		"both":                    {map[int][]string{4: {machine, program}}, 8, 16},
		"the other's own":         {map[int][]string{4: {machine}, 5: {program}}, 8, 16},
		"lost events":             {map[int][]string{5: {machine}}, 8, 16},
		"disturbed all the time":  {map[int][]string{0: {machine}, 2: {machine}, 4: {machine}, 6: {machine}}, 8, 20},
		"disturbed, and together": {map[int][]string{14: {machine}, 15: {machine}}, 8, 18},
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			runs := 0
			run := func(c runner.Config) (string, int) {
				dir := filepath.Join(c.Out, "runs", fmt.Sprintf("%03d", runs))
				if err := os.MkdirAll(filepath.Join(dir, "noise-1"), 0o755); err != nil {
					t.Fatal(err)
				}
				// A pair that is run again comes behind all others: the sides go on taking turns.
				if want := []string{"a", "b", "b", "a"}[runs%4]; filepath.Base(c.Out) != want {
					t.Errorf("run %d is of %s, want %s", runs, filepath.Base(c.Out), want)
				}
				reasons := test.invalid[runs]
				held := name != "lost events" || runs != 5
				runs++
				err := errors.Join(
					result.WriteIndex(dir, result.Index{Format: result.Format, Results: []result.Entry{{Dir: "noise-1"}}}),
					result.WriteRun(filepath.Join(dir, "noise-1"), result.Run{Format: result.Format, Validity: result.Validity{Valid: reasons == nil, Reasons: reasons},
						Expectations: []result.Expectation{{Name: "lost", Held: held}}}))
				if err != nil {
					t.Fatal(err)
				}
				return dir, 0
			}
			config := runner.Config{Repeat: 8, Scenarios: []*scenario.Scenario{{Cases: make([]scenario.Case, 1)}}}
			failed, err := turns(t.Context(), config, [2]side{{"a", "x"}, {"b", "x"}}, out, io.Discard, run)
			if err != nil || failed != 0 {
				t.Fatalf("%d failed, %v", failed, err)
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
