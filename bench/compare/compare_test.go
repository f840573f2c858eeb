package compare

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekali/bench/result"
	"sekali/bench/result/resulttest"
)

// noisy is a side of n repeats whose figures scatter by 2 % around those of a server that is so much slower.
func noisy(random *rand.Rand, n int, slower float64) group {
	g := group{label: "steady"}
	for range n {
		scatter := func(x float64) float64 { return x * (1 + 0.02*random.NormFloat64()) }
		pointer := func(x float64) *float64 { v := scatter(x); return &v }
		latency := func(x float64) result.Percentiles {
			x *= 1 + slower
			return result.Percentiles{P50: pointer(x), P90: pointer(2 * x), P99: pointer(3 * x), Max: pointer(5 * x)}
		}
		g.summaries = append(g.summaries, result.Summary{
			ThroughputAcceptedPerS: scatter(1e5 / (1 + slower)), ThroughputProcessedPerS: scatter(1e5 / (1 + slower)),
			ThroughputStoredPerS: scatter(8e4 / (1 + slower)), ProcessingLatencyMS: latency(20), ServiceTimeMS: latency(3), ResponseTimeMS: latency(4),
			QueueDepthMean: scatter(500), ServerCPUUSPerStored: pointer(10 * (1 + slower)), BytesWrittenPerStored: pointer(900),
		})
		g.folders = append(g.folders, result.Folder{Run: result.Run{Validity: result.Validity{Valid: true}, Audit: nil}})
	}
	return g
}

func judge(random *rand.Rand, n int, slower float64) Verdict {
	pairs := []pair{{a: noisy(random, n, 0), b: noisy(random, n, slower)}}
	pairs[0].measure()
	correct(pairs)
	for _, m := range pairs[0].metrics {
		if m.judgement() == "worse" {
			return Worse
		}
		if m.test && !m.reachable {
			return NotEnough
		}
	}
	return SameOrBetter
}

// A against A is called worse no more often than alpha allows: 200 times 5 %, and by the binomial law hardly ever
// more than 20.
func TestSameIsNotCalledWorse(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	wrong := 0
	for range 200 {
		if judge(random, 10, 0) != SameOrBetter {
			wrong++
		}
	}
	if wrong > 20 {
		t.Errorf("%d of 200 comparisons of the same with the same were not called the same", wrong)
	}
}

func TestFivePerCentSlowerIsCalledWorse(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	seen := 0
	for range 100 {
		if judge(random, 12, 0.05) == Worse {
			seen++
		}
	}
	if seen < 95 {
		t.Errorf("5 %% slower under 2 %% noise was called worse in %d of 100 comparisons of 12 repeats a side", seen)
	}
	if v := judge(random, 12, -0.05); v != SameOrBetter {
		t.Errorf("5 %% faster is %v", v)
	}
	if v := judge(random, 3, 0.5); v != NotEnough {
		t.Errorf("with 3 repeats a side, half as fast is %v", v)
	}
}

func TestSmallestP(t *testing.T) {
	// The first ones are in benchmath's table of the U test.
	for _, test := range []struct {
		n, m int
		want float64
	}{{1, 1, 1}, {2, 2, 1. / 3}, {3, 3, 0.1}, {5, 5, 2. / 252}, {4, 2, 2. / 15}} {
		if got := smallestP(test.n, test.m); got < test.want*0.999 || got > test.want*1.001 {
			t.Errorf("smallestP(%d, %d) is %v, expected %v", test.n, test.m, got, test.want)
		}
	}
}

// side writes a run of n repeats and returns its folder.
func side(t *testing.T, n int, m resulttest.Model) string {
	t.Helper()
	dir := t.TempDir()
	index := result.Index{ID: filepath.Base(dir)}
	for i := range n {
		m.Repeat, m.Seed = i+1, m.Seed+1
		name := fmt.Sprintf("%s-%d", m.Scenario, m.Repeat)
		if err := resulttest.Write(filepath.Join(dir, name), m); err != nil {
			t.Fatal(err)
		}
		index.Results = append(index.Results, result.Entry{Dir: name, Scenario: m.Scenario})
	}
	if err := result.WriteIndex(dir, index); err != nil {
		t.Fatal(err)
	}
	return dir
}

func change(t *testing.T, dir string, edit func(*result.Run)) {
	t.Helper()
	run, err := result.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	edit(&run)
	if err := result.WriteRun(dir, run); err != nil {
		t.Fatal(err)
	}
}

func compare(t *testing.T, a, b string) (Verdict, string) {
	t.Helper()
	var out bytes.Buffer
	v, err := Run(Config{A: a, B: b, Pictures: t.TempDir()}, &out)
	if err != nil {
		t.Fatal(err)
	}
	return v, out.String()
}

var overload = resulttest.Model{Scenario: "burst", Ack: "journal", Rate: 100, Measured: time.Second, EventsPerS: 4000}

func TestRunsFromTheirFolders(t *testing.T) {
	slower := overload
	slower.EventsPerS, slower.Seed = 3000, 100
	a, b := side(t, 7, overload), side(t, 7, slower)
	if v, out := compare(t, a, b); v != Worse || !strings.Contains(out, "B is worse than A") {
		t.Errorf("a slower server is %v\n%s", v, out)
	}
	if v, out := compare(t, b, a); v != SameOrBetter || !strings.Contains(out, "B is the same as A, or better") {
		t.Errorf("a faster server is %v\n%s", v, out)
	}
	one := filepath.Join(a, "burst-1")
	if v, out := compare(t, one, filepath.Join(b, "burst-1")); v != NotEnough || !strings.Contains(out, "cannot show a difference") {
		t.Errorf("one repeat a side is %v\n%s", v, out)
	}
}

// What must not be compared is compared under a warning, and without a verdict.
func TestWarnings(t *testing.T) {
	for name, test := range map[string]struct {
		edit    func(*result.Run)
		warning string
	}{
		"scenario":   {func(r *result.Run) { r.Scenario.Text += "#" }, "the text of the scenario differs"},
		"other case": {func(r *result.Run) { r.Scenario.Case = "other" }, "the scenarios differ: burst and burst/other"},
		"processor":  {func(r *result.Run) { r.Environment.CPUModel = "other" }, "the processor differs"},
		"filesystem": {func(r *result.Run) { r.Environment.Filesystem = "xfs" }, "the filesystem differs: ext4 and xfs"},
		"durability": {func(r *result.Run) { r.Environment.Store.Synchronous = "off" }, "the durability differs"},
		"invalid":    {func(r *result.Run) { r.Environment.Dirty = true }, "B is INVALID"},
		"unaudited":  {func(r *result.Run) { r.Audit = nil }, "B was not audited"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := side(t, 1, overload), side(t, 1, overload)
			change(t, filepath.Join(b, "burst-1"), test.edit)
			if v, out := compare(t, a, b); v != NotEnough || !strings.Contains(out, "WARNING: "+test.warning) {
				t.Errorf("%v\n%s", v, out)
			}
		})
	}
}

// A side that no longer holds what it claims is worse, whatever its figures are.
func TestBrokenExpectationIsWorse(t *testing.T) {
	a, b := side(t, 1, overload), side(t, 1, overload)
	broken := func(r *result.Run) { r.Expectations[0].Held, r.Expectations[0].Got = false, "3" }
	change(t, filepath.Join(b, "burst-1"), broken)
	if v, out := compare(t, a, b); v != Worse || !strings.Contains(out, "NOT HELD by B: lost: expected 0, got 3") {
		t.Errorf("%v\n%s", v, out)
	}
	change(t, filepath.Join(a, "burst-1"), broken)
	if v, out := compare(t, a, b); v != NotEnough || !strings.Contains(out, "WARNING: neither side holds") {
		t.Errorf("broken on both sides is %v", v)
	}
}

func TestPictureAndErrors(t *testing.T) {
	a, b := side(t, 1, overload), side(t, 1, overload)
	pictures := filepath.Join(t.TempDir(), "new")
	if _, err := Run(Config{A: a, B: b, Pictures: pictures}, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(pictures, "burst.svg"))
	if err != nil || bytes.Count(svg, []byte("burst")) < 2 {
		t.Errorf("the picture does not name both sides (%v)", err)
	}
	if _, err := Run(Config{A: a, B: t.TempDir()}, &bytes.Buffer{}); err == nil {
		t.Error("an empty folder was compared")
	}
	if pairs, alone := match([]group{{label: "a"}, {label: "b"}}, []group{{label: "c"}}); len(pairs) != 0 || len(alone) != 3 {
		t.Errorf("%d pairs, alone %v", len(pairs), alone)
	}
}
