package docs_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	helpFlag = regexp.MustCompile(`(?m)^  -([a-z][a-z-]*)`)
	rowFlag  = regexp.MustCompile("(?m)^\\| (`-.*?) \\|")
	flagName = regexp.MustCompile("`-([a-z][a-z-]*)`")
)

// TestEveryFlagHasItsRow: the flags of -h are those of the command's section in the reference. The
// test of sekali-log, which is another module, does the same there.
func TestEveryFlagHasItsRow(t *testing.T) {
	page, err := os.ReadFile("reference/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	for title, command := range map[string][]string{
		"# Flags of ":          {"aggregator", "-h"},
		"\n## loadgen publish": {"loadgen", "publish", "-h"},
		"\n## loadgen follow":  {"loadgen", "follow", "-h"},
	} {
		help, err := exec.Command(filepath.Join(bin, command[0]), command[1:]...).Output()
		if err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(string(page), title)
		section, _, _ = strings.Cut(section, "\n## ")
		want, have := map[string]bool{}, map[string]bool{}
		for _, m := range helpFlag.FindAllStringSubmatch(string(help), -1) {
			want[m[1]] = true
		}
		for _, row := range rowFlag.FindAllStringSubmatch(section, -1) {
			for _, m := range flagName.FindAllStringSubmatch(row[1], -1) {
				have[m[1]] = true
			}
		}
		if len(want) == 0 || !maps.Equal(want, have) {
			t.Errorf("%q: -h has %v, its section in flags.md %v", command, want, have)
		}
	}
}
