package runner

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"sekali/bench/judge"
	"sekali/bench/record"
)

// printRun prints what one case came to: a line, its figures if they are wanted, and what did not
// hold.
func printRun(w io.Writer, j job, run record.Run, detailed bool) {
	fmt.Fprintf(w, "%s (ack=%s)  %s, audit %s\n", j.label(), run.Aggregator.Ack, run.Validity, auditWord(run))
	if detailed {
		printFigures(w, run)
	}
	broken := judge.Broken(run)
	for _, e := range run.Expectations {
		switch {
		case slices.Contains(broken, e):
			fmt.Fprintf(w, "  NOT HELD            %s: expected %s, got %s\n", e.Name, e.Expected, e.Got)
		case !e.Held:
			fmt.Fprintf(w, "  not counted         %s: expected %s, got %s, of a run that is INVALID\n", e.Name, e.Expected, e.Got)
		}
	}
	if len(broken) > 0 && run.Audit != nil {
		for _, finding := range run.Audit.Findings {
			fmt.Fprintf(w, "    %s\n", finding)
		}
	}
}

// printFigures prints the four metrics of the course report under their names, and what publishers
// saw.
func printFigures(w io.Writer, run record.Run) {
	s := run.Summary
	fmt.Fprintf(w, "  throughput          %s accepted/s, %s processed/s, %s stored/s\n",
		rate(s.ThroughputAcceptedPerS), rate(s.ThroughputProcessedPerS), rate(s.ThroughputStoredPerS))
	fmt.Fprintf(w, "  processing latency  %s\n", percentiles(s.ProcessingLatencyMS))
	fmt.Fprintf(w, "  deduplication rate  %s; of the generated events %s\n", percent(s.DeduplicationRate), percent(s.DeduplicationRateExpected))
	fmt.Fprintf(w, "  queue depth         max %d, mean %.0f events, empty %s s after the last answer\n", s.QueueDepthMax, s.QueueDepthMean, plain(s.DrainS, 3))
	waits := "response time     "
	if run.ClosedLoop() {
		waits = "service time      "
	}
	fmt.Fprintf(w, "  %s  %s\n", waits, percentiles(s.ResponseTimeMS))
	if run.Cluster != nil { // figures of a cluster are of all of it
		fmt.Fprintf(w, "  cost                %s µs of processor time and %s bytes written for a stored event, by %d aggregators and %d log servers\n",
			figureText(s.ServerCPUUSPerStored), figureText(s.BytesWrittenPerStored), run.Cluster.Nodes, run.Cluster.Nodes)
	}
	fmt.Fprintf(w, "  generator           sent late by %s; %s of all cores; longest stall %d ms, stalled for %s of the time; %d of %d requests sent\n",
		percentiles(s.GeneratorLagMS), percent(s.GeneratorCPUShare), run.Generator.LongestStallNS/1e6, percent(s.GeneratorStalledShare), s.RequestsSent, s.RequestsPlanned)
	if d := run.Environment.Disk; d != nil {
		fmt.Fprintf(w, "  disk                held to %d MB/s and %d operations/s; it took %.0f MB/s and %.0f operations/s just before\n",
			d.MBPerS, d.OperationsPerS, d.MeasuredMBPerS, d.MeasuredOperationsPerS)
	}
	if n := run.Environment.Network; n != nil {
		fmt.Fprintf(w, "  network             %s; measured just before: %s\n", n, n.Measured())
	}
	fmt.Fprintf(w, "  other processes     %s of the cores that the run may use\n", percent(s.OtherCPUShare))
	if s.GeneratorCeilingShare != nil {
		fmt.Fprintf(w, "  generator ceiling   %.0f requests/s, %.0f events/s; the load was %.0f %% of it\n",
			*s.GeneratorCeilingRequestsPerS, *s.GeneratorCeilingEventsPerS, *s.GeneratorCeilingShare*100)
	}
	for _, r := range s.Readers {
		fmt.Fprintf(w, "  %-18s  %s; %d reads of %d events, %d failed\n", "read by "+r.Kind, percentiles(r.WaitMS), r.Reads, r.Events, r.Failed)
	}
	if s.RateToBare != nil {
		fmt.Fprintf(w, "  bare server         %.0f requests/s, %s, %s µs of CPU a request; the rate is %s of it, the p99 %s ×\n",
			*s.BareRequestsPerS, percentiles(s.BareServiceTimeMS), figureText(s.BareCPUUSPerRequest), percent(s.RateToBare), figureText(s.ServiceTimeP99ToBare))
	}
	if a := run.Audit; a != nil && a.Waits != nil && a.Waits.Bounded > 0 {
		waits := a.Waits
		fmt.Fprintf(w, "  seen from outside   events waited p50 %s to %s, p99 %s to %s, max %s to %s ms; read back %d times, %d events, for %s of the time\n",
			plain(waits.AtLeastMS.P50, 3), plain(waits.AtMostMS.P50, 3), plain(waits.AtLeastMS.P99, 3), plain(waits.AtMostMS.P99, 3),
			plain(waits.AtLeastMS.Max, 3), plain(waits.AtMostMS.Max, 3), waits.Looks, waits.Read, percent(&waits.Share))
	}
	if len(s.ErrorsByCause) > 0 {
		fmt.Fprintf(w, "  errors              %s; %d retries\n", causes(s.ErrorsByCause), s.Retries)
	}
	if s.UnavailableS != nil {
		fmt.Fprintf(w, "  unavailable         %.3f s, ready %.3f s after the restart or the fault's end\n", *s.UnavailableS, *s.ReadyAfterS)
	}
	if s.UnansweredS != nil {
		fmt.Fprintf(w, "  unanswered          %.3f s at most from the fault on, by any node\n", *s.UnansweredS)
	}
	if s.JoinS != nil {
		j := run.Fault.Join
		fmt.Fprintf(w, "  join                %d events, %d bytes: %.1f s, level %.1f s after its begin; %d messages behind, lag %.1f s at most\n",
			j.Before, j.CopyBytes, *s.JoinS, *s.JoinLevelS, j.Behind, j.LagSMax)
	}
}

// auditWord is the audit in a word, and in figures where it found something.
func auditWord(run record.Run) string {
	a := run.Audit
	if judge.Clean(a) {
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
	if len(judge.Broken(run)) == 0 {
		return "as expected: " + strings.Join(found, ", ")
	}
	return "FAILED: " + strings.Join(found, ", ")
}

func percentiles(p record.Percentiles) string {
	return fmt.Sprintf("p50 %s, p99 %s, max %s ms", figureText(p.P50), figureText(p.P99), figureText(p.Max))
}

// withheld stands for a figure that was not measured, or has too few samples behind it.
const withheld = "–"

// figureText is a figure in three digits.
func figureText(v *float64) string {
	if v == nil {
		return withheld
	}
	return plain(*v, 3)
}

// plain is v with so many significant digits and no exponent: 2320, 0.0123.
func plain(v float64, digits int) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	// Reading back what was just written cannot fail.
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}

// causes names each cause of failed attempts with its count, the most frequent first.
func causes(counts map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		// A cause without an answer has the status 0, which means nothing to people.
		names[i] = fmt.Sprintf("%d × %s", counts[name], strings.TrimPrefix(name, "0 "))
	}
	return strings.Join(names, ", ")
}

func percent(v *float64) string {
	if v == nil {
		return withheld
	}
	return plain(*v*100, 4) + " %"
}
