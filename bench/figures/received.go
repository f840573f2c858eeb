package figures

import (
	"slices"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// NotReceived is the name of the audit's check that AcknowledgedNotReceived finds none.
const NotReceived = "acknowledged_not_received"

// AcknowledgedNotReceived counts the samples of the trace in which the aggregator had received
// fewer events than it had acknowledged by then. No machine makes it say so.
func AcknowledgedNotReceived(r *record.Raw) uint64 {
	answered := r.Answered()
	if len(answered) == 0 {
		return 0
	}
	_, late := OutsideLedger(r, answered)
	return late
}

// OutsideLedger counts the samples whose received events are more than had been sent when the
// sample was answered, and those that are fewer than had been acknowledged when it was asked for.
func OutsideLedger(r *record.Raw, answered []record.Sample) (early, late uint64) {
	var acknowledged, sent []event
	perRequest := uint64(r.Run.Load.EventsPerRequest)
	for _, a := range r.Attempts {
		if a.Attempt == 0 || a.Outcome() == ledger.Refused {
			continue
		}
		if a.Outcome() == ledger.Acknowledged {
			acknowledged = append(acknowledged, event{a.DoneNS, uint64(a.Accepted)})
		}
		sent = append(sent, event{a.SentNS, perRequest})
	}
	low, high := running(acknowledged), running(sent)
	base := answered[0].Received
	for _, s := range answered {
		received := max(base, s.Received) - base
		// A kill takes from ack=memory what it had acknowledged: the audit's matter, not the
		// trace's.
		lossy := r.Run.Aggregator.Ack == "memory" && r.Run.Fault != nil && s.TNS >= r.Run.Fault.AtNS
		// A node of a cluster counts what it has read of the log; others have acknowledged the rest.
		lossy = lossy || r.Run.Cluster != nil
		switch fewest, most := low(s.TNS), high(s.AnsweredNS); {
		case received > most:
			early++
		case received < fewest && !lossy:
			late++
		}
	}
	return early, late
}

// event is so many events at one moment.
type event struct {
	atNS  int64
	count uint64
}

// running returns how many events there were up to and at a moment. It is asked for moments that
// rise.
func running(events []event) func(atNS int64) uint64 {
	slices.SortFunc(events, func(a, b event) int { return int(a.atNS - b.atNS) })
	var next int
	var sum uint64
	return func(atNS int64) uint64 {
		for ; next < len(events) && events[next].atNS <= atNS; next++ {
			sum += events[next].count
		}
		return sum
	}
}
