package report

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/bench/judge/objective"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
)

// sweepRun writes a run whose scenario sweeps a parameter, two curves with a result for each value.
func sweepRun(t *testing.T, parameter string, values ...string) string {
	t.Helper()
	dir := t.TempDir()
	index := record.Index{ID: "sweep"}
	for i, value := range values {
		for _, curve := range []string{"uuid4", "time"} {
			name := fmt.Sprintf("sizes-%s-%s-1", curve, value)
			model := resulttest.Model{Scenario: "sizes", Case: curve + "-" + value, Repeat: 1, Ack: "journal", Rate: 50, Measured: time.Second,
				EventsPerS: float64(1000 * (i + 1)), Seed: uint64(i)}
			if err := resulttest.Write(filepath.Join(dir, name), model); err != nil {
				t.Fatal(err)
			}
			run, err := record.ReadRun(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			run.Scenario.Sweep = &record.Sweep{Parameter: parameter, Value: value, Curve: curve}
			run.Validity.Valid = i > 0 || curve != "time"
			if err := record.WriteRun(filepath.Join(dir, name), run); err != nil {
				t.Fatal(err)
			}
			index.Results = append(index.Results, record.Entry{Dir: name, Scenario: "sizes", Case: model.Case, Repeat: 1})
		}
	}
	if err := record.WriteIndex(dir, index); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCurvesOfASweep(t *testing.T) {
	// The model commits 1000 events/s of the first value's 2500, and of the others all.
	o, err := objective.Parse("leftover<10%")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		parameter string
		values    []string
		says      []string // texts of the picture, in this order
	}{
		"numbers rise": {"load.events_per_request", []string{"100", "10", "1000"}, []string{">10<", ">100<", ">1 000<", ">load.events_per_request; ring: INVALID; crossed: misses the objective<"}},
		"names are bars in the order of the file": {"stream.distance", []string{"recent", "history"}, []string{">recent (INVALID)<", ">history<"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sweepRun(t, test.parameter, test.values...)
			paths, err := WriteCurves(dir, o)
			if err != nil || !slices.Equal(paths, []string{filepath.Join(dir, "sizes.svg")}) {
				t.Fatal(paths, err)
			}
			svg, err := os.ReadFile(paths[0])
			if err != nil {
				t.Fatal(err)
			}
			rest := string(svg)
			for _, text := range test.says {
				_, after, found := strings.Cut(rest, text)
				if !found {
					t.Fatalf("no %q after the texts before it", text)
				}
				rest = after
			}
			if crossed := strings.Contains(string(svg), "#B00020"); crossed != strings.Contains(strings.Join(test.says, ""), "crossed") {
				t.Errorf("crossed: %v", crossed)
			}
			for _, text := range []string{"processed events/s", "response time, ms (p50)", "server CPU, µs/stored", "bytes written/stored", ">uuid4 ", ">time "} {
				if !strings.Contains(string(svg), text) {
					t.Errorf("no %q", text)
				}
			}
		})
	}
}

func TestNoCurveWithoutASweep(t *testing.T) {
	if paths, err := WriteCurves(sweepRun(t, "stream.ids", "time"), nil); err != nil || len(paths) > 0 {
		t.Errorf("one value: %v, %v", paths, err)
	}
	if paths, err := WriteCurves(filepath.Join(golden, filepath.FromSlash(referenceDir), "synthetic"), nil); err != nil || len(paths) > 0 {
		t.Errorf("no sweep: %v, %v", paths, err)
	}
}
