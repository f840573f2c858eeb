package report

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
)

// TestNetworkAndPageCache: the page of a run and the pages of a report say over what publishers
// reached the aggregator, and what the kernel held of the data folder beside its memory, or that
// this could not be measured.
func TestNetworkAndPageCache(t *testing.T) {
	dir := root(t)
	result := func(name string) string {
		return filepath.Join(dir, filepath.FromSlash(referenceDir), "synthetic", name)
	}
	cached := int64(12_300_000)
	for name, change := range map[string]func(*record.Run){
		"duplicates-history-1": func(r *record.Run) {
			r.Environment.Network = &record.Network{RTTMS: 20, MbitPerS: 1000, MeasuredRTTMS: 20.25, MeasuredMbitPerS: 949.4}
			r.Scenario.Text += "network: {rtt: 20ms, mbit_per_s: 1000}\n"
			r.Surroundings = &record.Surroundings{CoreCount: 2, PageCacheBytes: &cached}
		},
		"course-report-batched-1": func(r *record.Run) {
			r.Surroundings = &record.Surroundings{CoreCount: 2, PageCacheUnknown: "mincore: operation not permitted"}
		},
	} {
		resulttest.RewriteRun(t, result(name), change)
		resulttest.Rewrite(t, result(name), func(s *record.Sample) { s.MachineCPUNS = resulttest.Others(s, 0) })
		if _, err := judge.Finish(result(name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Write(dir); err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	files, err := render(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		pages[f.name] = string(f.text)
	}
	for _, name := range []string{"duplicates-history-1", "course-report-batched-1", "burst-1"} {
		text, err := Page(result(name))
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = string(text)
	}
	const inCache = `<th scope="row">data folder in the page cache at the end, MB</th>`
	for name, says := range map[string][]string{
		"results/pages/duplicates.md": {"| network, to be | 20 ms there and back, 1000 Mbit/s |", "| network, measured before the first repeat | 20.25 ms there and back, 949 Mbit/s |"},
		"results/pages/costs.md":      {"| server resident memory max, MB | data folder in the page cache at the end, MB | run |", "| 12.3 |", "| not measurable |"},
		"duplicates-history-1": {"<span>network: 20 ms there and back, 1000 Mbit/s</span>", "measured just before: 20.25 ms there and back, 949 Mbit/s",
			inCache + "<td>12.3</td>"},
		"course-report-batched-1": {inCache + "<td>not measurable</td>"},
	} {
		for _, want := range says {
			if !strings.Contains(pages[name], want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
	// What no record has is not there: pages of before have no empty rows.
	for name, not := range map[string]string{"burst-1": inCache + "|network", "results/pages/burst.md": "network"} {
		if found := regexp.MustCompile(not).FindString(pages[name]); found != "" || pages[name] == "" {
			t.Errorf("%s says %q", name, found)
		}
	}
}
