package runner

import (
	"fmt"
	"slices"
	"strconv"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/bench/scenario"
)

// expectations holds the audit and the summary to what the scenario claims, and to what must always
// be: the order of the events, the counters, and that something was measured at all.
func expectations(expect scenario.Expect, report audit.Report, summary record.Summary) []record.Expectation {
	counts := []struct {
		name string
		want scenario.Count
		got  uint64
	}{
		{"acknowledged", scenario.Some, report.Acknowledged},
		{"lost", expect.Lost, report.Lost},
		{"duplicated", expect.Duplicated, report.Duplicated},
		{"unexpected", expect.Unexpected, report.Unexpected},
		{"out_of_order", scenario.Exactly(0), report.OutOfOrder},
		{"rejected", scenario.Exactly(0), report.Bounds.RejectedEvents},
		{"unacknowledged", expect.Unacknowledged, summary.RequestsPlanned - summary.RequestsAcknowledged},
		{"refused", expect.Refused, summary.Refusals()},
		{"failures", expect.Failures, summary.Failures()},
	}
	if len(summary.Readers) > 0 {
		counts = append(counts, struct {
			name string
			want scenario.Count
			got  uint64
		}{"failed_reads", scenario.Exactly(0), summary.FailedReads()})
	}
	var all []record.Expectation
	for _, c := range counts {
		all = append(all, record.Expectation{Name: c.name, Expected: c.want.String(), Got: strconv.FormatUint(c.got, 10), Held: c.want.Allows(c.got)})
	}
	return append(all, deduplication(expect, report), counters(report))
}

// duplicateCheck is the audit's check that the deduplication rate rests on.
const duplicateCheck = "duplicate_dropped"

// deduplication is exact if as many duplicates were dropped as the ledger says, or as the attempts
// of unknown fate allow.
func deduplication(expect scenario.Expect, report audit.Report) record.Expectation {
	e := record.Expectation{Name: "deduplication_rate", Expected: expect.DeduplicationRate, Got: "not counted"}
	at := slices.IndexFunc(report.Checks, func(c audit.Check) bool { return c.Name == duplicateCheck })
	if at < 0 {
		return e
	}
	check := report.Checks[at]
	e.Held = check.Held || expect.DeduplicationRate == "any"
	e.Got = "exact"
	switch {
	case !check.Held:
		e.Got = check.String()
	case check.Min != check.Max:
		e.Got = fmt.Sprintf("exact within %d to %d duplicates, for want of %d answers", check.Min, check.Max, report.Bounds.UnknownEvents)
	}
	return e
}

func counters(report audit.Report) record.Expectation {
	e := record.Expectation{Name: "counters", Expected: "agree with the ledger", Got: "agree", Held: len(report.Checks) > 0}
	if !e.Held {
		e.Got = "not read"
	}
	for _, c := range report.FailedChecks() {
		if c.Name == duplicateCheck { // has a line of its own
			continue
		}
		e.Held, e.Got = false, c.String()
	}
	return e
}
