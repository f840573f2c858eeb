package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// side writes a run of n repeats and returns its folder.
func side(t *testing.T, n int, m resulttest.Model) string {
	t.Helper()
	dir := t.TempDir()
	index := record.Index{ID: filepath.Base(dir)}
	for i := range n {
		m.Repeat, m.Seed = i+1, m.Seed+1
		name := fmt.Sprintf("%s-%d", m.Scenario, m.Repeat)
		if err := resulttest.Write(filepath.Join(dir, name), m); err != nil {
			t.Fatal(err)
		}
		index.Results = append(index.Results, record.Entry{Dir: name, Scenario: m.Scenario})
	}
	if err := record.WriteIndex(dir, index); err != nil {
		t.Fatal(err)
	}
	return dir
}

func change(t *testing.T, dir string, edit func(*record.Run)) {
	t.Helper()
	run, err := record.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	edit(&run)
	if err := record.WriteRun(dir, run); err != nil {
		t.Fatal(err)
	}
}

func compare(t *testing.T, a, b string) (Verdict, string) {
	t.Helper()
	var out bytes.Buffer
	result, err := Run(Config{A: a, B: b, Pictures: t.TempDir()}, &out)
	if err != nil {
		t.Fatal(err)
	}
	return result.Verdict, out.String()
}

// finish makes anew what follows from a folder's raw files.
func finish(t *testing.T, dir string) {
	t.Helper()
	if _, err := judge.Finish(dir); err != nil {
		t.Fatal(err)
	}
}

var overload = resulttest.Model{Scenario: "burst", Ack: "journal", Rate: 100, Measured: time.Second, EventsPerS: 4000}

// takeTurns gives the repeats of both sides the times of A B, B A, A B, …
func takeTurns(t *testing.T, a, b string, n int) {
	t.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		for j, dir := range []string{a, b} {
			at := start.Add(time.Duration(2*i+(i+j)%2) * time.Minute)
			change(t, filepath.Join(dir, fmt.Sprintf("burst-%d", i+1)), func(r *record.Run) { r.StartedAt = at })
		}
	}
}

func TestRunsFromTheirFolders(t *testing.T) {
	slower := overload
	slower.EventsPerS, slower.Seed = 3000, 100
	a, b := side(t, 8, overload), side(t, 8, slower)
	for _, design := range []string{"did not take turns", "took turns"} {
		if v, out := compare(t, a, b); v != Worse || !strings.Contains(out, "B is worse than A") || !strings.Contains(out, design) {
			t.Errorf("a slower server is %v\n%s", v, out)
		}
		if v, out := compare(t, b, a); v != SameOrBetter || !strings.Contains(out, "B is the same as A, or better, within 5 %") {
			t.Errorf("a faster server is %v\n%s", v, out)
		}
		takeTurns(t, a, b, 8)
	}
	one := filepath.Join(a, "burst-1")
	if v, out := compare(t, one, filepath.Join(b, "burst-1")); v != NotEnough || !strings.Contains(out, "nothing can be said of any: 5 a side at least") {
		t.Errorf("one repeat a side is %v\n%s", v, out)
	}
	if v, out := compare(t, one, one); v != NotEnough {
		t.Errorf("one repeat and itself is %v\n%s", v, out)
	}
}

// A program against itself: what would be seen, and the verdict's words.
func TestNoiseFloor(t *testing.T) {
	b := overload
	b.Seed += 100 // the same program, and not the same bytes
	aDir, bDir := side(t, 8, overload), side(t, 8, b)
	takeTurns(t, aDir, bDir, 8)
	var out bytes.Buffer
	result, err := Run(Config{A: aDir, B: bDir, Same: true, Margin: 0.15}, &out)
	if err != nil || result.Verdict != SameOrBetter {
		t.Errorf("%v, %v", result, err)
	}
	for _, want := range []string{"smallest effect seen with 8", "repeats a side to see 15 %", "A is the same as itself, within 15 %"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("does not say %q:\n%s", want, out.String())
		}
	}
}

// A deciding metric that one side lacks leaves the verdict open, and is named.
func TestMissingMetric(t *testing.T) {
	a, b := side(t, 8, overload), side(t, 8, overload)
	text, err := os.ReadFile(filepath.Join(b, "burst-8", record.HistogramsFile))
	if err != nil {
		t.Fatal(err)
	}
	var h record.Histograms
	if err := json.Unmarshal(text, &h); err != nil {
		t.Fatal(err)
	}
	h.Windows = nil
	if err := record.WriteHistograms(filepath.Join(b, "burst-8"), h); err != nil {
		t.Fatal(err)
	}
	if v, out := compare(t, a, b); v != NotEnough || !strings.Contains(out, "MISSING: processing_latency_ms_p50: 1 of 8 repeats of B do not have it") {
		t.Errorf("%v\n%s", v, out)
	}
}

// What must not be compared is compared under a warning, and without a verdict.
func TestWarnings(t *testing.T) {
	for name, test := range map[string]struct {
		edit    func(*record.Run)
		warning string
	}{
		"scenario":   {func(r *record.Run) { r.Scenario.Text += "#" }, "the text of the scenario differs"},
		"other case": {func(r *record.Run) { r.Scenario.Case = "other" }, "the scenarios differ: burst and burst/other"},
		"processor":  {func(r *record.Run) { r.Environment.CPUModel = "other" }, "the processor differs"},
		"filesystem": {func(r *record.Run) { r.Environment.Filesystem = "xfs" }, "the filesystem differs: ext4 and xfs"},
		"network": {func(r *record.Run) { r.Environment.Network = &record.Network{MbitPerS: 100, MeasuredMbitPerS: 95} },
			"the network differs: loopback and 100 Mbit/s"},
		"durability": {func(r *record.Run) { r.Environment.Store.Synchronous = "off" }, "the durability differs"},
		"Go version": {func(r *record.Run) { r.Environment.GoVersion = "go1.27" }, "the Go version differs: go1.26 and go1.27"},
		"invalid":    {func(r *record.Run) { r.Environment.Dirty = true }, "B is INVALID"},
		"sync time":  {func(r *record.Run) { r.Environment.Fdatasync.P50US *= 2.5 }, "the disk took"},
		"unaudited":  {func(r *record.Run) { r.Audit = nil }, "B was not audited"},
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

// A profile takes time: a side with one is not compared with a side without.
func TestProfiledOnOneSide(t *testing.T) {
	a, b := side(t, 1, overload), side(t, 1, overload)
	if err := resulttest.AddProfile(filepath.Join(b, "burst-1"), "insert"); err != nil {
		t.Fatal(err)
	}
	if v, out := compare(t, a, b); v != NotEnough || !strings.Contains(out, "WARNING: B was run with profiles") {
		t.Errorf("%v\n%s", v, out)
	}
	if err := resulttest.AddProfile(filepath.Join(a, "burst-1"), "insert"); err != nil {
		t.Fatal(err)
	}
	if _, out := compare(t, a, b); strings.Contains(out, "with profiles") {
		t.Errorf("both have them:\n%s", out)
	}
}

// A side that no longer holds what it claims is worse, whatever its figures are.
func TestBrokenExpectationIsWorse(t *testing.T) {
	a, b := side(t, 1, overload), side(t, 1, overload)
	broken := func(r *record.Run) {
		lost := slices.IndexFunc(r.Expectations, func(e record.Expectation) bool { return e.Name == "lost" })
		r.Expectations[lost].Held, r.Expectations[lost].Got = false, "3"
	}
	change(t, filepath.Join(b, "burst-1"), broken)
	if v, out := compare(t, a, b); v != Worse || !strings.Contains(out, "NOT HELD by B: lost: expected 0, got 3") || !strings.Contains(out, "no profiles") {
		t.Errorf("%v\n%s", v, out)
	}
	change(t, filepath.Join(a, "burst-1"), broken)
	if v, out := compare(t, a, b); v != NotEnough || !strings.Contains(out, "WARNING: neither side holds") {
		t.Errorf("broken on both sides is %v", v)
	}
}

// What A breaks excuses nothing else that B breaks: a loss counts beside a refused attempt of A.
func TestBrokenByName(t *testing.T) {
	a, b := side(t, 2, overload), side(t, 2, overload)
	broken := func(dir, name string) {
		change(t, dir, func(r *record.Run) {
			r.Expectations = append(r.Expectations, record.Expectation{Name: name, Expected: "0", Got: "3"})
		})
	}
	broken(filepath.Join(a, "burst-2"), "refused")
	broken(filepath.Join(b, "burst-1"), "refused")
	if v, out := compare(t, a, b); v != NotEnough || strings.Contains(out, "NOT HELD by B") {
		t.Errorf("refused by both: %v\n%s", v, out)
	}
	broken(filepath.Join(b, "burst-2"), "lost")
	if v, out := compare(t, a, b); v != Worse || !strings.Contains(out, "NOT HELD by B: lost: expected 0, got 3") || strings.Contains(out, "NOT HELD by B: refused") {
		t.Errorf("refused by both, and lost by B: %v\n%s", v, out)
	}
	broken(filepath.Join(a, "burst-1"), "lost")
	if v, out := compare(t, a, b); v != NotEnough {
		t.Errorf("lost by both: %v\n%s", v, out)
	}
}

// together is a folder of these runs.
func together(t *testing.T, runs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, run := range runs {
		if err := os.Rename(run, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A side whose repeats are not of one program is no side of a comparison.
func TestOneProgramASide(t *testing.T) {
	again := overload
	again.Seed = 100
	for _, of := range []string{"A", "B"} {
		a, b := side(t, 8, overload), side(t, 8, again)
		takeTurns(t, a, b, 8)
		for i := range 8 { // the sides differ, as they may
			change(t, filepath.Join(b, fmt.Sprintf("burst-%d", i+1)), func(r *record.Run) { r.Aggregator.Version = "new" })
		}
		var said bytes.Buffer
		if result, err := Run(Config{A: a, B: b, Margin: 0.3}, &said); err != nil || result.Verdict != SameOrBetter {
			t.Errorf("%v, %v\n%s", result.Verdict, err, said.String())
		}
		change(t, filepath.Join(map[string]string{"A": a, "B": b}[of], "burst-5"), func(r *record.Run) { r.Aggregator.Version = "other" })
		said.Reset()
		result, err := Run(Config{A: a, B: b, Margin: 0.3}, &said)
		if err != nil || result.Verdict != NotEnough || strings.Count(said.String(), "WARNING: "+of+" is not one program: version ") != 1 {
			t.Errorf("%s: %v, %v\n%s", of, result.Verdict, err, said.String())
		}
	}
}

// Changes that are not committed forbid a verdict, but not where who asks says of them himself.
func TestUncommitted(t *testing.T) {
	again := overload
	again.Seed = 100
	a, b := side(t, 8, overload), side(t, 8, again)
	takeTurns(t, a, b, 8)
	for i := range 8 {
		change(t, filepath.Join(b, fmt.Sprintf("burst-%d", i+1)), func(r *record.Run) { r.Environment.Dirty = true })
	}
	for uncommitted, want := range map[bool]Verdict{false: NotEnough, true: SameOrBetter} {
		var said bytes.Buffer
		result, err := Run(Config{A: a, B: b, Margin: 0.3, Uncommitted: uncommitted}, &said)
		if err != nil || result.Verdict != want || strings.Contains(said.String(), "INVALID") == uncommitted {
			t.Errorf("%v: %v, %v\n%s", uncommitted, result.Verdict, err, said.String())
		}
	}
	change(t, filepath.Join(b, "burst-1"), func(r *record.Run) { r.Environment.Filesystem = "tmpfs" })
	var said bytes.Buffer
	if result, err := Run(Config{A: a, B: b, Margin: 0.3, Uncommitted: true}, &said); err != nil || result.Verdict != NotEnough || !strings.Contains(said.String(), "B is INVALID: the data folder is on tmpfs") {
		t.Errorf("on tmpfs too: %v, %v\n%s", result.Verdict, err, said.String())
	}
}

// The environment of every repeat is looked at, not that of the first alone.
func TestEveryRepeatsEnvironment(t *testing.T) {
	for _, of := range []string{"A", "B"} {
		a, b := side(t, 3, overload), side(t, 3, overload)
		dir := map[string]string{"A": a, "B": b}[of]
		for _, one := range []string{a, b} {
			for _, repeat := range []string{"burst-1", "burst-2", "burst-3"} {
				change(t, filepath.Join(one, repeat), func(r *record.Run) {
					r.Environment.Affinity, r.Environment.CPUQuota = "0-1", "max 100000"
					r.Surroundings = &record.Surroundings{AggregatorAffinity: "0-1", AggregatorQuota: "max 100000"}
				})
			}
		}
		change(t, filepath.Join(dir, "burst-3"), func(r *record.Run) {
			r.Aggregator.Ack, r.Environment.Cores, r.Environment.Affinity, r.Environment.CPUQuota = "memory", 64, "0", "50000 100000"
			r.Surroundings = &record.Surroundings{AggregatorAffinity: "1", AggregatorQuota: "20000 100000"}
		})
		v, out := compare(t, a, b)
		for _, name := range []string{"durability", "number of cores", "set of cores to run on", "CPU quota", "aggregator's set of cores", "aggregator's CPU quota"} {
			if v != NotEnough || !strings.Contains(out, "WARNING: the "+name+" differs") {
				t.Errorf("%s: %v, %s\n%s", of, v, name, out)
			}
		}
	}
}

// What was refused in an INVALID run is no evidence against B; what the audit found is.
func TestRefusedInAnInvalidRun(t *testing.T) {
	for name, want := range map[string]Verdict{"refused": NotEnough, "unacknowledged": NotEnough, "lost": Worse} {
		a, b := side(t, 1, overload), side(t, 1, overload)
		change(t, filepath.Join(b, "burst-1"), func(r *record.Run) {
			r.Environment.Dirty = true
			if name == "lost" {
				r.Audit.Lost = 3
			}
			r.Expectations = append(r.Expectations, record.Expectation{Name: name, Expected: "0", Got: "3"})
		})
		if v, out := compare(t, a, b); v != want {
			t.Errorf("%s: %v\n%s", name, v, out)
		}
	}
}

// A program against itself, every run INVALID and refusing: there is no verdict, and the last line
// says why a figure that is called worse above it does not count.
func TestSameWithEveryRunInvalid(t *testing.T) {
	slower := overload
	slower.EventsPerS, slower.Seed = 3000, 100
	a, b := side(t, 8, overload), side(t, 8, slower)
	for _, dir := range []string{a, b} {
		for i := range 8 {
			change(t, filepath.Join(dir, fmt.Sprintf("burst-%d", i+1)), func(r *record.Run) {
				r.Environment.Dirty = true
				if dir == b {
					r.Expectations = append(r.Expectations, record.Expectation{Name: "refused", Expected: "0", Got: "9"})
				}
			})
		}
	}
	v, out := compare(t, a, b)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	if v != NotEnough || !strings.Contains(last, "not enough evidence; processing_latency_ms_p50 is called worse (p ") ||
		!strings.Contains(last, ") and does not count, since a WARNING forbids the comparison") ||
		!strings.HasSuffix(last, "; INVALID are 8 of 8 runs of A and 8 of 8 of B, and no figure of their cases decides") {
		t.Errorf("%v\n%s", v, out)
	}
}

// What neither side has decides nothing, and is named: in the table, in the last line and in the
// result.
func TestWithheld(t *testing.T) {
	again := overload
	again.Seed = 100
	a, b := side(t, 8, overload), side(t, 8, again)
	const why = "withheld on both sides: 800 and 800 requests in all repeats together, 1000 needed"
	var out bytes.Buffer
	result, err := Run(Config{A: a, B: b, Margin: 0.3}, &out)
	if err != nil || len(result.Withheld) == 0 || result.Withheld[0] != "burst: response_time_ms_p99: "+why {
		t.Errorf("%q, %v", result.Withheld, err)
	}
	for _, want := range []string{"WITHHELD: response_time_ms_p99 decides nothing: " + why, "or better, within 30 %; response_time_ms_p99 was not looked at: " + why} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("without %q:\n%s", want, out.String())
		}
	}
}

// Where no repeat has requests enough for a p99 of its own, all together have one, which decides:
// two requests in a hundred that wait make B worse, and are seen in no other deciding metric.
func TestTheTailOfAllRepeatsTogether(t *testing.T) {
	again := overload
	again.Seed = 100
	a, b := side(t, 12, overload), side(t, 12, again)
	takeTurns(t, a, b, 12)
	for i := range 12 {
		resulttest.RewriteRequests(t, filepath.Join(b, fmt.Sprintf("burst-%d", i+1)), func(one *ledger.Attempt) {
			if one.Phase == 1 && (int(one.Request)+i)%150 < 3 {
				one.DoneNS += 250e6
			}
		})
		finish(t, filepath.Join(b, fmt.Sprintf("burst-%d", i+1)))
	}
	var out bytes.Buffer
	result, err := Run(Config{A: a, B: b, Margin: 0.3}, &out)
	if err != nil || result.Verdict != Worse || len(result.Withheld) > 0 {
		t.Errorf("%+v, %v", result, err)
	}
	for line := range strings.Lines(out.String()) {
		if fields := strings.Fields(line); len(fields) > 1 && slices.Contains(deciding, fields[0]) && (fields[len(fields)-1] == "worse") != (fields[0] == pooledMetric) {
			t.Errorf("%s", line)
		}
	}
	if want := "(of 1 200 requests in 12 repeats)"; strings.Count(out.String(), want) != 2 {
		t.Errorf("without %q:\n%s", want, out.String())
	}
}

func TestChanceIsNeverNothing(t *testing.T) {
	for p, want := range map[float64]string{0: "<0.001", 0.0004: "<0.001", 0.001: "0.001", 0.05: "0.050"} {
		if got := chance(p); got != want {
			t.Errorf("%v is printed as %q", p, got)
		}
	}
}

// A picture that cannot be drawn takes no verdict away, and no case that comes after it.
func TestPictureThatCannotBeDrawn(t *testing.T) {
	other, slower := overload, overload
	other.Scenario = "steady"
	slower.EventsPerS, slower.Seed = 3000, 100
	a, b := together(t, side(t, 8, overload), side(t, 1, other)), together(t, side(t, 8, slower), side(t, 1, other))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	result, err := Run(Config{A: a, B: b, Pictures: filepath.Join(file, "pictures")}, &said)
	if result.Verdict != Worse || !errors.Is(err, ErrReport) || strings.Count(fmt.Sprint(err), "not a directory") != 2 {
		t.Errorf("%v, %v", result.Verdict, err)
	}
	if !strings.Contains(said.String(), "== steady") || !strings.Contains(said.String(), "\nB is worse than A") {
		t.Errorf("%s", said.String())
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
	if _, err := Run(Config{A: a, B: t.TempDir()}, &bytes.Buffer{}); err == nil || errors.Is(err, ErrReport) {
		t.Error("an empty folder was compared")
	}
	if pairs, alone := match([]group{{label: "a"}, {label: "b"}}, []group{{label: "c"}}); len(pairs) != 0 || len(alone) != 3 {
		t.Errorf("%d pairs, alone %v", len(pairs), alone)
	}
}
