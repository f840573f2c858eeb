package docs_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sources is the text of the Go files of a folder, without their tests.
func sources(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	var all strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

var (
	statusName = regexp.MustCompile(`fasthttp\.Status([A-Z]\w+)`)
	codeName   = regexp.MustCompile(`problem(?:Body)?\([^"\n]*"([a-z_]+)"|\bcode :?= "([a-z_]+)"`)
	letters    = regexp.MustCompile(`[^A-Za-z]`)
)

// TestEveryAnswerIsExplained: each status and each code that the API's sources name has its row in
// the reference, and the rows name nothing else.
func TestEveryAnswerIsExplained(t *testing.T) {
	api := sources(t, "../aggregator/internal/api")
	byName := map[string]int{}
	for status := range 600 {
		byName[letters.ReplaceAllString(http.StatusText(status), "")] = status
	}
	answers := map[string]bool{}
	for _, m := range statusName.FindAllStringSubmatch(api, -1) {
		if status, ok := byName[m[1]]; ok && status != http.StatusContinue { // 100 ends nothing
			answers[fmt.Sprint(status)] = true
		}
	}
	for _, m := range codeName.FindAllStringSubmatch(api, -1) {
		answers["`"+m[1]+m[2]+"`"] = true
	}
	if !answers["422"] || !answers["`disk_failing`"] || !answers["`backlog_full`"] {
		t.Fatalf("not all answers were found: %v", answers)
	}
	page, err := os.ReadFile("reference/http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| status | code |")
	table, _, _ = strings.Cut(table, "\n\n")
	explained := map[string]bool{}
	for _, row := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(row, "|")
		for _, name := range strings.Split(cells[1]+","+cells[2], ",") {
			explained[strings.TrimSpace(name)] = true
		}
	}
	delete(explained, "")
	for name := range answers {
		if !explained[name] {
			t.Errorf("reference/http.md does not explain %s", name)
		}
	}
	for name := range explained {
		if !answers[name] {
			t.Errorf("reference/http.md explains %s, which is never answered", name)
		}
	}
}
