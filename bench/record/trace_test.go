package record_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
)

// A trace from before machine_cpu_ns was measured is read; one with another column is not.
func TestTraceOfEarlierRuns(t *testing.T) {
	var text bytes.Buffer
	w := record.NewTraceWriter(&text)
	for n := range int64(3) {
		if err := w.Write(record.Sample{TNS: n, GeneratorCPUNS: 5, MachineCPUNS: 7}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const late, lateRow = ",throttled_periods,throttled_ns,stalled_ns", ",0,0,0"
	const own, ownRow = ",generator_allocated_bytes,generator_write_bytes,failed" + late, ",0,0,0" + lateRow
	for cut, want := range map[string]string{
		",machine_cpu_ns" + own + "|,7" + ownRow: "", "|,7" + ownRow: "error", ",machine_cpu_ns" + own + "|": "error",
		",generator_cpu_ns,machine_cpu_ns" + own + "|,5,7" + ownRow: "error", ",generator_write_bytes,failed" + late + "|,0,0" + lateRow: "error",
		",failed" + late + "|,0" + lateRow: "", late + "|" + lateRow: "", ",throttled_ns,stalled_ns|,0,0": "error",
	} {
		header, row, _ := strings.Cut(cut, "|")
		earlier := zipped(t, strings.NewReplacer(header+"\n", "\n", row+"\n", "\n").Replace(unzipped(t, text.Bytes())))
		samples, failed := 0, ""
		for s, err := range record.ReadTrace(bytes.NewReader(earlier)) {
			if err != nil {
				failed = "error"
			} else if samples++; s.GeneratorCPUNS != 5 || (s.MachineCPUNS != 0) != (header == late || header == ",failed"+late) {
				t.Errorf("%q: %+v", cut, s)
			}
		}
		if failed != want || want == "" && samples != 3 {
			t.Errorf("%q: %q after %d samples", cut, failed, samples)
		}
	}
}

func unzipped(t *testing.T, data []byte) string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var data bytes.Buffer
	zip := gzip.NewWriter(&data)
	if _, err := zip.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

func TestTraceReadsBack(t *testing.T) {
	want := []record.Sample{{TNS: -5, Phase: -1}, {TNS: 1, AnsweredNS: 2, Phase: 3, Ready: true, Received: 4, UniqueProcessed: 5,
		DuplicateDropped: 6, Rejected: 7, QueueDepth: 8, QueueBytes: 9, BacklogBytes: 10, Commits: 11, JournalSyncs: 12, JournalBytes: 13,
		AllocatedBytes: 14, ServerCPUNS: 15, ServerRSSBytes: 16, ServerWriteBytes: 17, GeneratorCPUNS: 18, MachineCPUNS: 19, GeneratorAllocatedBytes: 20, GeneratorWriteBytes: 21,
		Failed: 22, ThrottledPeriods: 23, ThrottledNS: 24, StalledNS: 25}}
	text := resulttest.TraceText(t, want)
	var got []record.Sample
	for s, err := range record.ReadTrace(bytes.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for cut := range text {
		if !fails(record.ReadTrace(bytes.NewReader(text[:cut]))) {
			t.Errorf("a trace cut after %d of %d bytes was read without an error", cut, len(text))
		}
	}
}

func fails(rows func(func(record.Sample, error) bool)) bool {
	failed := false
	rows(func(_ record.Sample, err error) bool {
		failed = failed || err != nil
		return true
	})
	return failed
}

func TestUnknownFormatIsRefused(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Steady)
	path := filepath.Join(dir, record.RunFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{{`"format": 2`, `"format": 1`}, {`"format": 2,`, `"format": 2, "new": 0,`}} {
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := record.ReadRun(dir); err == nil {
			t.Errorf("%s was read", change[1])
		}
	}
}
