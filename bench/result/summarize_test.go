package result_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"

	"sekali/bench/result"
	"sekali/bench/result/resulttest"
	"sekali/loadgen/ledger"
)

var (
	steady = resulttest.Model{Scenario: "steady", Ack: "journal", Rate: 100, Measured: 3 * time.Second, EventsPerS: 8000, Seed: 1}
	burst  = resulttest.Model{Scenario: "burst", Ack: "journal", Rate: 300, Measured: 3 * time.Second, EventsPerS: 8000, Seed: 2}
	kill   = resulttest.Model{Scenario: "kill", Case: "memory", Ack: "memory", Rate: 200, Measured: 3 * time.Second, EventsPerS: 8000, Seed: 3,
		Kill: 2 * time.Second, Down: 300 * time.Millisecond}
)

func write(t *testing.T, m resulttest.Model) string {
	t.Helper()
	dir := t.TempDir()
	if err := resulttest.Write(dir, m); err != nil {
		t.Fatal(err)
	}
	return dir
}

func summarize(t *testing.T, dir string) result.Summary {
	t.Helper()
	s, err := result.Summarize(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// within is for figures that the model's own ticks blur.
func within(t *testing.T, name string, got, want, tolerance float64) {
	t.Helper()
	if got < want*(1-tolerance) || got > want*(1+tolerance) {
		t.Errorf("%s is %v, expected %v", name, got, want)
	}
}

func TestSummaryOfAnUnloadedServer(t *testing.T) {
	s := summarize(t, write(t, steady))
	if s.AcceptedEvents != 15_000 || s.StoredEvents != 14_000 || s.DuplicateEvents != 3_500 {
		t.Errorf("accepted %d, stored %d, duplicates %d", s.AcceptedEvents, s.StoredEvents, s.DuplicateEvents)
	}
	if *s.DeduplicationRate != 0.2 || *s.DeduplicationRateExpected != 0.2 {
		t.Errorf("deduplication rate %v, expected %v", *s.DeduplicationRate, *s.DeduplicationRateExpected)
	}
	within(t, "throughput_processed_per_s", s.ThroughputProcessedPerS, 5000, 0.01)
	within(t, "throughput_stored_per_s", s.ThroughputStoredPerS, 4000, 0.01)
	within(t, "server_cpu_us_per_stored", *s.ServerCPUUSPerStored, 12/0.8, 0.02)
	within(t, "bytes_written_per_stored", *s.BytesWrittenPerStored, 900, 0.01)
	if s.ResponseTimeMS.Count != 300 || s.ResponseTimeMS.P90 == nil || s.ResponseTimeMS.P99 != nil {
		t.Errorf("of 300 samples p90 is printed and p99 withheld: %+v", s.ResponseTimeMS)
	}
	if *s.ResponseTimeMS.P50 <= *s.ServiceTimeMS.P50 {
		t.Errorf("response time %v must include the lag that service time %v leaves out", *s.ResponseTimeMS.P50, *s.ServiceTimeMS.P50)
	}
}

// The events of a transaction are committed at one moment: as samples they count as one.
func TestLatencyPercentilesNeedCommits(t *testing.T) {
	dir := write(t, steady)
	if p := summarize(t, dir).ProcessingLatencyMS; p.Count < 15_000 || p.P50 == nil || p.P90 == nil || p.P99 != nil || p.Max == nil {
		t.Errorf("of 200 commits p90 is printed and p99 withheld: %+v", p)
	}
	raw, err := result.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	raw.Histograms.Windows[0].End.CommitUS = [][2]int64{{500, 1}}
	if err := result.WriteHistograms(dir, raw.Histograms); err != nil {
		t.Fatal(err)
	}
	if p := summarize(t, dir).ProcessingLatencyMS; p.P50 != nil || p.Mean == nil || p.Max == nil {
		t.Errorf("of one commit: %+v", p)
	}
}

// What a kill at ack=memory took from the queue was accepted and never processed.
func TestProcessedIsWithoutWhatAKillTook(t *testing.T) {
	dir := write(t, kill)
	s := summarize(t, dir)
	if processed := s.ThroughputProcessedPerS * s.ProcessedS; processed >= float64(s.AcceptedEvents) ||
		processed < float64(s.StoredEvents+s.DuplicateEvents)-5100 || processed > float64(s.StoredEvents+s.DuplicateEvents)-4900 {
		t.Errorf("processed %v, accepted %d, committed %d with a warm-up of 5000", processed, s.AcceptedEvents, s.StoredEvents+s.DuplicateEvents)
	}
}

// What a commit waits for the runs is a figure where the aggregator says it; elsewhere there is
// none, not 0.
func TestRunsHeld(t *testing.T) {
	dir := write(t, steady)
	if s := summarize(t, dir); s.RunsHeldMS != (result.Percentiles{}) {
		t.Errorf("not said, and %+v", s.RunsHeldMS)
	}
	if text := folder(t, dir)[result.RunFile]; bytes.Contains(text, []byte("runs_held")) {
		t.Error("run.json has it")
	}
	raw, err := result.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &raw.Histograms.Windows[0]
	w.Start.RunsHeldUS, w.End.RunsHeldUS = [][2]int64{{90_000, 1}}, [][2]int64{{1, 1900}, {20_000, 100}, {40_000, 10}, {90_000, 1}}
	if err := result.WriteHistograms(dir, raw.Histograms); err != nil {
		t.Fatal(err)
	}
	s := summarize(t, dir)
	if s.RunsHeldMS.Count != 2010 || s.RunsHeldMS.P99 == nil || s.RunsHeldMS.P999 != nil {
		t.Fatalf("%+v", s.RunsHeldMS)
	}
	within(t, "p99", *s.RunsHeldMS.P99, 20, 0.001)
	within(t, "max", *s.RunsHeldMS.Max, 40, 0.001)
}

func TestCommitGap(t *testing.T) {
	dir := write(t, burst)
	if s := summarize(t, dir); s.CommitGapMSMax != nil {
		t.Errorf("each sample shows a commit, and %v ms without one", *s.CommitGapMSMax)
	}
	// The writer stops from 2.0 to 2.6 s; where nothing waits it may stop for longer.
	var stopped, idle *result.Sample
	rewrite(t, dir, func(s *result.Sample) {
		if s.TNS >= 2e9 && s.TNS < 2.6e9 {
			if stopped == nil {
				stopped = &result.Sample{UniqueProcessed: s.UniqueProcessed, DuplicateDropped: s.DuplicateDropped}
			}
			s.UniqueProcessed, s.DuplicateDropped = stopped.UniqueProcessed, stopped.DuplicateDropped
		}
		if s.TNS >= 1e9 && s.TNS < 1.9e9 {
			if idle == nil {
				idle = &result.Sample{UniqueProcessed: s.UniqueProcessed, DuplicateDropped: s.DuplicateDropped}
			}
			s.UniqueProcessed, s.DuplicateDropped, s.QueueDepth = idle.UniqueProcessed, idle.DuplicateDropped, 0
		}
	})
	if s := summarize(t, dir); s.CommitGapMSMax == nil || *s.CommitGapMSMax < 500 || *s.CommitGapMSMax > 800 {
		t.Errorf("the writer stopped for 600 ms, the summary says %v", s.CommitGapMSMax)
	}
	rewriteRun(t, dir, func(r *result.Run) { r.Fault = &result.FaultTimes{Kind: "sigkill", AtNS: 2e9} })
	if s := summarize(t, dir); s.CommitGapMSMax != nil {
		t.Errorf("a process that was killed commits nothing, and %v ms are said", *s.CommitGapMSMax)
	}
}

// A disk fault ends no process, and may not even make the aggregator say that it is not ready.
func TestFaultThatIsNotSeen(t *testing.T) {
	dir := write(t, burst)
	rewriteRun(t, dir, func(r *result.Run) {
		r.Fault = &result.FaultTimes{Kind: "slow-disk", AtNS: 1e9, RestartedNS: 3e9, ReadyNS: 3e9 + 1e6}
	})
	if s := summarize(t, dir); s.UnavailableS != nil || s.ReadyAfterS != nil {
		t.Errorf("ready all the time, and unavailable for %v s", *s.UnavailableS)
	}
	rewrite(t, dir, func(s *result.Sample) { s.Ready = s.TNS < 1.5e9 || s.TNS > 2e9 })
	if s := summarize(t, dir); s.UnavailableS == nil || *s.UnavailableS != 2.001 {
		t.Errorf("unavailable %v", s.UnavailableS)
	}
}

func TestNothingIsWrittenOnATmpfs(t *testing.T) {
	dir := write(t, steady)
	rewriteRun(t, dir, func(r *result.Run) { r.Environment.Filesystem = "tmpfs" })
	if s := summarize(t, dir); s.BytesWrittenPerStored != nil {
		t.Errorf("%v bytes", *s.BytesWrittenPerStored)
	}
}

func TestSummaryOfABurst(t *testing.T) {
	s := summarize(t, write(t, burst))
	// 150 requests/s for 1 s, all served; then 15 000 events/s for 3 s into a server of 8 000/s.
	within(t, "throughput_accepted_per_s", s.ThroughputAcceptedPerS, 15_000, 0.01)
	within(t, "throughput_processed_per_s", s.ThroughputProcessedPerS, 8_000, 0.01)
	within(t, "queue_depth_max", float64(s.QueueDepthMax), 21_000, 0.06)
	within(t, "drain_s", s.DrainS, 21_000./8_000, 0.02)
	within(t, "queue_depth_mean", s.QueueDepthMean, 21_000/2, 0.04)
}

func TestSummaryOfAKill(t *testing.T) {
	dir := write(t, kill)
	s := summarize(t, dir)
	run, err := result.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	if run.Audit.Lost == 0 || result.Clean(run.Audit) {
		t.Fatalf("the model lost nothing: %+v", run.Audit)
	}
	if *s.UnavailableS != 0.3 || *s.ReadyAfterS != 0.298 {
		t.Errorf("unavailable for %v s, ready after %v s", *s.UnavailableS, *s.ReadyAfterS)
	}
	if s.Retries == 0 || s.ErrorsByCause["0 "+ledger.CauseConnectionRefused] != s.Retries {
		t.Errorf("%d retries, errors %v", s.Retries, s.ErrorsByCause)
	}
	if !run.Validity.Valid {
		t.Errorf("a loss is the audit's matter: %v", run.Validity)
	}
}

// The counters that fall back to zero at a restart must go on in the sum.
func TestCostsSurviveARestart(t *testing.T) {
	dir := write(t, kill)
	before := summarize(t, dir)
	rewrite(t, dir, func(s *result.Sample) {
		if s.TNS > int64(kill.Kill+kill.Down) {
			s.Commits -= 90
		}
	})
	after := summarize(t, dir)
	if *after.SyncsPer1000Stored >= *before.SyncsPer1000Stored*1.01 || *after.SyncsPer1000Stored <= 0 {
		t.Errorf("syncs %v before, %v with a restart", *before.SyncsPer1000Stored, *after.SyncsPer1000Stored)
	}
}

func TestOtherCPUShare(t *testing.T) {
	dir := write(t, steady)
	if s := summarize(t, dir); s.OtherCPUShare != nil {
		t.Errorf("not measured, and %v", *s.OtherCPUShare)
	}
	rewrite(t, dir, func(s *result.Sample) { s.MachineCPUNS = others(s, 0.07) })
	within(t, "other_cpu_share", *summarize(t, dir).OtherCPUShare, 0.07, 0.001)
	rewrite(t, dir, func(s *result.Sample) { s.MachineCPUNS = 1 })
	if s := summarize(t, dir); *s.OtherCPUShare != 0 {
		t.Errorf("less than nothing: %v", *s.OtherCPUShare)
	}
	brief := write(t, resulttest.Model{Scenario: "brief", Ack: "journal", Rate: 100, Measured: 900 * time.Millisecond, EventsPerS: 8000, Seed: 1})
	rewrite(t, brief, func(s *result.Sample) { s.MachineCPUNS = others(s, 0.5) })
	if s := summarize(t, brief); s.ProcessedS >= 1 || s.OtherCPUShare != nil {
		t.Errorf("of %v s: %v", s.ProcessedS, s.OtherCPUShare)
	}
	rewriteRun(t, dir, func(r *result.Run) { r.Aggregator.External = true })
	if s := summarize(t, dir); s.OtherCPUShare != nil {
		t.Errorf("of a server that is not measured: %v", *s.OtherCPUShare)
	}
}

// A trace from before machine_cpu_ns was measured is read; one with another column is not.
func TestTraceOfEarlierRuns(t *testing.T) {
	var text bytes.Buffer
	w := result.NewTraceWriter(&text)
	for n := range int64(3) {
		if err := w.Write(result.Sample{TNS: n, GeneratorCPUNS: 5, MachineCPUNS: 7}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const own = ",generator_allocated_bytes,generator_write_bytes,failed"
	for cut, want := range map[string]string{
		",machine_cpu_ns" + own + "|,7,0,0,0": "", "|,7,0,0,0": "error", ",machine_cpu_ns" + own + "|": "error",
		",generator_cpu_ns,machine_cpu_ns" + own + "|,5,7,0,0,0": "error", ",generator_write_bytes,failed|,0,0": "error",
		",failed|,0": "",
	} {
		header, row, _ := strings.Cut(cut, "|")
		earlier := zipped(t, strings.NewReplacer(header+"\n", "\n", row+"\n", "\n").Replace(unzipped(t, text.Bytes())))
		samples, failed := 0, ""
		for s, err := range result.ReadTrace(bytes.NewReader(earlier)) {
			if err != nil {
				failed = "error"
			} else if samples++; s.GeneratorCPUNS != 5 || (s.MachineCPUNS != 0) != (header == ",failed") {
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

func TestFinishTwiceChangesNothing(t *testing.T) {
	dir := write(t, steady)
	first := folder(t, dir)
	if _, err := result.Finish(dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range folder(t, dir) {
		if !bytes.Equal(text, first[name]) {
			t.Errorf("%s changed", name)
		}
	}
}

func folder(t *testing.T, dir string) map[string][]byte {
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

func TestBenchTextReadsBack(t *testing.T) {
	dir := write(t, kill)
	file, err := os.Open(filepath.Join(dir, result.BenchFile))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader := benchfmt.NewReader(file, "bench.txt")
	var lines int
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(record)
		case *benchfmt.Result:
			lines++
			if name := record.Name.String(); name != "Kill/case=memory-2" {
				t.Errorf("name %q", name)
			}
			summary := summarize(t, dir)
			if v, ok := record.Value("throughput_stored_per_s"); !ok || v != summary.ThroughputStoredPerS {
				t.Errorf("throughput_stored_per_s is %v, in the summary %v", v, summary.ThroughputStoredPerS)
			}
			if record.GetConfig("goarch") != "amd64" || record.GetConfig("cpu") == "" {
				t.Errorf("config %v", record.Config)
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

func TestTraceReadsBack(t *testing.T) {
	want := []result.Sample{{TNS: -5, Phase: -1}, {TNS: 1, AnsweredNS: 2, Phase: 3, Ready: true, Received: 4, UniqueProcessed: 5,
		DuplicateDropped: 6, Rejected: 7, QueueDepth: 8, QueueBytes: 9, BacklogBytes: 10, Commits: 11, JournalSyncs: 12, JournalBytes: 13,
		AllocatedBytes: 14, ServerCPUNS: 15, ServerRSSBytes: 16, ServerWriteBytes: 17, GeneratorCPUNS: 18, MachineCPUNS: 19, GeneratorAllocatedBytes: 20, GeneratorWriteBytes: 21}}
	text := traceText(t, want)
	var got []result.Sample
	for s, err := range result.ReadTrace(bytes.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for cut := range text {
		if !fails(result.ReadTrace(bytes.NewReader(text[:cut]))) {
			t.Errorf("a trace cut after %d of %d bytes was read without an error", cut, len(text))
		}
	}
}

func fails(rows func(func(result.Sample, error) bool)) bool {
	failed := false
	rows(func(_ result.Sample, err error) bool {
		failed = failed || err != nil
		return true
	})
	return failed
}

func traceText(t *testing.T, samples []result.Sample) []byte {
	t.Helper()
	var text bytes.Buffer
	w := result.NewTraceWriter(&text)
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

func TestUnknownFormatIsRefused(t *testing.T) {
	dir := write(t, steady)
	path := filepath.Join(dir, result.RunFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{{`"format": 1`, `"format": 2`}, {`"format": 1,`, `"format": 1, "new": 0,`}} {
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := result.ReadRun(dir); err == nil {
			t.Errorf("%s was read", change[1])
		}
	}
}
