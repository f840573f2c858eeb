package report

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sekali/bench/experiment/runner"
	"sekali/bench/experiment/saturation"
	"sekali/bench/judge/objective"
	"sekali/bench/labtest/saturationtest"
	"sekali/bench/record"
	scenarios "sekali/bench/scenario"
)

// writeSearch adds two searches, for 8 requests a second, and their curve.
func writeSearch(t *testing.T, root string) {
	t.Helper()
	s, err := scenarios.Parse("scenarios/saturation.yaml", []byte(saturationtest.Text))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := saturation.NewPlan(s)
	if err != nil {
		t.Fatal(err)
	}
	s.Search.Start, s.Search.Repeat = 8, 2
	if s.Search.Objective.Objective, err = objective.Parse("p90<150ms,refused=0"); err != nil {
		t.Fatal(err)
	}
	model := saturationtest.Aggregator{Capacity: func(int) float64 { return 8 }}
	var out bytes.Buffer
	_, outcome := saturation.Run(t.Context(), saturation.Config{Plan: plan, Search: s.Search, Curve: true, Run: model.Run,
		Runner: runner.Config{Out: filepath.Join(root, filepath.FromSlash(referenceDir), "saturate-synthetic")}}, &out, &out)
	if outcome != runner.Held {
		t.Fatalf("exit %d\n%s", outcome, &out)
	}
}

// searchedDir is golden with a search and its report. The first test that asks for it makes it;
// afterwards it is only copied. TestMain removes it.
var searchedDir string

func makeSearched(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sekali-report-")
	if err != nil {
		t.Fatal(err)
	}
	searchedDir = dir
	if err := os.CopyFS(dir, os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	writeSearch(t, dir)
	if _, err := Write(dir); err != nil {
		t.Fatal(err)
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	if searchedDir != "" {
		os.RemoveAll(searchedDir)
	}
	os.Exit(code)
}

// searched is a copy of golden with a search and its report, and the folder of the search.
func searched(t *testing.T) (dir, search string) {
	t.Helper()
	if searchedDir == "" {
		makeSearched(t)
	}
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(searchedDir)); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, filepath.FromSlash(referenceDir), "saturate-synthetic")
}

// TestSearchInTheReport: the golden section; every link of it leads somewhere, and the whole is
// what verify expects.
func TestSearchInTheReport(t *testing.T) {
	dir, _ := searched(t)
	if same, out := verify(t, dir); !same {
		t.Error(out)
	}
	text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(pagesDir), "saturation.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n# Scenario saturation\n")
	section, _, found := strings.Cut(section, "\n| |")
	if !found {
		t.Fatal(section)
	}
	const golden = "testdata/saturation.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(section), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || section != string(want) {
		t.Errorf("differs from %s (-update makes it anew): %v\n%s", golden, err, section)
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(section, -1) {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(pagesDir), filepath.FromSlash(link[1]))); err != nil {
			t.Error(err)
		}
	}
}

// TestSearchIsVerified: a figure of search.json that is another, and a byte of a probe's raw file,
// are caught.
func TestSearchIsVerified(t *testing.T) {
	t.Run("figure", func(t *testing.T) {
		dir, search := searched(t)
		record, err := saturation.Read(search)
		if err != nil {
			t.Fatal(err)
		}
		*record.Searches[1].RequestsPerS++
		if err := record.Write(search); err != nil {
			t.Fatal(err)
		}
		if same, out := verify(t, dir); same || !strings.Contains(out, "search.json: line ") {
			t.Errorf("not named:\n%s", out)
		}
	})
	for _, name := range []string{record.RequestsFile, record.RunFile} {
		t.Run(name, func(t *testing.T) {
			dir, search := searched(t)
			record, err := saturation.Read(search)
			if err != nil {
				t.Fatal(err)
			}
			probe := record.Searches[0].Probes[1].Dir
			spoil(t, filepath.Join(search, probe, name), func(text []byte) []byte {
				text[len(text)/2] ^= 1
				return text
			})
			if same, out := verify(t, dir); same || !strings.Contains(out, filepath.Join(probe, name)) {
				t.Errorf("not named:\n%s", out)
			}
		})
	}
	t.Run("probe", func(t *testing.T) {
		dir, search := searched(t)
		record, err := saturation.Read(search)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(search, record.Searches[0].Probes[1].Dir)); err != nil {
			t.Fatal(err)
		}
		if same, out := verify(t, dir); same || !strings.Contains(out, record.Searches[0].Probes[1].Dir) {
			t.Errorf("not named:\n%s", out)
		}
	})
}

// TestSearchesThatCannotBeReported say why.
func TestSearchesThatCannotBeReported(t *testing.T) {
	for why, change := range map[string]func(*saturation.Record){
		"not a whole search":              func(r *saturation.Record) { r.Ended = "interrupted" },
		"the search has no curve":         func(r *saturation.Record) { r.Curve = "" },
		"not burst/probe-01":              func(r *saturation.Record) { r.Scenario = "burst" },
		"no such file":                    func(r *saturation.Record) { r.Curve = "runs" + r.Curve },
		"is not a curve of saturation":    func(r *saturation.Record) { r.Curve = filepath.Dir(r.Searches[0].Probes[0].Dir) },
		"not one of p50, p90, p99, p999,": func(r *saturation.Record) { r.Objective = "speed<1s" },
	} {
		dir, search := searched(t)
		record, err := saturation.Read(search)
		if err != nil {
			t.Fatal(err)
		}
		change(&record)
		if err := record.Write(search); err != nil {
			t.Fatal(err)
		}
		if _, err := Write(dir); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// TestTwoSearchesOfOneScenario would be mixed.
func TestTwoSearchesOfOneScenario(t *testing.T) {
	dir, search := searched(t)
	if err := os.CopyFS(search+"-2", os.DirFS(search)); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir); err == nil || !strings.Contains(err.Error(), "there are other runs of saturation") {
		t.Error(err)
	}
}
