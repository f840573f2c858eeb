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

// TestEveryFlagHasItsRow: the aggregator's flags of -h are those of the reference. commands.md has
// those of the commands. The test of sekali-log, which is another module, does the same there.
func TestEveryFlagHasItsRow(t *testing.T) {
	page, err := os.ReadFile("reference/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(filepath.Join(bin, "aggregator"), "-h").Output()
	if err != nil {
		t.Fatal(err)
	}
	section, _, _ := strings.Cut(string(page), "\n## ")
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
		t.Errorf("-h has %v, flags.md %v", want, have)
	}
}
