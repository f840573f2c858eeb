package compare

import (
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
