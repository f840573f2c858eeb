package senders_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestPageShowsCode: the Go that the page shows behind <!-- code: FILE --> is in that file.
func TestPageShowsCode(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^<!-- code: (\\S+) -->\n+```go\n(.*?)^```$").FindAllSubmatch(text, -1)
	if len(blocks) == 0 {
		t.Errorf("%s shows no code", page)
	}
	for _, block := range blocks {
		code, err := os.ReadFile(string(block[1]))
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(string(block[2]), "…\n") {
			if !strings.Contains(unindented(string(code)), unindented(part)) {
				t.Errorf("%s shows what is not in %s:\n%s", page, block[1], part)
			}
		}
	}
}

// unindented is text whose lines have lost what they begin with.
func unindented(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		all = append(all, strings.TrimSpace(line))
	}
	return strings.Trim(strings.Join(all, "\n"), "\n")
}
