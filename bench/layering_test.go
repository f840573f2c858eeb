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
		for _, tool := range []string{"testing", "github.com/chromedp/", "pgregory.net/rapid", "go.uber.org/goleak", "sekali/bench/system/memoryserver", "sekali/bench/labtest", "sekali/internal/memorydir", "sekali/internal/programs"} {
			if within(pkg, tool) || strings.HasPrefix(pkg, tool) && strings.Contains(tool, ".") {
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

// layers are the rooms of the lab and what each may import of the others: record has the files,
// figures computes from them, judge says what they are worth, and all else stands on these. audit
// compares what was sent with what is stored, and judges nothing; its report is a part of a record
// (run.json, faults, soak), and figures audits a record again from its raw files. So it lies below
// them all: in judge, which imports figures, it would make a circle.
var layers = []struct {
	room string
	may  []string
}{
	{"sekali/bench/record", []string{"sekali/bench/internal/audit"}},
	{"sekali/bench/internal/audit", nil},
	{"sekali/bench/figures", []string{"sekali/bench/record", "sekali/bench/internal/audit"}},
	{"sekali/bench/judge", []string{"sekali/bench/figures", "sekali/bench/record", "sekali/bench/internal/audit"}},
	{"sekali/bench/system", []string{"sekali/bench/record", "sekali/bench/internal/audit"}},
	{"sekali/bench/internal/chart", []string{"sekali/bench/judge", "sekali/bench/figures", "sekali/bench/record", "sekali/bench/internal/audit"}},
	{"sekali/bench/pages/terminal", []string{"sekali/bench/judge", "sekali/bench/figures", "sekali/bench/record", "sekali/bench/internal/audit"}},
}

// Each room imports, directly or not, only those below it.
func TestLayers(t *testing.T) {
	for _, layer := range layers {
		for _, pkg := range dependencies(t, "./"+strings.TrimPrefix(layer.room, "sekali/")+"/...") {
			below := within(pkg, layer.room)
			for _, room := range layer.may {
				below = below || within(pkg, room)
			}
			if strings.HasPrefix(pkg, "sekali/bench/") && !below {
				t.Errorf("%s depends on %s", layer.room, pkg)
			}
		}
	}
}

// The product is built without the lab and without the generator of its load.
func TestAggregatorNeverImportsTheLab(t *testing.T) {
	ours := 0
	for _, pkg := range dependencies(t, "./aggregator/...", "./cmd/aggregator/...") {
		if within(pkg, "sekali/aggregator") {
			ours++
		}
		if within(pkg, "sekali/bench") || within(pkg, "sekali/loadgen") {
			t.Errorf("the aggregator depends on %s", pkg)
		}
	}
	if ours == 0 {
		t.Error("no package of the aggregator is listed: the test looks in the wrong place")
	}
}

// The generator knows neither who measures with it nor what it is sent to.
func TestGeneratorNeverImportsTheLab(t *testing.T) {
	for _, pkg := range dependencies(t, "./loadgen/...", "./cmd/loadgen/...") {
		if within(pkg, "sekali/bench") {
			t.Errorf("the generator depends on %s", pkg)
		}
	}
}

// within reports that a package is root or below it.
func within(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

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
