package report

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	faulting "sekali/bench/experiment/faults"
	"sekali/bench/figures"
	"sekali/bench/internal/audit"
	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
)

var update = flag.Bool("update", false, "make testdata/root anew from the model; read its REPORT.md before committing it")

// golden is a small repository with a report of made-up figures: raw files, REPORT.md, pictures and
// README.md.
const golden = "testdata/root"

// models are what golden's reference consists of.
func models() []resulttest.Model {
	const second = time.Second
	base := resulttest.Model{Ack: "journal", Rate: 60, Measured: 2 * second, EventsPerS: 8000, Seed: 1, Repeat: 1}
	with := func(scenario, name string, change func(*resulttest.Model)) resulttest.Model {
		m := base
		m.Scenario, m.Case = scenario, name
		change(&m)
		return m
	}
	level := func(ack string) func(*resulttest.Model) { return func(m *resulttest.Model) { m.Ack = ack } }
	killed := func(ack string) func(*resulttest.Model) {
		return func(m *resulttest.Model) {
			m.Ack, m.Rate, m.Kill, m.Down, m.Seed = ack, 200, 2*second, second/4, 7
		}
	}
	overload := func(repeat int) func(*resulttest.Model) {
		return func(m *resulttest.Model) {
			m.Rate, m.Repeat, m.Seed, m.EventsPerS = 250, repeat, uint64(repeat), 8000+200*float64(repeat)
		}
	}
	return []resulttest.Model{
		with("ack-levels", "memory", level("memory")), with("ack-levels", "journal", level("journal")), with("ack-levels", "store", level("store")),
		with("burst", "", overload(1)), with("burst", "", overload(2)), with("burst", "", overload(3)),
		with("kill", "memory", killed("memory")), with("kill", "journal", killed("journal")),
		with("course-report", "batched", func(m *resulttest.Model) { m.Rate, m.Measured = 20, second }),
		with("duplicates", "history", func(*resulttest.Model) {}), with("growth", "", overload(1)),
		with("cluster", "alone-journal", func(*resulttest.Model) {}), with("cluster", "alone-store", level("store")),
	}
}

func makeGolden(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(golden); err != nil {
		t.Fatal(err)
	}
	writeAll(t, golden, models())
	readme := "# A README with synthetic figures, for a test\n\nbefore\n" + headlineBegin + headlineEnd + "\nafter\n"
	if err := os.WriteFile(filepath.Join(golden, readmeFile), []byte(readme), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(golden); err != nil {
		t.Fatal(err)
	}
}

// writeAll writes all kinds of raw files below root.
func writeAll(t *testing.T, root string, models []resulttest.Model) {
	t.Helper()
	reference := filepath.Join(root, filepath.FromSlash(referenceDir))
	writeReference(t, root, models)
	writeRecords(t, reference)
	yardsticks, err := figures.Yardsticks(syntheticYardsticks())
	if err == nil {
		err = record.WriteYardsticks(reference, yardsticks)
	}
	if err == nil {
		err = record.WriteSenders(reference, syntheticSenders())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func writeReference(t *testing.T, root string, models []resulttest.Model) {
	t.Helper()
	index := record.Index{ID: "synthetic", Planned: len(models)}
	reference := filepath.Join(root, filepath.FromSlash(referenceDir), "synthetic")
	for i, m := range models {
		m.Sitting = &record.Sitting{Number: i + 1, Of: len(models)}
		dir := m.Scenario
		if m.Case != "" {
			dir += "-" + m.Case
		}
		dir += fmt.Sprintf("-%d", m.Repeat)
		if err := resulttest.Write(filepath.Join(reference, dir), m); err != nil {
			t.Fatal(err)
		}
		run, err := record.ReadRun(filepath.Join(reference, dir))
		if err != nil {
			t.Fatal(err)
		}
		index.StartedAt, index.FinishedAt, index.Environment = run.StartedAt, run.StartedAt, run.Environment
		index.Results = append(index.Results, entryOf(dir, run))
	}
	if err := record.WriteIndex(reference, index); err != nil {
		t.Fatal(err)
	}
}

// root is a copy of golden that a test may spoil.
func root(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func verify(t *testing.T, dir string) (bool, string) {
	t.Helper()
	var out bytes.Buffer
	same, err := Verify(dir, &out)
	if err != nil {
		t.Fatal(err)
	}
	return same, out.String()
}

// The golden test: what is committed under testdata is what the code makes of the raw files there.
func TestGolden(t *testing.T) {
	if *update {
		makeGolden(t)
	}
	if same, out := verify(t, golden); !same {
		t.Errorf("the golden report differs; -update makes it anew\n%s", out)
	}
}

func TestWriteIsWhatVerifyExpects(t *testing.T) {
	dir := root(t)
	for _, name := range []string{reportFile, readmeFile} {
		spoil(t, filepath.Join(dir, name), func(text []byte) []byte { return bytes.Replace(text, []byte("events/s"), []byte("events/h"), 1) })
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(picturesDir), "old.svg"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if same, out := verify(t, dir); same || strings.Count(out, "\n") != 3 {
		t.Errorf("expected three differences, got\n%s", out)
	}
	if _, err := Write(dir); err != nil {
		t.Fatal(err)
	}
	if same, out := verify(t, dir); !same {
		t.Error(out)
	}
}

func spoil(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(bytes.Clone(text))
	if bytes.Equal(text, changed) {
		t.Fatalf("%s was not changed", path)
	}
	if err := os.WriteFile(path, changed, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every digit of REPORT.md is one that Verify would miss if it were another.
func TestEveryDigitOfTheReportIsVerified(t *testing.T) {
	dir := root(t)
	path := filepath.Join(dir, reportFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := render(dir)
	if err != nil {
		t.Fatal(err)
	}
	digits := 0
	for i, c := range whole {
		if c < '0' || c > '9' {
			continue
		}
		digits++
		changed := bytes.Clone(whole)
		changed[i] = '0' + (c-'0'+1)%10
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			t.Fatal(err)
		}
		differences, err := verifyFiles(dir, files)
		if err != nil {
			t.Fatal(err)
		}
		if len(differences) != 1 || !strings.HasPrefix(differences[0].Error(), reportFile+": line ") {
			t.Fatalf("digit at %d changed: %v", i, differences)
		}
	}
	if digits < 300 {
		t.Errorf("the report has only %d digits", digits)
	}
}

func TestAnyByteOfARawFileIsVerified(t *testing.T) {
	for _, name := range record.RawFiles {
		t.Run(name, func(t *testing.T) {
			dir := root(t)
			path := filepath.Join(dir, filepath.FromSlash(referenceDir), "synthetic", "burst-2", name)
			spoil(t, path, func(text []byte) []byte {
				text[len(text)/2] ^= 1
				return text
			})
			same, out := verify(t, dir)
			if same || !strings.Contains(out, name) {
				t.Errorf("not named:\n%s", out)
			}
		})
	}
}

// What follows from the raw files is verified where it lies too, and made anew by Write; but not
// from raw files that were changed.
func TestDerivedFilesOfAFolder(t *testing.T) {
	dir := root(t)
	folder := filepath.Join(dir, filepath.FromSlash(referenceDir), "synthetic", "burst-1")
	if err := WritePage(folder); err != nil {
		t.Fatal(err)
	}
	if same, out := verify(t, dir); !same {
		t.Fatal(out)
	}
	for _, name := range []string{record.BenchFile, record.PageFile} {
		spoil(t, filepath.Join(folder, name), func(text []byte) []byte { return bytes.Replace(text, []byte("stored"), []byte("stared"), 1) })
		if same, out := verify(t, dir); same || !strings.Contains(out, filepath.Join("burst-1", name)+": line ") {
			t.Errorf("not named:\n%s", out)
		}
		if _, err := Write(dir); err != nil {
			t.Fatal(err)
		}
		if same, out := verify(t, dir); !same {
			t.Error(out)
		}
	}
	spoil(t, filepath.Join(folder, record.HistogramsFile), func(text []byte) []byte { return append(text, ' ') })
	if _, err := Write(dir); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("written from a raw file that was changed: %v", err)
	}
}

// A profile is of the report, and so has its hash.
func TestProfilesAreVerified(t *testing.T) {
	dir := root(t)
	folder := filepath.Join(dir, filepath.FromSlash(referenceDir), "synthetic", "burst-1")
	profiles := filepath.Join(folder, record.ProfilesDir)
	if err := os.Mkdir(profiles, 0o755); err != nil {
		t.Fatal(err)
	}
	// Of a kind that no table is made of: only the hash sees it.
	path := filepath.Join(profiles, "threads.pb.gz")
	if err := os.WriteFile(path, []byte("a profile"), 0o644); err != nil {
		t.Fatal(err)
	}
	if same, out := verify(t, dir); same || !strings.Contains(out, "threads.pb.gz") {
		t.Errorf("one more is not named:\n%s", out)
	}
	if _, err := judge.Finish(folder); err != nil {
		t.Fatal(err)
	}
	if same, out := verify(t, dir); !same {
		t.Fatal(out)
	}
	spoil(t, path, bytes.ToUpper)
	if same, out := verify(t, dir); same || !strings.Contains(out, "threads.pb.gz") {
		t.Errorf("not named:\n%s", out)
	}
}

// A figure that is changed in run.json, and a raw file that is made to fit its hash again, are
// caught too.
func TestForgedRunFileIsVerified(t *testing.T) {
	for name, forge := range map[string]func(*record.Run){
		"summary":  func(r *record.Run) { *r.Summary.ThroughputStoredPerS++ },
		"validity": func(r *record.Run) { r.Environment.Dirty = true },
		"audit":    func(r *record.Run) { r.Audit.Lost++ },
		"SHA-256":  func(r *record.Run) { r.Files[0].SHA256 = strings.Repeat("0", 64) },
		"phases":   func(r *record.Run) { r.Phases[0].Measured = true },
	} {
		t.Run(name, func(t *testing.T) {
			dir := root(t)
			folder := filepath.Join(dir, filepath.FromSlash(referenceDir), "synthetic", "burst-1")
			run, err := record.ReadRun(folder)
			if err != nil {
				t.Fatal(err)
			}
			forge(&run)
			if err := record.WriteRun(folder, run); err != nil {
				t.Fatal(err)
			}
			if same, out := verify(t, dir); same || !strings.Contains(out, "burst-1") {
				t.Errorf("not named:\n%s", out)
			}
		})
	}
}

// A run with profiles is shown beside those without, and is not in their figures; alone, it is all
// there is.
func TestProfiledRunsAreNotInTheFigures(t *testing.T) {
	dir := root(t)
	reference := filepath.Join(dir, filepath.FromSlash(referenceDir))
	burst := func(repeats ...int) *group {
		for _, n := range repeats {
			if err := resulttest.AddProfile(filepath.Join(reference, "synthetic", fmt.Sprintf("burst-%d", n)), "insert"); err != nil {
				t.Fatal(err)
			}
		}
		s, err := readSet(reference)
		if err != nil {
			t.Fatal(err)
		}
		return s.find("burst").Cases[0]
	}
	if g := burst(2); len(g.Repeats) != 2 || len(g.Profiled) != 1 || strings.Contains(g.Runs(), "burst-2") || !strings.Contains(g.Apart(), "burst-2") {
		t.Errorf("%s; apart: %s", g.Runs(), g.Apart())
	}
	if _, err := Write(dir); err != nil {
		t.Fatal(err)
	}
	text := allText(t, dir)
	if !bytes.Contains(text, []byte("not in the figures: [burst-2]")) || !bytes.Contains(text, []byte("its end ([burst-2]")) {
		t.Errorf("the profile is not shown, or not said to be apart")
	}
	if g := burst(1, 3); len(g.Repeats) != 3 || len(g.Profiled) != 0 {
		t.Errorf("%s; apart: %s", g.Runs(), g.Apart())
	}
}

// allText is REPORT.md with the pages that it leads to.
func allText(t *testing.T, dir string) []byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pagesDir), "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range append(names, filepath.Join(dir, reportFile)) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	return all
}

// The first table has an answer for each thing that the set has.
func TestAnswers(t *testing.T) {
	s, err := readSet(filepath.Join(golden, filepath.FromSlash(referenceDir)))
	if err != nil {
		t.Fatal(err)
	}
	answers := s.answersTable()
	for _, fact := range []string{"Kept", "Control", "Faults", "A cluster of three", "Soak", "Duplicates", "p99", "Throughput", "Other systems"} {
		if !strings.Contains(answers, fact) {
			t.Errorf("%q is not said", fact)
		}
	}
}

// A person reads two hundred lines; what is more stands in the pages.
func TestReportIsShort(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("../../..", reportFile))
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(text, []byte("\n")); lines > 200 {
		t.Errorf("REPORT.md has %d lines", lines)
	}
}

func TestUnauditedRunCannotEnterTheReport(t *testing.T) {
	dir := root(t)
	folder := filepath.Join(dir, filepath.FromSlash(referenceDir), "synthetic", "burst-1")
	run, err := record.ReadRun(folder)
	if err != nil {
		t.Fatal(err)
	}
	run.Audit = nil
	if err := record.WriteRun(folder, run); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir); err == nil || !strings.Contains(err.Error(), "not audited") {
		t.Errorf("got %v", err)
	}
}

// An invalid run, a broken expectation and a failed check are said where the case's figures are.
func TestWhatDidNotHoldIsSaid(t *testing.T) {
	dir := root(t)
	folder := filepath.Join(dir, filepath.FromSlash(referenceDir), "synthetic", "kill-journal-1")
	run, err := record.ReadRun(folder)
	if err != nil {
		t.Fatal(err)
	}
	run.Environment.Race = true
	lost := slices.IndexFunc(run.Expectations, func(e record.Expectation) bool { return e.Name == "lost" })
	run.Expectations[lost].Held, run.Expectations[lost].Got = false, "12"
	stored := slices.IndexFunc(run.Audit.Checks, func(c audit.Check) bool { return c.Name == "unique_processed" })
	run.Audit.Checks[stored].Held = false
	if err := record.WriteRun(folder, run); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir); err != nil {
		t.Fatal(err)
	}
	text := allText(t, dir)
	for _, want := range []string{"**INVALID**: built with the race detector", "**not held: lost: expected 0, got 12**", "**unique_processed is",
		"| [kill/journal](kill.md) | **FAILED** |"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the report does not say %q", want)
		}
	}
}

// TestVerdictOfACase: it is that of `bench run`, of the worst repeat.
func TestVerdictOfACase(t *testing.T) {
	of := func(valid bool, broken string) repeat {
		run := record.Run{Validity: record.Validity{Valid: valid}, Audit: &audit.Report{}}
		if !valid {
			run.Validity.Reasons = []record.Reason{{Code: "generator_stalled", Text: "it stood still"}}
		}
		for _, name := range []string{"lost", "refused"} {
			run.Expectations = append(run.Expectations, record.Expectation{Name: name, Held: name != broken})
		}
		if broken == "lost" {
			run.Audit.Lost = 12
		}
		return repeat{Run: run}
	}
	for _, c := range []struct {
		repeats []repeat
		want    string
	}{
		{[]repeat{of(true, ""), of(true, "")}, "VALID"},
		{[]repeat{of(true, ""), of(true, "refused")}, "**FAILED**"},
		{[]repeat{of(true, "lost")}, "**FAILED**"},
		{[]repeat{of(true, ""), of(false, "")}, "**INVALID**"},
		{[]repeat{of(false, "refused")}, "**INVALID**"}, // the machine may have done it
		{[]repeat{of(false, "lost"), of(true, "")}, "**FAILED**"},
	} {
		if got := (&group{Repeats: c.repeats}).verdict(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.repeats, got, c.want)
		}
	}
}

// TestInterruptedSitting: the report does not show it as a whole one.
func TestInterruptedSitting(t *testing.T) {
	whole := sitting{Index: record.Index{ID: "a", Planned: 1, FinishedAt: time.Now()}, dir: "a", runs: []record.Run{{}}}
	killed := whole
	killed.FinishedAt = time.Time{}
	if text := whole.sentence(1, nil); strings.Contains(text, "interrupted") {
		t.Error(text)
	}
	if text := killed.sentence(1, nil); !strings.Contains(text, "**interrupted**") {
		t.Error(text)
	}
}

// Every link of the report and of its pages leads to something that is there.
func TestLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(golden, filepath.FromSlash(pagesDir), "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range append(pages, filepath.Join(golden, reportFile)) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllSubmatch(text, -1) {
			seen++
			to := string(link[1])
			path := filepath.Join(filepath.Dir(name), filepath.FromSlash(to))
			if _, doc, found := strings.Cut("/"+to, "/docs/"); found {
				path = filepath.Join("../../../docs", doc) // of this repository, not of the golden one
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d links", seen)
	}
}

func TestRoundStep(t *testing.T) {
	for total, want := range map[uint64]uint64{0: 1, 7: 1, 19: 1, 20: 2, 49: 2, 50: 5, 100: 10, 14_000: 1000, 20_080_000: 2_000_000} {
		if got := roundStep(total); got != want {
			t.Errorf("%d: %d, expected %d", total, got, want)
		}
	}
}

func TestExact(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1 000", 1234567: "1 234 567"} {
		if got := exact(n); got != want {
			t.Errorf("exact(%d) is %q", n, got)
		}
	}
}

func TestWaitsAsMultiplesOfASync(t *testing.T) {
	waited := func(ms, syncUS float64) repeat {
		r := repeat{}
		r.Summary.ResponseTimeMS.P50 = &ms
		r.Run.Environment.Fdatasync.P50US = syncUS
		return r
	}
	for _, c := range []struct {
		repeats  []repeat
		p50, p99 string
	}{
		{[]repeat{waited(1.2, 300)}, "4", withheld},
		{[]repeat{waited(1.2, 300), waited(1, 500), waited(3, 500)}, "4 (2 to 6)", withheld},
		{[]repeat{waited(1.2, 300), waited(1.2, 0)}, withheld, withheld},
	} {
		g := &group{Repeats: c.repeats}
		if p50, p99 := syncRows[0].cell(g), syncRows[1].cell(g); p50 != c.p50 || p99 != c.p99 {
			t.Errorf("%s and %s, want %s and %s", p50, p99, c.p50, c.p99)
		}
	}
}

// TestSeenFromOutside: the table of the audit shows between what a reader outside saw events wait,
// and nothing where none looked.
func TestSeenFromOutside(t *testing.T) {
	of := func(bounded uint64, least, most float64) repeat {
		waits := &audit.Waits{Bounded: bounded, Share: 0.03, AtLeastMS: audit.Quantiles{P50: least}, AtMostMS: audit.Quantiles{P50: most}}
		return repeat{Run: record.Run{Audit: &audit.Report{Waits: waits}}}
	}
	for _, c := range []struct {
		repeats      []repeat
		waits, share string
	}{
		{[]repeat{of(1000, 12, 70)}, "12 / 70", "0.03"},
		{[]repeat{of(1000, 12, 70), of(1000, 14, 70)}, "13 (12 to 14) / 70", "0.03"},
		{[]repeat{of(0, 0, 0)}, withheld, withheld},
		{[]repeat{{Run: record.Run{Audit: &audit.Report{}}}}, withheld, withheld},
	} {
		g := &group{Repeats: c.repeats}
		if waits, share := outsideRows[0].cell(g), outsideRows[3].cell(g); waits != c.waits || share != c.share {
			t.Errorf("%q and %q, want %q and %q", waits, share, c.waits, c.share)
		}
	}
}

// TestMeasured: a row of all scenarios says the days and the commits of its repeats, each once.
func TestMeasured(t *testing.T) {
	of := func(day int, commit string) repeat {
		return repeat{Run: record.Run{StartedAt: time.Date(2026, 11, day, 23, 0, 0, 0, time.UTC), Environment: record.Environment{Commit: commit}}}
	}
	g := group{Repeats: []repeat{of(24, "12d54d7"), of(28, "8ab4f88"), of(28, "8ab4f88"), of(28, "fe7acf5")}}
	if got, want := g.measured(), "2026-11-24, 12d54d7; 2026-11-28, 8ab4f88; 2026-11-28, fe7acf5"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestDroppedOfSent: where requests had no answer the number sent is a range, which must not read
// as if the dropped ones were of its least.
func TestDroppedOfSent(t *testing.T) {
	of := func(dropped, least, most uint64) repeat {
		r := repeat{Run: record.Run{Audit: &audit.Report{}}}
		r.Summary.DuplicateEvents = dropped
		r.Run.Audit.Bounds.DuplicatesMin, r.Run.Audit.Bounds.DuplicatesMax = least, most
		return r
	}
	for want, repeats := range map[string][]repeat{
		"60 000 of 60 000":                  {of(30000, 30000, 30000), of(30000, 30000, 30000)},
		"194 421 (sent: 21 873 to 295 160)": {of(94421, 11873, 145160), of(100000, 10000, 150000)},
	} {
		if got := droppedOfSent(&group{Repeats: repeats}); got != want {
			t.Errorf("%q, expected %q", got, want)
		}
	}
}

// TestDuplicatedNote: what a control stored twice is explained where it is shown, and nothing else.
func TestDuplicatedNote(t *testing.T) {
	unchecked := record.FaultSummary{Fault: "events changed where no checksum is", Promise: record.SomethingLost, Duplicated: 1}
	broken := record.FaultSummary{Fault: "SIGSTOP", Promise: record.NothingLost, Duplicated: 7}
	other := record.FaultSummary{Fault: "SIGKILL at ack=memory", Promise: record.SomethingLost}
	note := duplicatedNote(&record.Faults{Faults: []record.FaultSummary{unchecked, broken, other}}, faulting.Catalogue())
	if strings.Count(note, "Stored twice") != 1 || !strings.Contains(note, `Stored twice 1: by the control "events changed`) || !strings.Contains(note, "one stored twice") {
		t.Errorf("%q", note)
	}
	if note := duplicatedNote(&record.Faults{Faults: []record.FaultSummary{broken, other}}, faulting.Catalogue()); note != "" {
		t.Errorf("%q", note)
	}
}
