package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
)

// Whatever differs in one repeat of either side, the last as well as the first, is a warning. What
// is the same everywhere is none.
func TestWhatDiffersInOneRepeat(t *testing.T) {
	t.Parallel()
	again := overload
	again.Seed = 100
	edit := func(change func(*record.Run)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { resulttest.RewriteRun(t, dir, change) }
	}
	for name, test := range map[string]struct {
		change  func(t *testing.T, dir string)
		warning string
	}{
		"control":  {edit(func(*record.Run) {}), ""},
		"ack":      {edit(func(r *record.Run) { r.Aggregator.Ack = "memory" }), "the durability differs"},
		"cores":    {edit(func(r *record.Run) { r.Environment.Cores = 64 }), "the number of cores differs"},
		"dedup":    {edit(func(r *record.Run) { r.Environment.Store.Dedup = "runs" }), "the deduplication differs"},
		"layout":   {edit(func(r *record.Run) { r.Environment.Store.Layout = "rows" }), "the layout differs"},
		"flags":    {edit(func(r *record.Run) { r.Aggregator.Flags = append(r.Aggregator.Flags, "-batch-events=1") }), "the list of flags differs"},
		"stream":   {edit(func(r *record.Run) { r.Stream.PayloadBytes = 4000 }), "the stream differs"},
		"load":     {edit(func(r *record.Run) { r.Load.Encoding = "ndjson" }), "the load differs"},
		"rate":     {edit(func(r *record.Run) { r.Phases[1].Rate *= 2 }), "the load differs"},
		"fast":     {edit(func(r *record.Run) { r.Environment.Fdatasync.P50US /= 2.5 }), "the disk took 120 µs to sync before this repeat, 300 in the median"},
		"slow":     {edit(func(r *record.Run) { r.Environment.Fdatasync.P50US *= 2.5 }), "the disk took 750 µs to sync before this repeat, 300 in the median"},
		"raw file": {spoilTrace, "what was measured was changed: "},
		"others": {func(t *testing.T, dir string) {
			resulttest.Rewrite(t, dir, func(s *record.Sample) { s.MachineCPUNS = resulttest.Others(s, 0.13) })
		}, "others took 13 % of the cores during this repeat, 1 % in the median"},
	} {
		for _, of := range []string{"A", "B"} {
			t.Run(name+" "+of, func(t *testing.T) {
				t.Parallel()
				a, b := side(t, 3, overload), side(t, 3, again)
				for _, dir := range []string{a, b} {
					for _, repeat := range []string{"burst-1", "burst-2", "burst-3"} {
						resulttest.Rewrite(t, filepath.Join(dir, repeat), func(s *record.Sample) { s.MachineCPUNS = resulttest.Others(s, 0.01) })
						finish(t, filepath.Join(dir, repeat))
					}
				}
				spoilt := filepath.Join(map[string]string{"A": a, "B": b}[of], "burst-3")
				test.change(t, spoilt)
				if name != "raw file" {
					finish(t, spoilt)
				}
				_, out := compare(t, a, b)
				if (test.warning == "") == strings.Contains(out, "WARNING: ") || !strings.Contains(out, "WARNING: "+test.warning) && test.warning != "" {
					t.Errorf("%q is not said:\n%s", test.warning, out)
				}
			})
		}
	}
}

// TestFewPairsAreLeftOut: of many pairs a few that met another machine decide nothing, and forbid
// nothing. More than a tenth, or one that broke a promise, stay.
func TestFewPairsAreLeftOut(t *testing.T) {
	t.Parallel()
	slower := overload
	slower.EventsPerS, slower.Seed = 3000, 100
	const n, left = 20, "One such pair is left out, whatever its figures: the disk took"
	for name, c := range map[string]struct {
		odd     []int
		breaks  bool
		verdict Verdict
		left    int
	}{
		"none":                       {nil, false, Worse, 0},
		"a tenth":                    {[]int{3, 17}, false, Worse, 2},
		"more":                       {[]int{3, 9, 17}, false, NotEnough, 0},
		"one that lost events is in": {[]int{3}, true, Worse, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fast := slower
			if c.breaks {
				fast = overload // by its figures it would be the same
				fast.Seed = 100
			}
			a, b := side(t, n, overload), side(t, n, fast)
			takeTurns(t, a, b, n)
			for _, i := range c.odd {
				change(t, filepath.Join(b, fmt.Sprintf("burst-%d", i)), func(r *record.Run) {
					r.Environment.Fdatasync.P50US *= 2.5
					if c.breaks {
						r.Expectations = append(r.Expectations, record.Expectation{Name: "lost", Expected: "0", Got: "1"})
					}
				})
			}
			v, out := compare(t, a, b)
			if v != c.verdict || strings.Count(out, left) != c.left || !strings.Contains(out, fmt.Sprintf("n=%d)", n-c.left)) {
				t.Errorf("%v, want %v\n%s", v, c.verdict, out)
			}
		})
	}
}

// TestOthersAreNotLeftOut: what others took during a repeat is no reason to leave it out, for the
// side may have caused it. What the disk was before it is.
func TestOthersAreNotLeftOut(t *testing.T) {
	const n = 20
	side := func() (g group) {
		for range n {
			share := 0.01
			f := record.Folder{Run: record.Run{Validity: record.Validity{Valid: true}}}
			f.Run.Environment.Fdatasync.P50US = 300
			g.folders, g.summaries = append(g.folders, f), append(g.summaries, record.Summary{OtherCPUShare: &share})
		}
		return g
	}
	p := pair{a: side(), b: side(), paired: true}
	*p.b.summaries[3].OtherCPUShare = 0.2
	p.b.folders[7].Run.Environment.Fdatasync.P50US = 900
	p.leaveOut()
	if len(p.leftOut) != 1 || !strings.HasPrefix(p.leftOut[0], "the disk took 900") || len(p.a.folders) != n-1 || len(p.moments()) != 1 {
		t.Errorf("left out: %q; %d pairs; still odd: %+v", p.leftOut, len(p.a.folders), p.moments())
	}
}

func spoilTrace(t *testing.T, dir string) {
	path := filepath.Join(dir, record.HistogramsFile)
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(text, ' '), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A repeat that is a copy of another was not a run of its own.
func TestTheSameRunTwice(t *testing.T) {
	t.Parallel()
	a, b := side(t, 1, overload), side(t, 1, overload)
	if _, out := compare(t, a, b); !strings.Contains(out, "are the same run") {
		t.Errorf("%s", out)
	}
}
