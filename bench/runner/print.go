package runner

import (
	"fmt"
	"io"
	"strings"

	"sekali/bench/result"
)

// printRun prints what one case came to: the four metrics of the course report under their names, what publishers
// saw, and what did not hold.
func printRun(w io.Writer, j job, run result.Run) {
	s := run.Summary
	fmt.Fprintf(w, "%s (ack=%s)  %s, audit %s\n", j.label(), run.Aggregator.Ack, run.Validity, auditWord(run))
	fmt.Fprintf(w, "  throughput          %.0f accepted/s, %.0f processed/s, %.0f stored/s\n",
		s.ThroughputAcceptedPerS, s.ThroughputProcessedPerS, s.ThroughputStoredPerS)
	fmt.Fprintf(w, "  processing latency  %s\n", percentiles(s.ProcessingLatencyMS))
	fmt.Fprintf(w, "  deduplication rate  %s, %s by the stream\n", percent(s.DeduplicationRate), percent(s.DeduplicationRateExpected))
	fmt.Fprintf(w, "  queue depth         max %d, mean %.0f, drained in %.3g s\n", s.QueueDepthMax, s.QueueDepthMean, s.DrainS)
	fmt.Fprintf(w, "  response time       %s\n", percentiles(s.ResponseTimeMS))
	fmt.Fprintf(w, "  generator           lag %s, %s of all cores, longest stall %d ms, %d of %d requests sent\n",
		percentiles(s.GeneratorLagMS), percent(s.GeneratorCPUShare), run.Generator.LongestStallNS/1e6, s.RequestsSent, s.RequestsPlanned)
	if s.GeneratorCeilingShare != nil {
		fmt.Fprintf(w, "  generator ceiling   %.0f requests/s, %.0f events/s; the load was %.0f %% of it\n",
			*s.GeneratorCeilingRequestsPerS, *s.GeneratorCeilingEventsPerS, *s.GeneratorCeilingShare*100)
	}
	if len(s.ErrorsByCause) > 0 {
		fmt.Fprintf(w, "  errors              %v, %d retries\n", s.ErrorsByCause, s.Retries)
	}
	if s.UnavailableS != nil {
		fmt.Fprintf(w, "  unavailable         %.3f s, ready %.3f s after the restart or the fault's end\n", *s.UnavailableS, *s.ReadyAfterS)
	}
	for _, e := range run.Expectations {
		if !e.Held {
			fmt.Fprintf(w, "  NOT HELD            %s: expected %s, got %s\n", e.Name, e.Expected, e.Got)
		}
	}
	if !run.Held() && run.Audit != nil {
		for _, finding := range run.Audit.Findings {
			fmt.Fprintf(w, "    %s\n", finding)
		}
	}
}

// auditWord is the audit in a word, and in figures where it found something.
func auditWord(run result.Run) string {
	a := run.Audit
	if result.Clean(a) {
		return fmt.Sprintf("clean (%d acknowledged, %d stored)", a.Acknowledged, a.Stored)
	}
	var found []string
	for _, f := range []struct {
		name  string
		count uint64
	}{{"lost", a.Lost}, {"duplicated", a.Duplicated}, {"unexpected", a.Unexpected}, {"out of order", a.OutOfOrder}} {
		if f.count > 0 {
			found = append(found, fmt.Sprintf("%d %s", f.count, f.name))
		}
	}
	for _, c := range a.FailedChecks() {
		found = append(found, c.String())
	}
	if run.Held() {
		return "as expected: " + strings.Join(found, ", ")
	}
	return "FAILED: " + strings.Join(found, ", ")
}

func percentiles(p result.Percentiles) string {
	return fmt.Sprintf("p50 %s, p99 %s, max %s ms", milliseconds(p.P50), milliseconds(p.P99), milliseconds(p.Max))
}

// withheld stands for a figure that was not measured, or has too few samples behind it.
const withheld = "–"

func milliseconds(v *float64) string {
	if v == nil {
		return withheld
	}
	return fmt.Sprintf("%.3g", *v)
}

func percent(v *float64) string {
	if v == nil {
		return withheld
	}
	return fmt.Sprintf("%.4g %%", *v*100)
}
