package figures_test

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"sekali/bench/figures"
	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

func summarize(t *testing.T, dir string) record.Summary {
	t.Helper()
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := figures.Summarize(raw)
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
	s := summarize(t, resulttest.Folder(t, resulttest.Steady))
	if s.AcceptedEvents != 15_000 || s.StoredEvents != 14_000 || s.DuplicateEvents != 3_500 {
		t.Errorf("accepted %d, stored %d, duplicates %d", s.AcceptedEvents, s.StoredEvents, s.DuplicateEvents)
	}
	if *s.DeduplicationRate != 0.2 || *s.DeduplicationRateExpected != 0.2 {
		t.Errorf("deduplication rate %v, expected %v", *s.DeduplicationRate, *s.DeduplicationRateExpected)
	}
	within(t, "throughput_processed_per_s", *s.ThroughputProcessedPerS, 5000, 0.01)
	within(t, "throughput_stored_per_s", *s.ThroughputStoredPerS, 4000, 0.01)
	within(t, "server_cpu_us_per_stored", *s.ServerCPUUSPerStored, 12/0.8, 0.02)
	within(t, "bytes_written_per_stored", *s.BytesWrittenPerStored, 900, 0.01)
	if s.ResponseTimeMS.Count != 300 || s.ResponseTimeMS.P90 == nil || s.ResponseTimeMS.P99 != nil {
		t.Errorf("of 300 samples p90 is printed and p99 withheld: %+v", s.ResponseTimeMS)
	}
	if *s.ResponseTimeMS.P50 <= *s.ServiceTimeMS.P50 {
		t.Errorf("response time %v must include the lag that service time %v leaves out", *s.ResponseTimeMS.P50, *s.ServiceTimeMS.P50)
	}
}

// The schedule of an open loop ends an interval after its last request: a server that answers at
// once has the rate that was sent, and no higher one.
func TestOpenLoopHasNoFencePost(t *testing.T) {
	quick := resulttest.Model{Scenario: "quick", Ack: "journal", Rate: 100, Measured: time.Second, EventsPerS: 50_000, Seed: 4}
	for _, model := range []resulttest.Model{resulttest.Steady, quick} {
		s := summarize(t, resulttest.Folder(t, model))
		if *s.ThroughputAcceptedPerS != 5000 {
			t.Errorf("%d requests of 50 events at 100/s come to %v events/s", s.RequestsAcknowledged, *s.ThroughputAcceptedPerS)
		}
		if s.MeasuredS != model.Measured.Seconds() || *s.ThroughputProcessedPerS > 5000 {
			t.Errorf("measured for %v s, %v/s processed", s.MeasuredS, *s.ThroughputProcessedPerS)
		}
	}
}

// A rate of a dozen requests is none, unless many commits are behind it.
func TestThroughputNeedsRequests(t *testing.T) {
	few := resulttest.Model{Scenario: "few", Ack: "journal", Rate: 12, Measured: time.Second, EventsPerS: 600, Seed: 5}
	dir := resulttest.Folder(t, few)
	if s := summarize(t, dir); s.RequestsAcknowledged != 12 || s.ThroughputAcceptedPerS != nil || s.ThroughputProcessedPerS != nil || s.ThroughputStoredPerS != nil {
		t.Errorf("%d requests: %v/s", s.RequestsAcknowledged, s.ThroughputAcceptedPerS)
	}
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	raw.Histograms.Windows[0].End.CommitUS = [][2]int64{{500, 100}}
	if err := record.WriteHistograms(dir, raw.Histograms); err != nil {
		t.Fatal(err)
	}
	if s := summarize(t, dir); s.ThroughputAcceptedPerS != nil || s.ThroughputProcessedPerS == nil || s.ThroughputStoredPerS == nil {
		t.Errorf("of 12 requests and 100 commits: %+v", s)
	}
}

// The events of a transaction are committed at one moment: as samples they count as one.
func TestLatencyPercentilesNeedCommits(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Steady)
	if p := summarize(t, dir).ProcessingLatencyMS; p.Count < 15_000 || p.P50 == nil || p.P90 == nil || p.P99 != nil || p.Max == nil {
		t.Errorf("of 200 commits p90 is printed and p99 withheld: %+v", p)
	}
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	raw.Histograms.Windows[0].End.CommitUS = [][2]int64{{500, 1}}
	if err := record.WriteHistograms(dir, raw.Histograms); err != nil {
		t.Fatal(err)
	}
	if p := summarize(t, dir).ProcessingLatencyMS; p.P50 != nil || p.Mean == nil || p.Max == nil {
		t.Errorf("of one commit: %+v", p)
	}
}

// What a kill at ack=memory took from the queue was accepted and never processed.
func TestProcessedIsWithoutWhatAKillTook(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Kill)
	s := summarize(t, dir)
	if processed := *s.ThroughputProcessedPerS * s.ProcessedS; processed >= float64(s.AcceptedEvents) ||
		processed < float64(s.StoredEvents+s.DuplicateEvents)-5100 || processed > float64(s.StoredEvents+s.DuplicateEvents)-4900 {
		t.Errorf("processed %v, accepted %d, committed %d with a warm-up of 5000", processed, s.AcceptedEvents, s.StoredEvents+s.DuplicateEvents)
	}
}

// What a commit waits for the runs is a figure where the aggregator says it; elsewhere there is
// none, not 0.
func TestRunsHeld(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Steady)
	if s := summarize(t, dir); s.RunsHeldMS != (record.Percentiles{}) {
		t.Errorf("not said, and %+v", s.RunsHeldMS)
	}
	if text := resulttest.Files(t, dir)[record.RunFile]; bytes.Contains(text, []byte("runs_held")) {
		t.Error("run.json has it")
	}
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &raw.Histograms.Windows[0]
	w.Start.RunsHeldUS, w.End.RunsHeldUS = [][2]int64{{90_000, 1}}, [][2]int64{{1, 1900}, {20_000, 100}, {40_000, 10}, {90_000, 1}}
	if err := record.WriteHistograms(dir, raw.Histograms); err != nil {
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
	dir := resulttest.Folder(t, resulttest.Burst)
	if s := summarize(t, dir); s.CommitGapMSMax != nil {
		t.Errorf("each sample shows a commit, and %v ms without one", *s.CommitGapMSMax)
	}
	// The writer stops from 2.0 to 2.6 s; where nothing waits it may stop for longer.
	var stopped, idle *record.Sample
	resulttest.Rewrite(t, dir, func(s *record.Sample) {
		if s.TNS >= 2e9 && s.TNS < 2.6e9 {
			if stopped == nil {
				stopped = &record.Sample{UniqueProcessed: s.UniqueProcessed, DuplicateDropped: s.DuplicateDropped}
			}
			s.UniqueProcessed, s.DuplicateDropped = stopped.UniqueProcessed, stopped.DuplicateDropped
		}
		if s.TNS >= 1e9 && s.TNS < 1.9e9 {
			if idle == nil {
				idle = &record.Sample{UniqueProcessed: s.UniqueProcessed, DuplicateDropped: s.DuplicateDropped}
			}
			s.UniqueProcessed, s.DuplicateDropped, s.QueueDepth = idle.UniqueProcessed, idle.DuplicateDropped, 0
		}
	})
	if s := summarize(t, dir); s.CommitGapMSMax == nil || *s.CommitGapMSMax < 500 || *s.CommitGapMSMax > 800 {
		t.Errorf("the writer stopped for 600 ms, the summary says %v", s.CommitGapMSMax)
	}
	resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Fault = &record.FaultTimes{Kind: "sigkill", AtNS: 2e9} })
	if s := summarize(t, dir); s.CommitGapMSMax != nil {
		t.Errorf("a process that was killed commits nothing, and %v ms are said", *s.CommitGapMSMax)
	}
}

// A disk fault ends no process, and may not even make the aggregator say that it is not ready.
func TestFaultThatIsNotSeen(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Burst)
	resulttest.RewriteRun(t, dir, func(r *record.Run) {
		r.Fault = &record.FaultTimes{Kind: "slow-disk", AtNS: 1e9, RestartedNS: 3e9, ReadyNS: 3e9 + 1e6}
	})
	if s := summarize(t, dir); s.UnavailableS != nil || s.ReadyAfterS != nil {
		t.Errorf("ready all the time, and unavailable for %v s", *s.UnavailableS)
	}
	resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Cluster = &record.Cluster{Nodes: 3} })
	if s := summarize(t, dir); s.UnavailableS != nil || s.UnansweredS == nil || *s.UnansweredS <= 0 {
		t.Errorf("in a cluster, unanswered for %v s", s.UnansweredS)
	}
	resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Cluster = nil })
	resulttest.Rewrite(t, dir, func(s *record.Sample) { s.Ready = s.TNS < 1.5e9 || s.TNS > 2e9 })
	if s := summarize(t, dir); s.UnavailableS == nil || *s.UnavailableS != 2.001 {
		t.Errorf("unavailable %v", s.UnavailableS)
	}
}

func TestNothingIsWrittenOnATmpfs(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Steady)
	resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Environment.Filesystem = "tmpfs" })
	if s := summarize(t, dir); s.BytesWrittenPerStored != nil {
		t.Errorf("%v bytes", *s.BytesWrittenPerStored)
	}
}

// TestNeverAnsweredAgain: who is answered no more from the fault on has waited until the load's
// end.
func TestNeverAnsweredAgain(t *testing.T) {
	raw, err := record.ReadRaw(resulttest.Folder(t, resulttest.Burst))
	if err != nil {
		t.Fatal(err)
	}
	last := raw.Run.Phases[len(raw.Run.Phases)-1].EndNS
	raw.Run.Cluster = &record.Cluster{Nodes: 3}
	raw.Run.Fault = &record.FaultTimes{Kind: "partition", AtNS: last / 2, RestartedNS: last, ReadyNS: last}
	raw.Attempts = slices.DeleteFunc(raw.Attempts, func(a ledger.Attempt) bool { return a.DoneNS >= last/2 })
	s, err := figures.Summarize(raw)
	if err != nil || s.UnansweredS == nil || math.Abs(*s.UnansweredS-float64(last-last/2)/1e9) > 0.001 {
		t.Errorf("unanswered for %v s, the load went on for %v; %v", s.UnansweredS, float64(last-last/2)/1e9, err)
	}
}

func TestSummaryOfABurst(t *testing.T) {
	s := summarize(t, resulttest.Folder(t, resulttest.Burst))
	// 150 requests/s for 1 s, all served; then 15 000 events/s for 3 s into a server of 8 000/s.
	within(t, "throughput_accepted_per_s", *s.ThroughputAcceptedPerS, 15_000, 0.01)
	within(t, "throughput_processed_per_s", *s.ThroughputProcessedPerS, 8_000, 0.01)
	within(t, "queue_depth_max", float64(s.QueueDepthMax), 21_000, 0.06)
	within(t, "drain_s", s.DrainS, 21_000./8_000, 0.02)
	within(t, "queue_depth_mean", s.QueueDepthMean, 21_000/2, 0.04)
}

func TestSummaryOfAKill(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Kill)
	s := summarize(t, dir)
	run, err := record.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	if run.Audit.Lost == 0 || judge.Clean(run.Audit) {
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
	dir := resulttest.Folder(t, resulttest.Kill)
	before := summarize(t, dir)
	resulttest.Rewrite(t, dir, func(s *record.Sample) {
		if s.TNS > int64(resulttest.Kill.Kill+resulttest.Kill.Down) {
			s.Commits -= 90
		}
	})
	after := summarize(t, dir)
	if *after.SyncsPer1000Stored >= *before.SyncsPer1000Stored*1.01 || *after.SyncsPer1000Stored <= 0 {
		t.Errorf("syncs %v before, %v with a restart", *before.SyncsPer1000Stored, *after.SyncsPer1000Stored)
	}
}

func TestOtherCPUShare(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Steady)
	if s := summarize(t, dir); s.OtherCPUShare != nil {
		t.Errorf("not measured, and %v", *s.OtherCPUShare)
	}
	resulttest.Rewrite(t, dir, func(s *record.Sample) { s.MachineCPUNS = resulttest.Others(s, 0.07) })
	within(t, "other_cpu_share", *summarize(t, dir).OtherCPUShare, 0.07, 0.001)
	resulttest.Rewrite(t, dir, func(s *record.Sample) { s.MachineCPUNS = 1 })
	if s := summarize(t, dir); *s.OtherCPUShare != 0 {
		t.Errorf("less than nothing: %v", *s.OtherCPUShare)
	}
	brief := resulttest.Folder(t, resulttest.Model{Scenario: "brief", Ack: "journal", Rate: 100, Measured: 900 * time.Millisecond, EventsPerS: 8000, Seed: 1})
	resulttest.Rewrite(t, brief, func(s *record.Sample) { s.MachineCPUNS = resulttest.Others(s, 0.5) })
	if s := summarize(t, brief); s.ProcessedS >= 1 || s.OtherCPUShare != nil {
		t.Errorf("of %v s: %v", s.ProcessedS, s.OtherCPUShare)
	}
	resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Aggregator.External = true })
	if s := summarize(t, dir); s.OtherCPUShare != nil {
		t.Errorf("of a server that is not measured: %v", *s.OtherCPUShare)
	}
}

// Where Little's law was not checked, the summary has neither side of it.
func TestLittleIsInTheSummary(t *testing.T) {
	s := summarize(t, resulttest.Folder(t, resulttest.Burst))
	if s.LittleTraceEvents == nil || *s.LittleTraceEvents < 5000 {
		t.Fatalf("%v", s.LittleTraceEvents)
	}
	within(t, "by the latencies", *s.LittleLatencyEvents, *s.LittleTraceEvents, 0.1)
	if s := summarize(t, resulttest.Folder(t, resulttest.Kill)); s.LittleTraceEvents != nil || s.LittleLatencyEvents != nil {
		t.Errorf("of two lives: %v", *s.LittleTraceEvents)
	}
}

func TestHistogramThatFallsIsRefused(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Steady)
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &raw.Histograms.Windows[0]
	w.Start.ProcessingLatencyUS = append(w.Start.ProcessingLatencyUS, [2]int64{7_777_777, 1})
	if err := record.WriteHistograms(dir, raw.Histograms); err != nil {
		t.Fatal(err)
	}
	if _, err := figures.Summarize(raw); err == nil {
		t.Error("the window's end has fewer counts than its start, and was summarized")
	}
}
