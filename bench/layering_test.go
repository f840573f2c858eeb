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
	list := exec.Command("go", "list", "-deps", "-test", "./loadgen/...", "./cmd/loadgen/...", "./bench/...", "./cmd/bench/...")
	list.Dir = ".."
	var stderr strings.Builder
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", list, err, stderr.String())
	}
	packages := strings.Split(strings.TrimSpace(string(out)), "\n")
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
