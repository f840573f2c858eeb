package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sekali/aggregator/crash"
)

// markdown lists every page that git knows, by its path from the root.
func markdown(t *testing.T) []string {
	t.Helper()
	list := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Skip("skipped: not a checkout of git:", err)
	}
	var there []string
	for _, page := range strings.Fields(string(out)) {
		if _, err := os.Stat(filepath.Join("..", page)); err == nil {
			there = append(there, page)
		}
	}
	return there
}

var (
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	unlike  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// prose is a page without its blocks of code.
func prose(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
	return fenced.ReplaceAllString(string(text), "")
}

// anchors are the names that GitHub gives a page's headings.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		names[strings.ReplaceAll(unlike.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return names
}

// TestLinksLeadSomewhere: every relative link of every page, and its anchor.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, page := range markdown(t) {
		for _, m := range link.FindAllStringSubmatch(prose(t, page), -1) {
			if strings.Contains(m[1], ":") {
				continue // of another site
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			to := page
			if path != "" {
				to = filepath.Join(filepath.Dir(page), path)
			}
			if _, doc, golden := strings.Cut(to, "testdata/root/docs/"); golden {
				to = filepath.Join("docs", doc) // the report of a test leads to this repository's documents
			}
			if _, err := os.Stat(filepath.Join("..", to)); err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			if anchor != "" && strings.HasSuffix(to, ".md") && !anchors(prose(t, to))[anchor] {
				t.Errorf("%s: %s has no heading #%s", page, to, anchor)
			}
		}
	}
}

// TestEveryPageIsLinked: a reader who begins at README reaches each page under docs/.
func TestEveryPageIsLinked(t *testing.T) {
	reached, ahead := map[string]bool{"README.md": true}, []string{"README.md"}
	for len(ahead) > 0 {
		page := ahead[0]
		ahead = ahead[1:]
		for _, m := range link.FindAllStringSubmatch(prose(t, page), -1) {
			path, _, _ := strings.Cut(m[1], "#")
			to := filepath.Join(filepath.Dir(page), path)
			if _, err := os.Stat(filepath.Join("..", to)); err == nil && strings.HasSuffix(to, ".md") && !reached[to] {
				reached[to] = true
				ahead = append(ahead, to)
			}
		}
	}
	for _, page := range markdown(t) {
		if strings.HasPrefix(page, "docs/") && !reached[page] {
			t.Errorf("no page leads to %s", page)
		}
	}
}

// TestDesignNamesWhatIsThere: the tests that the design pages name exist, and the table of crashes
// has every place at which a test build dies.
func TestDesignNamesWhatIsThere(t *testing.T) {
	tests := exec.Command("git", "grep", "-h", "--untracked", "-E", `^func (Test|Fuzz|Benchmark)`, "--", "*_test.go")
	tests.Dir = ".."
	out, err := tests.Output()
	if err != nil {
		t.Skip("skipped: not a checkout of git:", err)
	}
	for _, page := range markdown(t) {
		if !strings.HasPrefix(page, "docs/design/") {
			continue
		}
		for _, name := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`").FindAllStringSubmatch(prose(t, page), -1) {
			if !strings.Contains(string(out), "func "+name[1]+"(") {
				t.Errorf("%s: there is no %s", page, name[1])
			}
		}
	}
	table := prose(t, "docs/design/crashes.md")
	source, target := crash.JoinPoints()
	for _, place := range slices.Concat(crash.Points(), source, target, []string{crash.StoreExpiring, crash.StoreMigrating, crash.LogSending, crash.LogAnswered, crash.LogSeen}) {
		if !strings.Contains(table, "`"+place+"`") {
			t.Errorf("docs/design/crashes.md has no row for %s", place)
		}
	}
}

// TestDecisionsHaveOneForm: each record says its context, the decision, what was rejected and the
// evidence, in this order, and is on the list.
func TestDecisionsHaveOneForm(t *testing.T) {
	list := prose(t, "docs/design/decisions.md")
	for _, page := range markdown(t) {
		if !strings.HasPrefix(page, "docs/design/decisions/") {
			continue
		}
		text, at := prose(t, page), 0
		for _, part := range []string{"**Context.**", "**Decision.**", "**Rejected.**", "**Evidence.**"} {
			found := strings.Index(text[at:], "\n"+part)
			if found < 0 {
				t.Errorf("%s: no %s behind what comes before it", page, part)
				break
			}
			at += found
		}
		title, _, _ := strings.Cut(strings.TrimPrefix(text, "# "), "\n")
		if !strings.Contains(strings.ReplaceAll(list, "\n  ", " "), "["+title+"](decisions/"+filepath.Base(page)+")") {
			t.Errorf("docs/design/decisions.md does not list %q", title)
		}
	}
}
