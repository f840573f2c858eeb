// Package bench_test holds what must be true of the lab as a whole.
package bench_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The lab measures a black box over HTTP: were it to share code with the system
// under test, a defect of that code could hide itself from the audit.
func TestLabNeverImportsTheAggregator(t *testing.T) {
	packages := dependencies(t, "-test", "./loadgen/...", "./cmd/loadgen/...", "./bench/...", "./cmd/bench/...")
	ours := 0
	for _, pkg := range packages {
		if strings.HasPrefix(pkg, "sekali/") {
			ours++
		}
		if pkg == "sekali/aggregator" || strings.HasPrefix(pkg, "sekali/aggregator/") {
			t.Errorf("the lab depends on %s", pkg)
		}
	}
	if ours == 0 {
		t.Errorf("no package of the lab among the %d listed: the test looks in the wrong place", len(packages))
	}
}

// What only the tests need, a browser's driver above all, is in no program.
func TestProgramsHoldNoTestTools(t *testing.T) {
	packages := dependencies(t, "./cmd/...")
	for _, pkg := range packages {
		for _, tool := range []string{"testing", "github.com/chromedp/", "pgregory.net/rapid", "go.uber.org/goleak", "sekali/bench/system/memoryserver", "sekali/bench/labtest/resulttest", "sekali/bench/labtest/recordtest"} {
			if pkg == tool || strings.HasPrefix(pkg, tool) && strings.Contains(tool, ".") {
				t.Errorf("a program depends on %s", pkg)
			}
		}
	}
}

// Pictures bring fonts and more with them, which the product has no use for.
func TestProductDrawsNothing(t *testing.T) {
	for _, pkg := range dependencies(t, "./cmd/aggregator", "./cmd/loadgen") {
		if strings.HasPrefix(pkg, "gonum.org/") || strings.Contains(pkg, "go-fonts") {
			t.Errorf("the product depends on %s", pkg)
		}
	}
}

// dependencies lists what the packages of this repository depend on, themselves included.
func dependencies(t *testing.T, args ...string) []string {
	t.Helper()
	list := exec.Command("go", append([]string{"list", "-deps"}, args...)...)
	list.Dir = ".."
	var stderr strings.Builder
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", list, err, stderr.String())
	}
	return strings.Fields(string(out))
}
