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

// atTheTime are the checks of an audit that need the aggregator itself, and find nothing where all
// is well: of them a record has only what they found.
var atTheTime = []string{"processed_not_numbered", "committed_fell", "committed_not_readable", "page_events_wrong", "topic_page_events_wrong",
	"stream_events_wrong", "changed_on_disk"}

// notAlways are others of them, which a long, an interrupted or an older run has not, or only that
// of a cluster.
var notAlways = []string{audit.OutOfTime, audit.TopicsMiscounted, audit.ToldTooShort, audit.IntervalPages, audit.TopicStreams, audit.BackupEvents,
	audit.ReplicaEventsMissing, audit.ReplicaEventsDiffer, audit.ReplicaDatabaseBroken}

// notComputed are the checks that cannot be computed of a record without times or surroundings.
var notComputed = []string{audit.OutOfRealTimeOrder, NotReceived}

// later are the checks that records have since what is stored is kept.
var later = []string{"conflicts", "duplicates_by_answers"}

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
	of := &audit.Life{AtMost: run.Cluster != nil}
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
	again.Checks, err = checks(r, recorded, again.Checks)
	return again, errors.Join(err, missing(r, again), byTrace(r, *recorded.Counters), moments(r))
}

// replay holds what is stored against the ledger.
func replay(r *record.Raw, recorded audit.Report) (again audit.Report, err error) {
	sent, err := Sent(r.Run, func() iter.Seq2[ledger.Attempt, error] { return attempts(r) })
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

// attempts are those of the ledger, as an audit reads them.
func attempts(r *record.Raw) iter.Seq2[ledger.Attempt, error] {
	return func(yield func(ledger.Attempt, error) bool) {
		for _, a := range r.Attempts {
			if !yield(a, nil) {
				return
			}
		}
	}
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

// checks are the recorded ones with the numbers that were computed, or, where only the run could
// count, with what follows from their own.
func checks(r *record.Raw, recorded audit.Report, computed []audit.Check) (again []audit.Check, err error) {
	named := func(all []audit.Check, name string) int {
		return slices.IndexFunc(all, func(c audit.Check) bool { return c.Name == name })
	}
	for _, c := range recorded.Checks {
		switch at := named(computed, c.Name); {
		case slices.Contains(atTheTime, c.Name), slices.Contains(notAlways, c.Name):
			c = audit.None(c.Name, c.Got)
		case at >= 0:
			c = computed[at]
		case slices.Contains(notComputed, c.Name):
			c = audit.None(c.Name, c.Got)
		default:
			if c, err = told(r, recorded, c); err != nil {
				return nil, err
			}
		}
		again = append(again, c)
	}
	for _, c := range computed {
		if (r.Stored != nil || !slices.Contains(later, c.Name)) && named(recorded.Checks, c.Name) < 0 {
			again = append(again, c)
		}
	}
	return again, nil
}

// told is the check of what the aggregator, another node or strace had counted at the end. The
// error is for a count that is not that of the trace, or of a check that nobody makes.
func told(r *record.Raw, recorded audit.Report, c audit.Check) (audit.Check, error) {
	switch c.Name {
	case audit.SyncsByLedger, audit.CommitsByLedger:
		field := func(s record.Sample) uint64 { return s.Commits }
		if c.Name == audit.SyncsByLedger {
			field = func(s record.Sample) uint64 { return s.JournalSyncs }
		}
		apart, err := audit.Apart(attempts(r))
		return audit.AtLeast(c.Name, c.Got, apart), errors.Join(err, countedInTrace(r, c.Name, c.Got, field))
	case audit.SyncsByKernel:
		return audit.AtMost(c.Name, c.Got, c.Max), nil
	case audit.ReplicaDatabaseEvents:
		return audit.Equal(c.Name, c.Got, storedBefore(r.Run)+recorded.Counters.UniqueProcessed), nil
	}
	return c, fmt.Errorf("audit: nobody makes a check %s", c.Name)
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
	for _, name := range []string{audit.ReplicaEventsMissing, audit.ReplicaEventsDiffer} {
		if r.Run.Cluster != nil && !slices.ContainsFunc(a.Checks, func(c audit.Check) bool { return c.Name == name }) {
			return fmt.Errorf("audit: the check %s is missing", name)
		}
	}
	for _, name := range atTheTime {
		if r.Stored != nil && !slices.ContainsFunc(a.Checks, func(c audit.Check) bool { return c.Name == name }) {
			return fmt.Errorf("audit: the check %s is missing", name)
		}
	}
	return nil
}

// byTrace holds the counters of the audit to the last sample of the trace, which was taken after
// the drain.
func byTrace(r *record.Raw, c audit.Counters) error {
	return errors.Join(
		countedInTrace(r, "received", c.Received, func(s record.Sample) uint64 { return s.Received }),
		countedInTrace(r, "unique_processed", c.UniqueProcessed, func(s record.Sample) uint64 { return s.UniqueProcessed }),
		countedInTrace(r, "duplicate_dropped", c.DuplicateDropped, func(s record.Sample) uint64 { return s.DuplicateDropped }),
		countedInTrace(r, "failed", c.Failed, func(s record.Sample) uint64 { return s.Failed }),
		countedInTrace(r, "rejected", c.Rejected, func(s record.Sample) uint64 { return s.Rejected }))
}

// countedInTrace holds a count to what the trace has of it.
func countedInTrace(r *record.Raw, name string, got uint64, field func(record.Sample) uint64) error {
	answered := r.Answered()
	if len(answered) == 0 {
		return nil
	}
	if sampled := grown(field(answered[0]), field(answered[len(answered)-1])); got != sampled {
		return fmt.Errorf("audit: %s is %d in the audit, and %d at the end of the trace", name, got, sampled)
	}
	return nil
}
