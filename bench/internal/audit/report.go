package audit

import "fmt"

// Report is the audit's result; counts are of events.
type Report struct {
	Acknowledged uint64 `json:"acknowledged"` // distinct events that an acknowledged request carried
	Stored       uint64 `json:"stored"`       // rows that /events gave
	Lost         uint64 `json:"lost"`         // acknowledged and absent
	Duplicated   uint64 `json:"duplicated"`   // stored again
	Unexpected   uint64 `json:"unexpected"`   // never sent, only refused, or with another content
	Recovered    uint64 `json:"recovered"`    // without an answer, and present
	OutOfOrder   uint64 `json:"out_of_order"` // seq not rising, or received_at falling

	Bounds   Bounds    `json:"bounds"`
	Counters *Counters `json:"counters"` // null: not checked
	Checks   []Check   `json:"checks"`
	Database *Database `json:"database"` // null: not inspected
	Findings []string  `json:"findings"` // the first of what was found, in words

	Waits *Waits `json:"waits,omitempty"` // as a reader from outside bounds them; null: nothing was read
}

// AddDatabase holds the stopped aggregator's file to what it had said of itself.
func (r *Report) AddDatabase(d Database, uniqueProcessed uint64) {
	r.Database = &d
	r.Checks = append(r.Checks, d.checks(uniqueProcessed)...)
	if d.Integrity != "ok" {
		r.Findings = append(r.Findings, "database: "+d.Integrity)
	}
}

// databaseIntegrity is the check that fails where SQLite's own does; it has no numbers.
const databaseIntegrity = "database_integrity"

func (d Database) checks(uniqueProcessed uint64) []Check {
	checks := []Check{within("database_events", d.Events, uniqueProcessed, uniqueProcessed)}
	if d.Integrity != "ok" {
		checks = append(checks, Check{Name: databaseIntegrity})
	}
	return checks
}

// Bounds is what the ledger allows the aggregator's counters to be, in events. Minimum and maximum
// are equal when every attempt was acknowledged or refused.
type Bounds struct {
	AcknowledgedEvents uint64 `json:"acknowledged_events"` // accepted in acknowledged requests, repeats included
	UnknownEvents      uint64 `json:"unknown_events"`      // in attempts without an answer
	RejectedEvents     uint64 `json:"rejected_events"`     // refused by index
	ReceivedMin        uint64 `json:"received_min"`
	ReceivedMax        uint64 `json:"received_max"`
	DuplicatesMin      uint64 `json:"duplicates_min"`
	DuplicatesMax      uint64 `json:"duplicates_max"`
	ConflictsMin       uint64 `json:"conflicts_min,omitempty"` // duplicates that say something else
	ConflictsMax       uint64 `json:"conflicts_max,omitempty"`
}

// Counters are those of /stats, counted since the attack's start.
type Counters struct {
	Received         uint64 `json:"received"`
	UniqueProcessed  uint64 `json:"unique_processed"`
	DuplicateDropped uint64 `json:"duplicate_dropped"`
	Failed           uint64 `json:"failed,omitempty"` // dead letters: acknowledged, they are also lost
	Rejected         uint64 `json:"rejected"`
	QueueDepth       uint64 `json:"queue_depth"`
	Conflicts        uint64 `json:"conflicts,omitempty"`

	// RejectedInLife is the sum of rejected_by_code, which begins anew with the process.
	RejectedInLife *uint64 `json:"rejected_in_life,omitempty"`

	Topics map[string]uint64 `json:"-"` // events by topic; nil: not checked
}

// Check is one comparison of a counter with the ledger.
type Check struct {
	Name string `json:"name"`
	Held bool   `json:"held"`
	Got  uint64 `json:"got"`
	Min  uint64 `json:"min"`
	Max  uint64 `json:"max"`
}

func (c Check) String() string {
	if c.Min == c.Max {
		return fmt.Sprintf("%s is %d, must be %d", c.Name, c.Got, c.Min)
	}
	if c.Max == unbounded {
		return fmt.Sprintf("%s is %d, must be at least %d", c.Name, c.Got, c.Min)
	}
	return fmt.Sprintf("%s is %d, must be %d to %d", c.Name, c.Got, c.Min, c.Max)
}

// FailedChecks are those that did not hold.
func (r Report) FailedChecks() []Check {
	var failed []Check
	for _, c := range r.Checks {
		if !c.Held {
			failed = append(failed, c)
		}
	}
	return failed
}

// AddChecks takes checks that were made of more than the ledger.
func (r *Report) AddChecks(checks ...Check) { r.Checks = append(r.Checks, checks...) }

// None is the check that something was found no times.
func None(name string, found uint64) Check { return within(name, found, 0, 0) }

// Equal is the check that two counts are one.
func Equal(name string, got, want uint64) Check { return within(name, got, want, want) }

func within(name string, got, low, high uint64) Check {
	return Check{Name: name, Held: low <= got && got <= high, Got: got, Min: low, Max: high}
}

// Checks holds the counters to the ledger, and to each other.
func (b Bounds) Checks(c Counters, stored uint64) []Check {
	sum := c.UniqueProcessed + c.DuplicateDropped + c.Failed + c.QueueDepth
	return []Check{
		within("unique_processed", c.UniqueProcessed, stored, stored),
		within("received", c.Received, sum, sum),
		within("queue_depth", c.QueueDepth, 0, 0),
		within("received_by_ledger", c.Received, b.ReceivedMin, b.ReceivedMax),
		within("conflicts", c.Conflicts, b.ConflictsMin, b.ConflictsMax),
		within("duplicate_dropped", c.DuplicateDropped, b.DuplicatesMin, b.DuplicatesMax),
	}
}
