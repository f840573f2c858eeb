package figures

import (
	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// digested is the audit of a record whose ledger has no times. All that was sent is valid.
type digested struct {
	stream           *stream.Stream
	eventsPerRequest uint64
	requests         uint64 // planned
	ledger           ledger.Digest
}

// audit holds what is stored, and what was counted, to the ledger; without stored nothing is.
func (d digested) audit(stored *record.Stored, counters *audit.Counters) (report audit.Report, checker *audit.Checker, err error) {
	checker, err = audit.NewChecker(audit.Sent{Stream: d.stream, EventsPerRequest: d.eventsPerRequest, Requests: d.requests,
		Attempts: d.ledger.Attempts, Life: &audit.Life{AtMost: true}})
	if err != nil {
		return report, nil, err
	}
	if stored != nil {
		if err := stored.Replay(d.stream, checker); err != nil {
			return report, nil, err
		}
	}
	report, err = checker.Finish(counters)
	report.AddChecks(audit.None("valid_events_rejected", report.Bounds.RejectedEvents))
	return report, checker, err
}
