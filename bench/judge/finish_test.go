package judge_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/perf/benchfmt"

	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
)

func TestFinishTwiceChangesNothing(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Steady)
	first := resulttest.Files(t, dir)
	if _, err := judge.Finish(dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range resulttest.Files(t, dir) {
		if !bytes.Equal(text, first[name]) {
			t.Errorf("%s changed", name)
		}
	}
}

func TestBenchTextReadsBack(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Kill)
	file, err := os.Open(filepath.Join(dir, record.BenchFile))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader := benchfmt.NewReader(file, "bench.txt")
	var lines int
	for reader.Scan() {
		switch line := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(line)
		case *benchfmt.Result:
			lines++
			if name := line.Name.String(); name != "Kill/case=memory-2" {
				t.Errorf("name %q", name)
			}
			run, err := record.ReadRun(dir)
			if err != nil {
				t.Fatal(err)
			}
			summary := run.Summary
			if v, ok := line.Value("throughput_stored_per_s"); !ok || v != summary.ThroughputStoredPerS {
				t.Errorf("throughput_stored_per_s is %v, in the summary %v", v, summary.ThroughputStoredPerS)
			}
			if line.GetConfig("goarch") != "amd64" || line.GetConfig("cpu") == "" {
				t.Errorf("config %v", line.Config)
			}
		}
	}
	if err := reader.Err(); err != nil || lines != 1 {
		t.Errorf("%d lines, %v", lines, err)
	}
	if reader.Units().GetBetter("throughput_stored_per_s") != 1 || reader.Units().GetBetter("response_time_ms_p50") != -1 {
		t.Error("the units do not say which way is better")
	}
}
