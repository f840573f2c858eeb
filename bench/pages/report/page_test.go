package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sekali/bench/record"
)

// goldenResult is a result folder of the golden reference.
func goldenResult(name string) string {
	return filepath.Join(golden, filepath.FromSlash(referenceDir), "synthetic", name)
}

func TestPageIsOneFile(t *testing.T) {
	text, err := Page(goldenResult("kill-journal-1"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Page(goldenResult("kill-journal-1"))
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("made twice, the bytes differ (%v)", err)
	}
	// Whatever loads something does so through one of these; the policy forbids the rest.
	for _, link := range regexp.MustCompile(`(?i)(?:src|href)\s*=\s*["'][^"']*|@import[^;]*|url\([^)]*`).FindAll(text, -1) {
		if string(link) != `href="data:,` {
			t.Errorf("the page asks for %.80q", link)
		}
	}
	if !bytes.Contains(text, []byte(`content="default-src 'none';`)) {
		t.Error("the page has no policy that forbids requests")
	}
	for _, want := range []string{"kill/journal", "sigkill", "VALID", "audit clean", "uPlot", "prefers-color-scheme: dark", "width=device-width"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestPageDrawsWhatWasMeasured(t *testing.T) {
	text, err := Page(goldenResult("kill-journal-1"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`const run = (\{.*\});</script>`).FindSubmatch(text)
	if found == nil {
		t.Fatal("the page has no data")
	}
	var data pageCharts
	if err := json.Unmarshal(found[1], &data); err != nil {
		t.Fatal(err)
	}
	if len(data.Charts) != 3 || len(data.Spans) != 3 || !data.Spans[2].Fault || data.Spans[2].From != 2 {
		t.Errorf("%d charts, spans %+v", len(data.Charts), data.Spans)
	}
	for _, c := range data.Charts {
		if len(c.Points) != len(c.Names)+1 {
			t.Errorf("%s: %d columns for %v", c.Title, len(c.Points), c.Names)
		}
		for _, column := range c.Points {
			if len(column) != len(c.Points[0]) || len(column) < 10 {
				t.Errorf("%s: a column of %d points beside one of %d", c.Title, len(column), len(c.Points[0]))
			}
		}
	}
	gap := false
	for _, depth := range data.Charts[1].Points[1] {
		gap = gap || depth == nil
	}
	if !gap {
		t.Error("the time without an answer is not a gap in the queue depth")
	}
}

// What a scenario or a server says is text, never markup or script.
func TestPageEscapes(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(goldenResult("burst-1"))); err != nil {
		t.Fatal(err)
	}
	run, err := record.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	const hostile = `</script><script>alert("x")</script><img src=x>`
	run.Scenario.Question, run.Scenario.Text, run.Phases[0].Name, run.Environment.CPUModel = hostile, hostile, hostile, hostile
	run.Aggregator.Flags, run.Audit.Findings = []string{hostile}, []string{hostile}
	if err := record.WriteRun(dir, run); err != nil {
		t.Fatal(err)
	}
	if err := WritePage(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, record.PageFile))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "<script>alert") || strings.Contains(string(text), "<img") {
		t.Error("markup of the scenario is in the page as markup")
	}
	if strings.Count(string(text), "</script>") != 3 {
		t.Errorf("%d ends of scripts, expected 3", strings.Count(string(text), "</script>"))
	}
}

// A number is one word, however many groups of digits it has.
func TestWhole(t *testing.T) {
	for text, want := range map[string]string{
		"2 764 000":              "2_764_000",
		"12 345 678 901":         "12_345_678_901",
		"16 000 of 16 000":       "16_000 of 16_000",
		"503 disk_failing: 633":  "503 disk_failing: 633",
		"median 5 1 000 000.5 s": "median 5 1_000_000.5 s",
	} {
		if got := strings.ReplaceAll(whole(text), "\u00a0", "_"); got != want {
			t.Errorf("%q became %q, expected %q", text, got, want)
		}
	}
}
