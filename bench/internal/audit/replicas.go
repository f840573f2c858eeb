package audit

import (
	"bytes"
	"fmt"
	"iter"
)

// Replica is what one node of a cluster gives, in the order of seq.
type Replica struct {
	Name   string
	Events iter.Seq2[*Event, error]
}

// The checks of a cluster's replicas: the first two are those of CompareReplicas.
const (
	ReplicaEventsMissing  = "replica_events_missing"
	ReplicaEventsDiffer   = "replica_events_differ"
	ReplicaDatabaseEvents = "replica_database_events"
	ReplicaDatabaseBroken = "replica_database_broken"
)

// CompareReplicas reads all replicas side by side, event by event: each seq has to be in every one
// of them, with the same bytes, received_at included. It returns two checks and the first of what
// was found, in words.
func CompareReplicas(replicas []Replica) (checks []Check, findings []string, err error) {
	c := &comparison{}
	for _, r := range replicas {
		next, stop := iter.Pull2(r.Events)
		defer stop()
		c.readers = append(c.readers, &reader{name: r.Name, next: next})
	}
	for _, r := range c.readers {
		if err := r.advance(); err != nil {
			return nil, nil, err
		}
	}
	for {
		first := c.lowest()
		if first == nil {
			break
		}
		if err := c.compare(first, first.event.Seq); err != nil {
			return nil, nil, err
		}
	}
	return []Check{None(ReplicaEventsMissing, c.missing), None(ReplicaEventsDiffer, c.differ)}, c.findings, nil
}

// comparison is CompareReplicas under way.
type comparison struct {
	readers         []*reader
	missing, differ uint64
	findings        []string
}

// reader is a replica with the event that it has come to; nil at its end.
type reader struct {
	name  string
	next  func() (*Event, error, bool)
	event *Event
}

func (r *reader) advance() error {
	last := int64(-1)
	if r.event != nil {
		last = r.event.Seq
	}
	event, err, ok := r.next()
	if !ok {
		r.event = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("audit: replica %s: %w", r.name, err)
	}
	if event.Seq <= last {
		return fmt.Errorf("audit: replica %s: seq %d follows %d", r.name, event.Seq, last)
	}
	r.event = event
	return nil
}

// lowest is the reader with the lowest seq; nil: all have ended.
func (c *comparison) lowest() *reader {
	var first *reader
	for _, r := range c.readers {
		if r.event != nil && (first == nil || r.event.Seq < first.event.Seq) {
			first = r
		}
	}
	return first
}

// compare holds every replica to the event that first has at seq, and goes on behind it.
func (c *comparison) compare(first *reader, seq int64) error {
	for _, r := range c.readers {
		switch {
		case r == first:
		case r.event == nil || r.event.Seq != seq:
			c.missing++
			c.find("missing: seq %d (%s/%s) is in %s and not in %s", seq, first.event.Topic, first.event.EventID, first.name, r.name)
		case !sameEvent(first.event, r.event):
			c.differ++
			c.find("different: seq %d is %s/%s of %s in %s, and %s/%s of %s in %s", seq, first.event.Topic, first.event.EventID,
				first.event.ReceivedAt, first.name, r.event.Topic, r.event.EventID, r.event.ReceivedAt, r.name)
		}
	}
	for _, r := range c.readers {
		if r != first && r.event != nil && r.event.Seq == seq {
			if err := r.advance(); err != nil {
				return err
			}
		}
	}
	return first.advance()
}

func (c *comparison) find(format string, args ...any) {
	if len(c.findings) < maxFindings {
		c.findings = append(c.findings, fmt.Sprintf(format, args...))
	}
}

func sameEvent(a, b *Event) bool {
	return bytes.Equal(a.Topic, b.Topic) && bytes.Equal(a.EventID, b.EventID) && bytes.Equal(a.Timestamp, b.Timestamp) &&
		bytes.Equal(a.Source, b.Source) && bytes.Equal(a.Payload, b.Payload) && bytes.Equal(a.ReceivedAt, b.ReceivedAt)
}
