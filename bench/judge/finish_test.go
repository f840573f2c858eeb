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
			if v, ok := line.Value("throughput_stored_per_s"); !ok || v != *summary.ThroughputStoredPerS {
				t.Errorf("throughput_stored_per_s is %v, in the summary %v", v, *summary.ThroughputStoredPerS)
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

// bench.txt of a run that is INVALID says so: in the configuration, by which benchstat sets apart
// what it compares, and why.
func TestBenchTextOfAnInvalidRun(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Steady)
	for _, invalid := range []bool{false, true} {
		resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Environment.Dirty = invalid })
		if _, err := judge.Finish(dir); err != nil {
			t.Fatal(err)
		}
		text := resulttest.Files(t, dir)[record.BenchFile]
		reader := benchfmt.NewReader(bytes.NewReader(text), record.BenchFile)
		for reader.Scan() {
			switch line := reader.Result().(type) {
			case *benchfmt.SyntaxError:
				t.Error(line)
			case *benchfmt.Result:
				if got := line.GetConfig("validity") == "INVALID"; got != invalid {
					t.Errorf("validity is %q", line.GetConfig("validity"))
				}
			}
		}
		if bytes.Contains(text, []byte("INVALID: the tree has changes that are not committed\n")) != invalid {
			t.Errorf("%s", text)
		}
	}
}
