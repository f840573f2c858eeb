package docs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const resultsPage = "reference/results.md"

// namesIn are what the pattern finds in the part of a source between two texts.
func namesIn(t *testing.T, file, begin, end, pattern string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), begin)
	part, _, ends := strings.Cut(part, end)
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(part, -1) {
		names = append(names, m[1])
	}
	if !found || !ends || len(names) == 0 {
		t.Fatalf("%s: nothing between %q and %q", file, begin, end)
	}
	return names
}

// rowsOf are the names in the first cells of a section's tables.
func rowsOf(page, section string) (names []string) {
	_, text, _ := strings.Cut(page, "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// TestReferenceOfResults: the page has the keys, columns and figures of the code, in its order, and
// every file.
func TestReferenceOfResults(t *testing.T) {
	text, err := os.ReadFile(resultsPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	const key = `json:"([a-z_0-9]+)`
	for section, want := range map[string][]string{
		"run.json":    namesIn(t, "../bench/record/run.go", "type Run struct {", "\n}\n", key),
		"The figures": namesIn(t, "../bench/record/summary.go", "type Summary struct {", "\n}\n", key),
		"The trace":   namesIn(t, "../bench/record/trace.go", "var columns = ", "\n}\n", `\("(\w+)"`),
		"The ledger":  namesIn(t, "../loadgen/ledger/write.go", "const header = ", "\n", `([a-z_]+)[,\\]`),
	} {
		if have := rowsOf(page, section); !slices.Equal(have, want) {
			t.Errorf("%s, %s: has %q, the code %q", resultsPage, section, have, want)
		}
	}
	files := rowsOf(page, "Files")
	for _, m := range regexp.MustCompile(`(?m)^(?:const |\t)\w*(?:File|Dir) += "([^"]+)"( \+ Extension)?`).FindAllStringSubmatch(sources(t, "../bench/record"), -1) {
		name := m[1]
		if m[2] != "" {
			name += ".json.zst"
		}
		if !slices.Contains(files, name) {
			t.Errorf("%s does not have the file %s", resultsPage, name)
		}
	}
	for _, name := range []string{"ab.json", "search.json", "faults.json"} { // of other packages
		if !slices.Contains(files, name) {
			t.Errorf("%s does not have the file %s", resultsPage, name)
		}
	}
}

// TestReferenceOfReasons: the page of the lab has every code of a reason, and names no other.
func TestReferenceOfReasons(t *testing.T) {
	codes := namesIn(t, "../bench/judge/validate.go", "// The codes of reasons.", "\n)\n", `= "([a-z_]+)"`)
	text, err := os.ReadFile("reference/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## What makes a run INVALID\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, code := range codes {
		if !strings.Contains(section, "`"+code+"`") {
			t.Errorf("reference/lab.md does not have the reason %s", code)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(section, -1) {
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[1], -1) {
			if !slices.Contains(codes, m[1]) {
				t.Errorf("reference/lab.md has the reason %s, which the code does not give", m[1])
			}
		}
	}
}
