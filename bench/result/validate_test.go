package result_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekali/bench/result"
	"sekali/loadgen/ledger"
)

// rewrite changes every sample of a folder's trace.
func rewrite(t *testing.T, dir string, change func(*result.Sample)) {
	t.Helper()
	path := filepath.Join(dir, result.TraceFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var samples []result.Sample
	for s, err := range result.ReadTrace(bytes.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		change(&s)
		samples = append(samples, s)
	}
	if err := os.WriteFile(path, traceText(t, samples), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rewriteRun(t *testing.T, dir string, change func(*result.Run)) {
	t.Helper()
	run, err := result.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	change(&run)
	if err := result.WriteRun(dir, run); err != nil {
		t.Fatal(err)
	}
}

func rewriteRequests(t *testing.T, dir string, change func(*ledger.Attempt), more ...ledger.Attempt) {
	t.Helper()
	path := filepath.Join(dir, result.RequestsFile)
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

// others is the machine's CPU time where others take a share of two cores.
func others(s *result.Sample, share float64) int64 {
	const beforeNS = 3600e9 // the machine has been up for long
	return beforeNS + s.ServerCPUNS + s.GeneratorCPUNS + int64(2*share*float64(s.TNS))
}

// Each way in which a run's figures are not the aggregator's makes it INVALID, and for that reason
// alone.
func TestValidity(t *testing.T) {
	const second = int64(1e9)
	for _, test := range []struct {
		name, reason string
		spoil        func(t *testing.T, dir string)
	}{
		{"as measured", "", func(*testing.T, string) {}},
		{"late generator", "the generator was late", func(t *testing.T, dir string) {
			rewriteRequests(t, dir, func(a *ledger.Attempt) {
				if a.Request%5 == 0 {
					a.PlannedNS -= 60e6
				}
			})
		}},
		{"request not sent", "1 of 1051 planned requests were never sent", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) { r.Phases[1].Planned++ })
			rewriteRequests(t, dir, func(*ledger.Attempt) {},
				ledger.Attempt{Request: 1050, Phase: 1, PlannedNS: 4 * second, Cause: ledger.CauseNotSent})
		}},
		{"request unknown to the ledger", "1 of 1051 planned requests were never sent", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) { r.Phases[1].Planned++ })
		}},
		{"generator saturated", "the generator took", func(t *testing.T, dir string) {
			rewrite(t, dir, func(s *result.Sample) { s.GeneratorCPUNS = s.TNS * 16 / 10 })
		}},
		{"another process", "others took 20 % of all cores, the bound is 15 %", func(t *testing.T, dir string) {
			rewrite(t, dir, func(s *result.Sample) { s.MachineCPUNS = others(s, 0.2) })
		}},
		{"a quiet machine", "", func(t *testing.T, dir string) {
			rewrite(t, dir, func(s *result.Sample) { s.MachineCPUNS = others(s, 0.1) })
		}},
		{"generator at its ceiling", "the generator, not the aggregator, set the rate: 83 %", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) {
				r.Generator.CeilingRequests, r.Generator.CeilingNS = uint64(r.Phases[1].Rate*12/10*0.3), 300e6
			})
		}},
		{"generator under its ceiling", "", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) {
				r.Generator.CeilingRequests, r.Generator.CeilingNS = uint64(r.Phases[1].Rate*2), 1e9
			})
		}},
		{"machine stalled", "the machine stood still for 400 ms", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) { r.Generator = result.Generator{Stalls: 1, LongestStallNS: 400e6} })
		}},
		{"wrong depth", "in 1 of", func(t *testing.T, dir string) {
			done := false
			rewrite(t, dir, func(s *result.Sample) {
				if s.TNS > second && !done {
					s.QueueDepth, done = s.QueueDepth+1, true
				}
			})
		}},
		{"a dead letter", "", func(t *testing.T, dir string) {
			rewrite(t, dir, func(s *result.Sample) {
				if s.TNS > second && s.UniqueProcessed > 0 {
					s.UniqueProcessed, s.Failed = s.UniqueProcessed-1, 1
				}
			})
		}},
		{"received before sent", "not those that the ledger had sent", func(t *testing.T, dir string) {
			rewrite(t, dir, func(s *result.Sample) {
				if s.TNS > 0 {
					s.Received, s.UniqueProcessed = s.Received+1000, s.UniqueProcessed+1000
				}
			})
		}},
		{"acknowledged and not received", "not those that the ledger had sent", func(t *testing.T, dir string) {
			rewrite(t, dir, func(s *result.Sample) {
				if s.TNS > 3*second {
					s.Received, s.UniqueProcessed = s.Received-1, s.UniqueProcessed-1
				}
			})
		}},
		{"trace with a gap", "the queue trace has a gap", func(t *testing.T, dir string) {
			rewrite(t, dir, func(s *result.Sample) {
				if s.TNS > second && s.TNS < 2*second+second/10 {
					s.AnsweredNS = 0
				}
			})
		}},
		{"latencies too long for the queue", "Little's law", func(t *testing.T, dir string) {
			spoilHistogram(t, dir, func(bucket *[2]int64) { bucket[0] *= 2 })
		}},
		{"latencies too short for the queue", "Little's law", func(t *testing.T, dir string) {
			spoilHistogram(t, dir, func(bucket *[2]int64) { bucket[0] = (bucket[0] + 1) / 2 })
		}},
		{"latencies too long, with a fault of the disk", "Little's law", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) {
				r.Fault = &result.FaultTimes{Kind: "slow-disk", AtNS: second, ReadyNS: 2 * second}
			})
			spoilHistogram(t, dir, func(bucket *[2]int64) { bucket[0] *= 2 })
		}},
		{"never drained", "not seen empty", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) { r.DrainedNS = 0 })
		}},
		{"tmpfs", "tmpfs", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) { r.Environment.Filesystem = "tmpfs" })
		}},
		{"tmpfs on purpose", "", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) { r.Environment.Filesystem, r.Environment.TmpfsIsAllowed = "tmpfs", true })
		}},
		{"dirty tree", "not committed", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) { r.Environment.Dirty = true })
		}},
		{"race build", "race detector", func(t *testing.T, dir string) {
			rewriteRun(t, dir, func(r *result.Run) { r.Environment.Race = true })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			model := burst
			dir := write(t, model)
			test.spoil(t, dir)
			v, err := result.Validate(dir)
			if err != nil {
				t.Fatal(err)
			}
			if test.reason == "" {
				if !v.Valid {
					t.Errorf("%v", v)
				}
				return
			}
			if v.Valid || len(v.Reasons) != 1 || !strings.Contains(v.Reasons[0], test.reason) {
				t.Errorf("%v, expected %q alone", v, test.reason)
			}
		})
	}
}

// Where Little's law was not checked, the summary has neither side of it.
func TestLittleIsInTheSummary(t *testing.T) {
	s := summarize(t, write(t, burst))
	if s.LittleTraceEvents == nil || *s.LittleTraceEvents < 5000 {
		t.Fatalf("%v", s.LittleTraceEvents)
	}
	within(t, "by the latencies", *s.LittleLatencyEvents, *s.LittleTraceEvents, 0.1)
	if s := summarize(t, write(t, kill)); s.LittleTraceEvents != nil || s.LittleLatencyEvents != nil {
		t.Errorf("of two lives: %v", *s.LittleTraceEvents)
	}
}

func spoilHistogram(t *testing.T, dir string, change func(*[2]int64)) {
	t.Helper()
	raw, err := result.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	buckets := raw.Histograms.Windows[0].End.ProcessingLatencyUS
	for i := range buckets {
		change(&buckets[i])
	}
	if err := result.WriteHistograms(dir, raw.Histograms); err != nil {
		t.Fatal(err)
	}
}

func TestHistogramThatFallsIsRefused(t *testing.T) {
	dir := write(t, steady)
	raw, err := result.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &raw.Histograms.Windows[0]
	w.Start.ProcessingLatencyUS = append(w.Start.ProcessingLatencyUS, [2]int64{7_777_777, 1})
	if err := result.WriteHistograms(dir, raw.Histograms); err != nil {
		t.Fatal(err)
	}
	if _, err := result.Summarize(dir); err == nil {
		t.Error("the window's end has fewer counts than its start, and was summarized")
	}
}
