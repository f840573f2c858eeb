package cluster

import (
	"errors"
	"maps"
)

// Seen is how far a session has come in the log.
type Seen struct {
	Number   uint64 // of the latest frame that counted
	Sum      uint32 // its checksum
	Position uint64 // its place in the log
}

// Cursor is how far the log was read, and what decides which of its frames count. All nodes have
// the same at the same position.
type Cursor struct {
	Position uint64 // of the last message; 0: none
	Sessions map[Session]Seen
	Skipped  map[uint64]bool // the messages that a control lets replicas pass over, and that were
}

// Clone returns a copy.
func (c *Cursor) Clone() Cursor {
	return Cursor{c.Position, maps.Clone(c.Sessions), maps.Clone(c.Skipped)}
}

// errMissing means that the reader has lost messages.
var errMissing = errors.New("messages are missing")

// Skip moves past the message at a place in the log, which nobody can take.
func (c *Cursor) Skip(at uint64) error {
	if at != c.Position+1 {
		return halt("the log goes on at %d behind %d: %w", at, c.Position, errMissing)
	}
	c.Position = at
	c.note(at)
	return nil
}

// passedOver reports that a message behind a place in the log, and up to another, was passed over.
func (c *Cursor) passedOver(behind, through uint64) bool {
	for at := range c.Skipped {
		if at > behind && at <= through {
			return true
		}
	}
	return false
}

// note notes that a message was passed over.
func (c *Cursor) note(at uint64) {
	if c.Skipped == nil {
		c.Skipped = map[uint64]bool{}
	}
	c.Skipped[at] = true
}

// Next moves to the message at a place in the log. It counts if it is the next of its session: a
// sender who does not know whether a frame has arrived sends it again, under its number, and all
// behind it. So a repeat is no publisher's duplicate, and a frame that has overtaken another comes
// again behind it. So does one that follows an acknowledged frame which was passed over, damaged:
// the next life of its sender sends both again.
//
// An error halts: the reader has lost a message, the log has lost a frame that it had acknowledged,
// or two processes write under one session.
func (c *Cursor) Next(at uint64, f *Frame) (counts bool, err error) {
	if at != c.Position+1 { // clients of logs have lost messages in silence, so nobody is believed
		return false, halt("the log goes on at %d behind %d: %w", at, c.Position, errMissing)
	}
	if f.Control != nil {
		if n := f.Control.Skip; n > 0 && n < at && !c.Skipped[n] {
			return false, halt("message %d tells to pass over message %d, which was applied here: make this replica from another one's", at, n)
		}
		c.Position = at
		return true, nil
	}
	seen := c.Sessions[f.Session]
	switch {
	case f.Acked > seen.Number && !c.passedOver(seen.Position, f.AckedAt):
		return false, halt("the log has lost frames of the session %v that it had acknowledged: up to %d at %d, and up to %d are here",
			f.Session, f.Acked, f.AckedAt, seen.Number)
	case f.Number == seen.Number && f.Sum != seen.Sum:
		return false, halt("the log has two frames %d of the session %v", f.Number, f.Session)
	case f.Number == seen.Number+1 && f.Previous != seen.Sum:
		return false, halt("frame %d of the session %v does not follow the one before it", f.Number, f.Session)
	}
	c.Position = at
	if f.Number != seen.Number+1 {
		return false, nil
	}
	c.Sessions[f.Session] = Seen{f.Number, f.Sum, at}
	return true, nil
}
