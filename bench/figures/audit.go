package figures

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// atTheTime are the checks of an audit that need the aggregator itself: of them a record has only
// what they came to.
var atTheTime = []string{"processed_not_numbered", "committed_fell", "committed_not_readable", "page_events_wrong", "topic_page_events_wrong",
	"stream_events_wrong", "changed_on_disk", audit.OutOfTime, audit.ToldTooShort, audit.IntervalPages, audit.TopicStreams, audit.BackupEvents}

// notAlways are those of them that a long, an interrupted or an older run has not.
var notAlways = []string{audit.OutOfTime, audit.ToldTooShort, audit.IntervalPages, audit.TopicStreams, audit.BackupEvents}

// later are the checks that records have since what is stored is kept.
var later = []string{"conflicts", "duplicates_by_answers"}

// unlisted are the checks that older records do not list, and have to keep all the same.
var unlisted = []string{audit.RejectedByLedger, audit.RejectedInLife}

// Sent is what the sender of a run knew.
func Sent(run record.Run, attempts func() iter.Seq2[ledger.Attempt, error]) (audit.Sent, error) {
	made, err := stream.New(run.Stream)
	if err != nil {
		return audit.Sent{}, fmt.Errorf("audit: %w", err)
	}
	var planned uint64
	for _, p := range run.Phases {
		planned += p.Planned
	}
	sent := audit.Sent{Stream: made, EventsPerRequest: uint64(run.Load.EventsPerRequest), Requests: planned, Attempts: attempts,
		Promised: promised(run), Answers: run.Aggregator.Ack == "store", Life: life(run)}
	// At these levels a cluster acknowledges before its log has put it in order: what another node
	// took later may come first.
	if early := run.Aggregator.Ack == "memory" || run.Aggregator.Ack == "journal"; run.Cluster == nil || !early {
		sent.StartedAt = run.StartedAt
	}
	return sent, nil
}

// life says what the counters of rejected events are of.
func life(run record.Run) *audit.Life {
	of := &audit.Life{Shared: run.Cluster != nil}
	if f := run.Fault; f != nil && f.ExitedNS > 0 {
		of.BeganNS, of.Killed = f.RestartedNS, f.Kind == "sigkill"
	}
	return of
}

// promised says which acknowledgements had to survive: all, but those of ack=memory that a SIGKILL
// came after.
func promised(run record.Run) func(ledger.Attempt) bool {
	if run.Aggregator.Ack != "memory" || run.Fault == nil || run.Fault.Kind != "sigkill" {
		return nil
	}
	return func(a ledger.Attempt) bool { return a.SentNS >= run.Fault.RestartedNS }
}

// Audit computes a run's audit again: from the ledger, from what is stored where that was kept, and
// from what the aggregator had counted. What needs the aggregator itself it takes from the record,
// and holds it to its own arithmetic. The error is for a record that contradicts itself.
func Audit(r *record.Raw, recorded audit.Report) (audit.Report, error) {
	if recorded.Counters == nil {
		return recorded, fmt.Errorf("audit: the aggregator's counters are not recorded")
	}
	again, err := replay(r, recorded)
	if err != nil {
		return recorded, err
	}
	again.Counters, again.Database, again.Findings, again.Waits = recorded.Counters, recorded.Database, recorded.Findings, recorded.Waits
	if recorded.Database != nil {
		again.AddDatabase(*recorded.Database, storedBefore(r.Run)+recorded.Counters.UniqueProcessed)
		again.Findings = recorded.Findings
	}
	if r.Run.Surroundings != nil { // records of before have no such check
		again.AddChecks(audit.None(NotReceived, AcknowledgedNotReceived(r)))
	}
	again.Checks = checks(recorded.Checks, again.Checks, r.Stored != nil)
	return again, errors.Join(missing(r, again), byTrace(r, *recorded.Counters), readyByTrace(r), phasesByLedger(r))
}

// replay holds what is stored against the ledger.
func replay(r *record.Raw, recorded audit.Report) (again audit.Report, err error) {
	sent, err := Sent(r.Run, func() iter.Seq2[ledger.Attempt, error] {
		return func(yield func(ledger.Attempt, error) bool) {
			for _, a := range r.Attempts {
				if !yield(a, nil) {
					return
				}
			}
		}
	})
	if err != nil {
		return again, err
	}
	checker, err := audit.NewChecker(sent)
	if err != nil {
		return again, err
	}
	counters := *recorded.Counters
	if r.Stored == nil {
		unanswered := checker.Unanswered()
		checker.AddKept(recorded.Recovered > 0)
		again, err = checker.Finish(&counters)
		return byNumber(recorded, again, unanswered), err
	}
	if err := r.Stored.Replay(sent.Stream, checker); err != nil {
		return again, err
	}
	again, err = checker.Finish(&counters)
	again.OutOfOrder = r.Stored.OutOfOrder
	return again, err
}

// storedBefore is how many events the database had when the load began.
func storedBefore(run record.Run) uint64 {
	if run.Cluster == nil {
		return 0
	}
	return run.Cluster.Before
}

// byNumber is the audit of a record that has only how many events are stored: what was lost follows
// from the number as long as nothing is stored that must not be.
func byNumber(recorded, again audit.Report, unanswered uint64) audit.Report {
	again.Stored, again.Duplicated, again.Unexpected, again.OutOfOrder = recorded.Stored, recorded.Duplicated, recorded.Unexpected, recorded.OutOfOrder
	again.Recovered = min(recorded.Recovered, unanswered)
	switch found := again.Acknowledged + again.Recovered + again.Duplicated; {
	case again.Unexpected > 0 || again.Bounds.RejectedEvents > 0:
		again.Lost = recorded.Lost
	case found >= again.Stored:
		again.Lost = found - again.Stored
	}
	// The most that the duplicates may be grows with what is stored.
	if most := recorded.Bounds.DuplicatesMax; again.Lost > 0 || again.Recovered < unanswered && again.Recovered > 0 {
		again.Bounds.DuplicatesMax = min(again.Bounds.DuplicatesMax, max(again.Bounds.DuplicatesMin, most))
	}
	again.Checks = again.Bounds.Checks(*again.Counters, again.Stored)
	return again
}

// checks are the recorded ones with the numbers that were computed, or, where they cannot be, with
// what follows from their own.
func checks(recorded, computed []audit.Check, kept bool) []audit.Check {
	var again []audit.Check
	for _, c := range recorded {
		at := slices.IndexFunc(computed, func(other audit.Check) bool { return other.Name == c.Name })
		switch {
		case slices.Contains(atTheTime, c.Name):
			c = audit.None(c.Name, c.Got)
		case at >= 0:
			c = computed[at]
		default:
			c.Held = c.Min <= c.Got && c.Got <= c.Max
		}
		again = append(again, c)
	}
	for _, c := range computed {
		if c.Held && slices.Contains(unlisted, c.Name) {
			continue
		}
		if (kept || !slices.Contains(later, c.Name)) && !slices.ContainsFunc(recorded, func(other audit.Check) bool { return other.Name == c.Name }) {
			again = append(again, c)
		}
	}
	return again
}

// missing names what a record of today must have.
func missing(r *record.Raw, a audit.Report) error {
	if r.Run.Aggregator.External {
		return nil
	}
	if a.Database == nil {
		return errors.New("audit: the database was not inspected")
	}
	if r.Run.Sitting != nil && r.Stored == nil {
		return errors.New("audit: what is stored was not kept")
	}
	for _, name := range audit.OfReplicas {
		if r.Run.Cluster != nil && !slices.ContainsFunc(a.Checks, func(c audit.Check) bool { return c.Name == name }) {
			return fmt.Errorf("audit: the check %s is missing", name)
		}
	}
	for _, name := range atTheTime {
		if r.Stored != nil && !slices.Contains(notAlways, name) && !slices.ContainsFunc(a.Checks, func(c audit.Check) bool { return c.Name == name }) {
			return fmt.Errorf("audit: the check %s is missing", name)
		}
	}
	return nil
}

// byTrace holds the counters of the audit to the last sample of the trace, which was taken after
// the drain.
func byTrace(r *record.Raw, c audit.Counters) error {
	answered := r.Answered()
	if len(answered) == 0 {
		return nil
	}
	first, last := answered[0], answered[len(answered)-1]
	for _, of := range []struct {
		name          string
		told, sampled uint64
	}{
		{"received", c.Received, grown(first.Received, last.Received)},
		{"unique_processed", c.UniqueProcessed, grown(first.UniqueProcessed, last.UniqueProcessed)},
		{"duplicate_dropped", c.DuplicateDropped, grown(first.DuplicateDropped, last.DuplicateDropped)},
		{"failed", c.Failed, grown(first.Failed, last.Failed)},
		{"rejected", c.Rejected, grown(first.Rejected, last.Rejected)},
	} {
		if of.told != of.sampled {
			return fmt.Errorf("audit: %s is %d in the audit, and %d at the end of the trace", of.name, of.told, of.sampled)
		}
	}
	return nil
}

// readyByTrace holds the moments of a fault, which are the lab's own, to the trace: the first
// sample after the aggregator was ready again was answered. That it was ready is not asked, since a
// full queue may come at once.
func readyByTrace(r *record.Raw) error {
	f := r.Run.Fault
	if f == nil || f.ReadyNS == 0 {
		return nil
	}
	at := slices.IndexFunc(r.Trace, func(s record.Sample) bool { return s.TNS > f.ReadyNS })
	if at >= 0 && !r.Trace[at].Answered() {
		return fmt.Errorf("fault: ready again after %.3f s, and by the trace not yet after %.3f s", float64(f.ReadyNS)/1e9, float64(r.Trace[at].TNS)/1e9)
	}
	return nil
}

// phasesByLedger holds the ends of the phases to the last answers in the ledger.
func phasesByLedger(r *record.Raw) error {
	ends := make([]int64, len(r.Run.Phases))
	for _, a := range r.Attempts {
		ends[a.Phase] = max(ends[a.Phase], a.DoneNS)
	}
	for i, p := range r.Run.Phases {
		if p.EndNS != ends[i] {
			return fmt.Errorf("phase %s ended after %.9f s, and by the ledger after %.9f s", p.Name, float64(p.EndNS)/1e9, float64(ends[i])/1e9)
		}
	}
	return nil
}
