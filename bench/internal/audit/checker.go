// Package audit compares what the sender's ledger says must be stored with what the aggregator
// gives back, event by event, and reads nothing from the server to know what to expect. The words
// are those of Jepsen's set checker.
package audit

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// maxFindings bounds how many findings are described one by one; the rest are only counted.
const maxFindings = 20

// Sent is the sender's knowledge.
type Sent struct {
	Stream           *stream.Stream
	EventsPerRequest uint64
	Requests         uint64                                  // planned; request k carries events [k*E, (k+1)*E)
	Attempts         func() iter.Seq2[ledger.Attempt, error] // every attempt, in any order; called twice
	// Promised says whether an acknowledged attempt had to survive what was done to the aggregator.
	// ack=memory before a SIGKILL did not: such events are still reported as lost, but the counters
	// cannot be held to them.
	Promised func(ledger.Attempt) bool
	// StartedAt is the zero of the ledger's times. The zero time: they are not held against what is
	// stored.
	StartedAt time.Time
	// Answers says that acknowledgements tell how many duplicates they had (ack=store).
	Answers bool
	// Life says what the counters of rejected events are of; nil: they are not checked.
	Life *Life
	// Outside is what was read while the load lasted; nil: nothing was.
	Outside *Outside
}

// Checker takes the stored events one by one; it keeps three bits for each original of the stream.
//
// With an attempt of a request either applied or not, an original o is processed P(o) times, where
//
//	certain(o) ≤ P(o) ≤ certain(o) + possible(o)
//
// counts its occurrences in attempts that were acknowledged, and in those whose fate is unknown.
// Refused attempts add nothing. The duplicates dropped are the sum of P(o) − 1 over what was
// processed at all.
type Checker struct {
	sent         Sent
	originals    uint64 // of the planned stream
	acknowledged bitset // originals that an acknowledged attempt carried
	certain      bitset // of those, the ones whose acknowledgement was a promise
	possible     bitset // originals that an attempt of unknown fate carried
	stored       bitset
	variants     map[uint64]bool // originals that are stored as a conflicting repeat has them
	timing       *timing         // nil: times are not looked at
	waits        *waits          // nil: nor how long events waited
	topics       topicCounts
	answered     uint64 // duplicates that acknowledgements told of

	report   Report
	lastSeq  int64
	lastTime time.Time
}

// NewChecker reads the ledger a first time.
func NewChecker(sent Sent) (*Checker, error) {
	originals := sent.Stream.Originals(sent.Requests * sent.EventsPerRequest)
	c := &Checker{sent: sent, originals: originals, acknowledged: newBitset(originals), certain: newBitset(originals),
		possible: newBitset(originals), stored: newBitset(originals), lastSeq: -1,
		timing: newTiming(sent.StartedAt, originals), topics: topicCounts{}, variants: map[uint64]bool{},
		waits: newWaits(sent.Outside)}
	for attempt, err := range sent.Attempts() {
		if err != nil {
			return nil, fmt.Errorf("audit: ledger: %w", err)
		}
		if attempt.Request >= sent.Requests {
			return nil, fmt.Errorf("audit: ledger: request %d of %d planned", attempt.Request, sent.Requests)
		}
		if tooLate(attempt) {
			c.timing = nil
		}
		fate := c.fate(attempt)
		for original := range c.events(attempt) {
			if c.timing != nil && fate != refused {
				c.timing.carry(original, attempt, fate == certain)
			}
			switch fate {
			case certain:
				c.certain.set(original)
				c.acknowledged.set(original)
			case broken:
				c.acknowledged.set(original)
				c.possible.set(original)
			case possible, partial:
				c.possible.set(original)
			}
		}
	}
	c.report.Acknowledged = count(c.acknowledged)
	return c, nil
}

// fate is what an attempt says about each of its events.
type fate int

const (
	refused  fate = iota // not taken
	certain              // taken, and promised to stay
	broken               // taken, without a promise that covers the fault
	possible             // taken or not: no answer
	partial              // some of them rejected by index; the ledger only has how many
)

func (c *Checker) fate(a ledger.Attempt) fate {
	switch a.Outcome() {
	case ledger.Refused:
		return refused
	case ledger.Unknown:
		return possible
	}
	switch {
	case uint64(a.Accepted) != c.sent.EventsPerRequest:
		return partial
	case c.sent.Promised != nil && !c.sent.Promised(a):
		return broken
	}
	return certain
}

// events yields the original of each event of the attempt's request.
func (c *Checker) events(a ledger.Attempt) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		first := a.Request * c.sent.EventsPerRequest
		for n := first; n < first+c.sent.EventsPerRequest; n++ {
			if !yield(c.sent.Stream.Original(n)) {
				return
			}
		}
	}
}

// Add takes the next stored event, in the order in which /events gave it.
func (c *Checker) Add(e *Event) {
	c.report.Stored++
	received := c.checkOrder(e)
	c.topics.add(e.Topic)
	match := e.Match(c.sent.Stream)
	original := match.Original
	if !match.Known || original >= c.originals {
		c.unexpected(e, "was never sent")
		return
	}
	if want := match.Want; !match.Exact && (string(e.Topic) != want.Topic || string(e.EventID) != want.EventID) {
		c.unexpected(e, fmt.Sprintf("has the payload of %s/%s", want.Topic, want.EventID))
		return
	}
	if c.stored.has(original) {
		c.report.Duplicated++
		c.find("duplicated", e, "is stored twice")
		return
	}
	c.stored.set(original)
	if match.Variant { // a repeat that says something else may have come first
		c.variants[original] = true
	}
	switch {
	case !c.acknowledged.has(original) && !c.possible.has(original):
		c.unexpected(e, "was only in requests that were refused or not sent")
	case !match.Exact:
		c.unexpected(e, "came back changed")
	case c.timing != nil:
		if wrong := c.timing.check(original, received); wrong != "" {
			c.find("timing", e, wrong)
		}
		c.timing.wait(c.waits, e.Seq, original)
	}
}

// AddExact takes a stored event that is the stream's original byte for byte, as the caller knows
// from what it compared when the event was read; a variant has the payload of a conflicting repeat
// instead. Of its times only the place among the others is looked at.
func (c *Checker) AddExact(original uint64, variant bool) {
	c.report.Stored++
	e := &Event{}
	switch {
	case original >= c.originals:
		c.unexpected(e, fmt.Sprintf("is original %d, which was never sent", original))
		return
	case c.stored.has(original):
		c.report.Duplicated++
		c.find("duplicated", e, fmt.Sprintf("is original %d, stored twice", original))
		return
	}
	c.stored.set(original)
	if variant {
		c.variants[original] = true
	}
	switch {
	case !c.acknowledged.has(original) && !c.possible.has(original):
		c.unexpected(e, fmt.Sprintf("is original %d, only in requests that were refused or not sent", original))
	case c.timing != nil:
		if wrong := c.timing.place(original); wrong != "" {
			c.find("timing", e, wrong)
		}
	}
}

// AddUnexpected takes so many stored events of which nothing is known but that they are not as they
// were sent.
func (c *Checker) AddUnexpected(n uint64) {
	c.report.Stored += n
	c.report.Unexpected += n
}

// Of counts the distinct events that the attempts chosen by which have acknowledged, and those of
// them that are not stored. It is for after the last event.
func (c *Checker) Of(which func(ledger.Attempt) bool) (acknowledged, lost uint64, err error) {
	chosen := newBitset(c.originals)
	for attempt, err := range c.sent.Attempts() {
		if err != nil {
			return 0, 0, fmt.Errorf("audit: ledger: %w", err)
		}
		if fate := c.fate(attempt); (fate == certain || fate == broken) && which(attempt) {
			for original := range c.events(attempt) {
				chosen.set(original)
			}
		}
	}
	return count(chosen), count(chosen, c.stored), nil
}

// checkOrder holds seq to rise, and received_at not to fall where seq rises. It returns the latter.
func (c *Checker) checkOrder(e *Event) time.Time {
	if e.Seq <= c.lastSeq {
		c.report.OutOfOrder++
		c.find("out_of_order", e, fmt.Sprintf("follows seq %d", c.lastSeq))
	}
	c.lastSeq = max(c.lastSeq, e.Seq)
	received, ok := e.Received()
	switch {
	case !ok:
		c.report.OutOfOrder++
		c.find("out_of_order", e, fmt.Sprintf("has received_at %q", e.ReceivedAt))
	case received.Before(c.lastTime):
		c.report.OutOfOrder++
		c.find("out_of_order", e, "was received before the one in front of it")
	default:
		c.lastTime = received
	}
	return received
}

func (c *Checker) unexpected(e *Event, why string) {
	c.report.Unexpected++
	c.find("unexpected", e, why)
}

func (c *Checker) find(kind string, e *Event, why string) {
	if len(c.report.Findings) < maxFindings {
		c.report.Findings = append(c.report.Findings, fmt.Sprintf("%s: seq %d, %s/%s %s", kind, e.Seq, e.Topic, e.EventID, why))
	}
}

// Finish reads the ledger a second time, now that it is known what is stored. counters may be nil:
// then they are not checked, and the report says so.
func (c *Checker) Finish(counters *Counters) (Report, error) {
	c.report.Lost = count(c.acknowledged, c.stored)
	c.report.Recovered = count(and(c.stored, c.possible), c.acknowledged)
	c.describeLost()
	bounds, err := c.bounds()
	if err != nil {
		return c.report, err
	}
	c.report.Bounds = bounds
	if counters != nil {
		c.report.Counters = counters
		c.report.Checks = bounds.Checks(*counters, c.report.Stored)
		if c.sent.Answers {
			c.report.Checks = append(c.report.Checks, within("duplicates_by_answers", counters.DuplicateDropped,
				c.answered, c.answered+bounds.UnknownEvents))
		}
		c.report.Checks = append(c.report.Checks, c.checkTopics(counters.Topics)...)
		rejected, err := c.checkRejected(*counters)
		if err != nil {
			return c.report, err
		}
		c.report.Checks = append(c.report.Checks, rejected...)
	}
	if c.timing != nil {
		c.report.Checks = append(c.report.Checks, c.timing.checks()...)
	}
	if c.timing != nil && c.waits != nil {
		c.report.Checks = append(c.report.Checks, c.waits.check()...)
		c.report.Waits = c.waits.report()
	}
	return c.report, nil
}

// conflicts counts the events of an attempt that say something else than what is stored.
func (c *Checker) conflicts(a ledger.Attempt) (n uint64) {
	if c.sent.Stream.Config().Shape == "" {
		return 0
	}
	event := a.Request * c.sent.EventsPerRequest
	for original := range c.events(a) {
		if c.sent.Stream.Variant(event) != c.variants[original] {
			n++
		}
		event++
	}
	return n
}

// topicCounts has how many events a topic has.
type topicCounts map[string]*uint64

// add counts an event; a topic that is known takes no memory.
func (t topicCounts) add(topic []byte) {
	n := t[string(topic)]
	if n == nil {
		n = new(uint64)
		t[string(topic)] = n
	}
	*n++
}

// maxTopics is how many topics /stats lists.
const maxTopics = 1000

// TopicsMiscounted is the check of that list, which a record does not keep.
const TopicsMiscounted = "topics_miscounted"

// checkTopics holds the list of /stats to what is stored. nil: it is not checked.
func (c *Checker) checkTopics(told map[string]uint64) []Check {
	if told == nil || len(c.topics) > maxTopics {
		return nil
	}
	var wrong uint64
	for topic, events := range c.topics {
		if told[topic] != *events {
			wrong++
		}
	}
	for topic := range told {
		if _, stored := c.topics[topic]; !stored {
			wrong++
		}
	}
	return []Check{None(TopicsMiscounted, wrong)}
}

func (c *Checker) describeLost() {
	for original := uint64(0); original < c.originals && len(c.report.Findings) < maxFindings; original++ {
		if c.acknowledged.has(original) && !c.stored.has(original) {
			want := c.sent.Stream.Event(original)
			c.report.Findings = append(c.report.Findings,
				fmt.Sprintf("lost: original %d, %s/%s was acknowledged and is not stored", original, want.Topic, want.EventID))
		}
	}
}

// errOverflow guards the sums below against a ledger that is not one.
var errOverflow = errors.New("audit: ledger: accepted and rejected exceed the request's events")

// bounds sums what the attempts allow the counters to be.
func (c *Checker) bounds() (Bounds, error) {
	var b Bounds
	// What was lost is counted as lost; the duplicates are those of an aggregator that had kept it.
	kept := or(c.stored, c.certain)
	var certainKept, possibleKept uint64 // occurrences of originals that are kept
	for a, err := range c.sent.Attempts() {
		if err != nil {
			return b, fmt.Errorf("audit: ledger: %w", err)
		}
		accepted, rejected := uint64(a.Accepted), uint64(a.Rejected)
		if accepted+rejected > c.sent.EventsPerRequest {
			return b, errOverflow
		}
		fate := c.fate(a)
		if fate == refused {
			continue
		}
		c.answered += uint64(a.Duplicates)
		conflicts := c.conflicts(a)
		b.ConflictsMax += conflicts
		if fate == certain {
			b.ConflictsMin += conflicts
		}
		var present uint64
		for original := range c.events(a) {
			if kept.has(original) {
				present++
			}
		}
		switch fate {
		case certain:
			b.ReceivedMin += accepted
			b.ReceivedMax += accepted
			b.AcknowledgedEvents += accepted
			certainKept += present
		case broken:
			b.ReceivedMax += accepted
			b.AcknowledgedEvents += accepted
			possibleKept += present
		case partial:
			b.ReceivedMin += accepted
			b.ReceivedMax += accepted
			b.AcknowledgedEvents += accepted
			b.RejectedEvents += rejected
			possibleKept += present
			// Which events were rejected is not in the ledger; more absent ones than that is a loss all the
			// same.
			if absent := c.sent.EventsPerRequest - present; absent > c.sent.EventsPerRequest-accepted {
				c.report.Lost += absent - (c.sent.EventsPerRequest - accepted)
			}
		case possible:
			b.ReceivedMax += c.sent.EventsPerRequest
			b.UnknownEvents += c.sent.EventsPerRequest
			possibleKept += present
		}
	}
	b.DuplicatesMin = certainKept - count(c.certain)
	b.DuplicatesMax = certainKept + possibleKept - count(and(kept, or(c.certain, c.possible)))
	return b, nil
}
