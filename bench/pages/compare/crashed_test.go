package compare

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sekali/bench/record"
)

// leaveOut has a run's index say that a case came to no result.
func leaveOut(t *testing.T, dir, code, why string) {
	t.Helper()
	index, err := record.ReadIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	index.LeftOut = append(index.LeftOut, record.LeftOut{Scenario: "kill", Case: "journal", Repeat: 1, Code: code, Why: why})
	if err := record.WriteIndex(dir, index); err != nil {
		t.Fatal(err)
	}
}

// A case of B that came to no result is no evidence for B, whatever the others say: also where
// nothing is left of its run. What was skipped, and what A lacks, says nothing of B.
func TestCrashedCases(t *testing.T) {
	again := overload
	again.Seed = 100
	const crashed = "failed: the aggregator ended by itself"
	for name, test := range map[string]struct {
		of, code, why string
		alone         bool // the run has no other case
		want          Verdict
	}{
		"B beside others": {"B", record.LeftFailed, crashed, false, NotEnough},
		"B alone":         {"B", record.LeftFailed, crashed, true, NotEnough},
		"B skipped":       {"B", record.LeftSkipped, "skipped: strace is not installed", false, SameOrBetter},
		"A":               {"A", record.LeftFailed, crashed, false, SameOrBetter},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := side(t, 8, overload), side(t, 8, again)
			takeTurns(t, a, b, 8)
			at := map[string]string{"A": a, "B": b}[test.of]
			if test.alone {
				at = side(t, 0, overload)
			}
			leaveOut(t, at, test.code, test.why)
			if test.alone {
				b = together(t, b, at)
			}
			var said bytes.Buffer
			result, err := Run(Config{A: a, B: b, Margin: 0.3}, &said)
			if err != nil || result.Verdict != test.want {
				t.Errorf("%v, %v\n%s", result.Verdict, err, said.String())
			}
			lines := strings.Split(strings.TrimSpace(said.String()), "\n")
			if named := strings.Contains(lines[len(lines)-1], "B came to no result in kill/journal"); named != (test.want == NotEnough) {
				t.Errorf("the last line: %s", lines[len(lines)-1])
			}
			if want := "NO RESULT of " + test.of + ": kill/journal, repeat 1: " + test.why + "\n"; strings.Contains(said.String(), want) != (test.why == crashed) {
				t.Errorf("%q:\n%s", want, said.String())
			}
		})
	}
}

// A run that was killed has an index, of what it had measured by then: that it is not whole is said
// once, and once it is whole no more.
func TestInterruptedRun(t *testing.T) {
	a, b := side(t, 2, overload), side(t, 2, overload)
	index, err := record.ReadIndex(b)
	if err != nil {
		t.Fatal(err)
	}
	index.Planned = 9
	for _, ended := range []time.Time{{}, time.Now()} {
		index.FinishedAt = ended
		if err := record.WriteIndex(b, index); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		if _, err := Run(Config{A: a, B: b}, &said); err != nil {
			t.Fatal(err)
		}
		want := map[bool]int{true: 1, false: 0}[ended.IsZero()]
		line := "INTERRUPTED, or still under way: B, " + b + ", of which 2 of 9 runs had ended\n"
		if strings.Count(said.String(), line) != want || strings.Count(said.String(), "INTERRUPTED") != want {
			t.Errorf("ended %v: want %d times %q\n%s", ended, want, line, said.String())
		}
	}
}
