package audit

import (
	"fmt"

	"sekali/loadgen/ledger"
)

// The checks of what the aggregator counts as rejected.
const (
	RejectedByLedger = "rejected_by_ledger"
	RejectedInLife   = "rejected_in_life"
)

// Life is what of a load the counters of rejected events are of, those of the process that is asked
// last.
type Life struct {
	BeganNS int64 // it was started; 0: before the load
	Killed  bool  // and the one before was killed: what that had not committed, it has forgotten
	AtMost  bool  // and what was answered when and by whom is not known: there is no least
}

// ByCode is rejected_by_code of /stats: events that one process has rejected; nil: it does not say.
type ByCode map[string]uint64

// Since is how many there are since an earlier answer of the same process.
func (now ByCode) Since(before ByCode) *uint64 {
	if now == nil {
		return nil
	}
	var n uint64
	for code, events := range now {
		n += events - before[code]
	}
	return &n
}

// Told are the counters as an answer of /stats has them.
type Told struct {
	Counters
	RejectedByCode ByCode `json:"rejected_by_code"`
}

// Whole are the counters with those of the process's life.
func (t Told) Whole() Counters {
	t.RejectedInLife = t.RejectedByCode.Since(nil)
	return t.Counters
}

// checkRejected holds the counters to what publishers were told. An attempt without an answer may
// have been counted: as another attempt of its request was, or with any of its events.
func (c *Checker) checkRejected(counters Counters) ([]Check, error) {
	of := c.sent.Life
	if of == nil {
		return nil, nil
	}
	var all, inLife struct{ min, max uint64 }
	answered, told := newBitset(c.sent.Requests), map[uint64]uint64{}
	var unanswered []ledger.Attempt
	for a, err := range c.sent.Attempts() {
		if err != nil {
			return nil, fmt.Errorf("audit: ledger: %w", err)
		}
		if a.Outcome() == ledger.Unknown {
			unanswered = append(unanswered, a)
			continue
		}
		n := uint64(a.Rejected)
		if a.Outcome() == ledger.Acknowledged || n > 0 {
			answered.set(a.Request)
		}
		if n > 0 {
			told[a.Request] = n
		}
		all.max += n
		if a.DoneNS >= of.BeganNS {
			inLife.max += n
		}
		after := a.SentNS >= of.BeganNS
		if after && !of.AtMost {
			inLife.min += n
		}
		if (after || !of.Killed) && !of.AtMost {
			all.min += n
		}
	}
	for _, a := range unanswered {
		n := c.sent.EventsPerRequest
		if answered.has(a.Request) {
			n = told[a.Request]
		}
		all.max += n
		if a.DoneNS >= of.BeganNS {
			inLife.max += n
		}
	}
	checks := []Check{within(RejectedByLedger, counters.Rejected, all.min, all.max)}
	if counters.RejectedInLife != nil {
		checks = append(checks, within(RejectedInLife, *counters.RejectedInLife, inLife.min, inLife.max))
	}
	return checks, nil
}
