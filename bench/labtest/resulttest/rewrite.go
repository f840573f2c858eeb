package resulttest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// What most tests look at: a server that is not loaded, one that falls behind, and one that is
// killed.
var (
	Steady = Model{Scenario: "steady", Ack: "journal", Rate: 100, Measured: 3 * time.Second, EventsPerS: 8000, Seed: 1}
	Burst  = Model{Scenario: "burst", Ack: "journal", Rate: 300, Measured: 3 * time.Second, EventsPerS: 8000, Seed: 2}
	Kill   = Model{Scenario: "kill", Case: "memory", Ack: "memory", Rate: 200, Measured: 3 * time.Second, EventsPerS: 8000, Seed: 3,
		Kill: 2 * time.Second, Down: 300 * time.Millisecond}
)

// Rewrite changes every sample of a folder's trace.
func Rewrite(t *testing.T, dir string, change func(*record.Sample)) {
	t.Helper()
	path := filepath.Join(dir, record.TraceFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var samples []record.Sample
	for s, err := range record.ReadTrace(bytes.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		change(&s)
		samples = append(samples, s)
	}
	if err := os.WriteFile(path, TraceText(t, samples), 0o644); err != nil {
		t.Fatal(err)
	}
}

// AddSamples adds so many to the end of a folder's trace, each made of the one before it.
func AddSamples(t *testing.T, dir string, count int, change func(*record.Sample)) {
	t.Helper()
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	samples := raw.Trace
	for range count {
		next := samples[len(samples)-1]
		change(&next)
		samples = append(samples, next)
	}
	if err := os.WriteFile(filepath.Join(dir, record.TraceFile), TraceText(t, samples), 0o644); err != nil {
		t.Fatal(err)
	}
}

// RewriteRun changes a folder's run.json.
func RewriteRun(t *testing.T, dir string, change func(*record.Run)) {
	t.Helper()
	run, err := record.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	change(&run)
	if err := record.WriteRun(dir, run); err != nil {
		t.Fatal(err)
	}
}

// RewriteRequests changes every attempt of a folder's ledger, and adds some.
func RewriteRequests(t *testing.T, dir string, change func(*ledger.Attempt), more ...ledger.Attempt) {
	t.Helper()
	path := filepath.Join(dir, record.RequestsFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var changed bytes.Buffer
	w := ledger.NewWriter(&changed)
	for a, err := range ledger.Read(bytes.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		change(&a)
		w.Write(a)
	}
	for _, a := range more {
		w.Write(a)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, changed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Others is the machine's CPU time where others take a share of two cores.
func Others(s *record.Sample, share float64) int64 {
	const beforeNS = 3600e9 // the machine has been up for long
	return beforeNS + s.ServerCPUNS + s.GeneratorCPUNS + int64(2*share*float64(s.TNS))
}

// TraceText is a trace as a file has it.
func TraceText(t *testing.T, samples []record.Sample) []byte {
	t.Helper()
	var text bytes.Buffer
	w := record.NewTraceWriter(&text)
	for _, s := range samples {
		if err := w.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// Folder makes the result folder of a model.
func Folder(t *testing.T, m Model) string {
	t.Helper()
	dir := t.TempDir()
	if err := Write(dir, m); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Files are what a folder has, by name.
func Files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// SpoilHistogram changes every bucket of the processing latencies.
func SpoilHistogram(t *testing.T, dir string, change func(*[2]int64)) {
	t.Helper()
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	buckets := raw.Histograms.Windows[0].End.ProcessingLatencyUS
	for i := range buckets {
		change(&buckets[i])
	}
	if err := record.WriteHistograms(dir, raw.Histograms); err != nil {
		t.Fatal(err)
	}
}
