package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Control is a message that tells all replicas something at the same place of the log. It is of no
// session and may come twice: the second changes nothing. One of its fields is set.
type Control struct {
	// Expire takes the content of the events up to a seq. Who proposes it has a clock; who applies it
	// needs none.
	Expire int64 `json:"expire,omitempty"`
	// Skip lets replicas pass over the message at a position, at which they halt.
	Skip uint64 `json:"skip,omitempty"`
	// Apply is the apply version from here on.
	Apply uint16 `json:"apply,omitempty"`
}

// ErrUnknown means a message for a later program than this one. It is not damaged.
var ErrUnknown = errors.New("this program does not know it: upgrade this node")

func (c *Control) check() error {
	set := 0
	for _, is := range []bool{c.Expire > 0, c.Skip > 0, c.Apply > 0} {
		if is {
			set++
		}
	}
	if set != 1 || c.Expire < 0 {
		return fmt.Errorf("%w: the control says %d things, want one", ErrFrame, set)
	}
	return nil
}

// Message is the control as the log takes it, of a node where this apply version is in force.
func (c *Control) Message(apply uint16) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	f := Frame{Apply: apply, Control: c, Body: body}
	return f.Encode(nil), nil
}

// decodeControl reads a control's body.
func decodeControl(f *Frame) error {
	if f.Session != (Session{}) || f.Number != 0 || f.Acked != 0 || f.AckedAt != 0 || f.Previous != 0 || f.Events != 0 || f.Time.UnixNano() != 0 {
		return fmt.Errorf("%w: a control of a session", ErrFrame)
	}
	decoder := json.NewDecoder(bytes.NewReader(f.Body))
	decoder.DisallowUnknownFields()
	f.Control = &Control{}
	if err := decoder.Decode(f.Control); err != nil || decoder.More() {
		return fmt.Errorf("%w: the control %.80q: %w", ErrFrame, f.Body, ErrUnknown)
	}
	return f.Control.check()
}

var errFound = errors.New("found")

// ToSkip looks behind a message for a control that says to pass over it. What is there is what has
// come until now: who has told all replicas so starts them again.
func (n *Node) ToSkip(ctx context.Context, at uint64) (skip bool, err error) {
	head, err := n.cfg.Log.Head(ctx)
	if err != nil {
		return false, err
	}
	if head.Last <= at {
		return false, nil
	}
	err = n.cfg.Log.Read(ctx, at, func(behind uint64, message []byte) error {
		if f, _, err := decode(message); err == nil && f.Control != nil && f.Control.Skip == at {
			skip = true
		}
		if skip || behind >= head.Last {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return skip, err
}

// PassOver notes that the writer passes over a message which the reader could take: one that makes
// the program panic where it is applied. Its session goes on behind it, and nobody sends it again.
func (n *Node) PassOver(e *Entry) {
	n.Outbox.passOver(e)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.passed[e.At] = true
	n.move()
}

// learnSkipped tells the cursor, before it is asked about a control that skips a message, whether
// the writer has passed over that one. The reader may be far ahead of it.
func (n *Node) learnSkipped(ctx context.Context, at uint64, c *Control) error {
	if c == nil || c.Skip == 0 || c.Skip >= at || n.cursor.Skipped[c.Skip] {
		return nil
	}
	for {
		n.mu.Lock()
		there, passed, halted, moved := n.status.applied.Position >= c.Skip, n.status.passed[c.Skip], n.status.halted, n.status.moved
		n.mu.Unlock()
		switch {
		case passed:
			n.cursor.note(c.Skip)
			return nil
		case there:
			return nil
		case halted != nil:
			return halted
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Tell appends a control to the log. Whether it has arrived shows where it is applied.
func (n *Node) Tell(c Control) error {
	n.mu.Lock()
	apply := n.status.apply
	n.mu.Unlock()
	message, err := c.Message(apply)
	if err != nil {
		return err
	}
	return n.cfg.Log.Append(message, func(uint64, error) {})
}

// presentFor is how long a node counts as there that has told nothing.
const presentFor = 10 * time.Second

// Proposes reports that this node is the one that proposes controls now: the first by name of those
// that are there. Two may take themselves for it: a control may come twice.
func (n *Node) Proposes() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.status.halted != nil || n.status.headErr != nil {
		return false
	}
	for name, b := range n.status.beats {
		if name < n.cfg.Name && b.Halted == "" && !b.Joining && !b.Left && time.Since(n.status.heard[name].changed) < presentFor {
			return false
		}
	}
	return true
}

// told calls each with what every other node has told last, also one that is away. It reports false
// if one has never told anything. Those that were forgotten do not count. mu is held.
func (n *Node) told(each func(b *Beat)) bool {
	if !n.status.asked {
		return false
	}
	for _, name := range n.status.head.Nodes {
		if name == n.cfg.Name {
			continue
		}
		b, ok := n.status.beats[name]
		if !ok {
			return false
		}
		if !b.Forgotten {
			each(&b)
		}
	}
	return true
}

// Retention is after how long content expires: the longest that a node wants. 0: never, since one
// wants that, or has told nothing yet.
func (n *Node) Retention() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	longest, never := n.cfg.Retention, n.cfg.Retention == 0
	all := n.told(func(b *Beat) {
		longest, never = max(longest, b.Retention), never || b.Retention == 0
	})
	if !all || never {
		return 0
	}
	return longest
}

// proposeApply tells all replicas to go on with the latest apply version that every node knows.
func (n *Node) proposeApply() {
	if !n.Proposes() {
		return
	}
	n.mu.Lock()
	least, inForce := n.cfg.Known, n.status.apply
	all := n.told(func(b *Beat) { least = min(least, uint16(b.Apply)) })
	n.mu.Unlock()
	if !all || least <= inForce {
		return
	}
	if err := n.Tell(Control{Apply: least}); err != nil {
		n.cfg.Logger.Warn("the apply version was not proposed", "version", least, "error", err)
	}
}

// Earliest is the earliest of this time, which is now by this node's clock, and what it is by the
// clocks of the other nodes that are there: one clock that is ahead lets nothing expire. It is not
// known while none of them is there, unless all were forgotten.
func (n *Node) Earliest(now time.Time) (earliest time.Time, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	known = !slices.ContainsFunc(n.status.head.Nodes, func(name string) bool { return name != n.cfg.Name && !n.status.beats[name].Forgotten })
	for name, b := range n.status.beats {
		if since := time.Since(n.status.heard[name].changed); since < presentFor && !b.Left && !b.Forgotten && !b.At.IsZero() {
			known = true
			if told := b.At.Add(since); told.Before(now) {
				now = told
			}
		}
	}
	return now, known
}
