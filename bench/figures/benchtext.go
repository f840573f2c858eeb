package figures

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"

	"sekali/bench/record"
)

// BenchText is a run as bench.txt: the Go benchmark format, one line, the metrics as units under
// their own names, so that benchstat compares runs without help. A run that is INVALID says so in
// its configuration, so that benchstat does not set it beside one that is not, and why in words.
func BenchText(run record.Run) ([]byte, error) {
	line := &benchfmt.Result{Name: benchfmt.Name(benchName(run)), Iters: int(run.Summary.AcceptedEvents)}
	// benchstat compares only what has the same configuration: the commit is not of it.
	for _, config := range [][2]string{
		{"goos", before(run.Environment.OS, "/")},
		{"goarch", after(run.Environment.OS, "/")},
		{"pkg", "sekali"},
		{"cpu", run.Environment.CPUModel},
		{"validity", invalid(run.Validity)},
	} {
		if value := strings.Join(strings.Fields(config[1]), " "); value != "" {
			line.Config = append(line.Config, benchfmt.Config{Key: config[0], Value: []byte(value), File: true})
		}
	}
	var text bytes.Buffer
	for _, reason := range run.Validity.Texts() {
		text.WriteString("INVALID: " + strings.Join(strings.Fields(reason), " ") + "\n")
	}
	w := benchfmt.NewWriter(&text)
	for _, m := range Metrics {
		value := m.Value(run.Summary)
		if value == nil {
			continue
		}
		line.Values = append(line.Values, benchfmt.Value{Value: *value, Unit: m.Name})
		if m.Better == Neither {
			continue
		}
		better := map[Better]string{Higher: "higher", Lower: "lower"}[m.Better]
		unit := &benchfmt.UnitMetadata{UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: m.Name, Key: "better"}, OrigUnit: m.Name, Value: better}
		if err := w.Write(unit); err != nil {
			return nil, err
		}
	}
	err := w.Write(line)
	return text.Bytes(), err
}

// invalid is what the configuration says of a run whose figures are not the aggregator's.
func invalid(v record.Validity) string {
	if v.Valid {
		return ""
	}
	return "INVALID"
}

// benchName is as Go's own: the scenario with a capital, the case as a key, the cores at the end.
// Without the cores, a case named events-1 would be taken for a run on one core.
func benchName(run record.Run) string {
	name := run.Scenario.Name
	if name != "" {
		name = strings.ToUpper(name[:1]) + name[1:]
	}
	if run.Scenario.Case != "" {
		name += "/case=" + run.Scenario.Case
	}
	return name + "-" + strconv.Itoa(max(1, run.Environment.Cores))
}

func before(s, separator string) string { head, _, _ := strings.Cut(s, separator); return head }
func after(s, separator string) string  { _, tail, _ := strings.Cut(s, separator); return tail }
