package cluster

import (
	"errors"
	"fmt"
	"time"
)

// sample is where the log ended at a time.
type sample struct {
	last uint64
	at   time.Time
}

const (
	// samplesKept is at how many of them some are dropped; one is taken a second.
	samplesKept = 3600
	// sampleShare is to which part of itself a lag is known at least: a year has some 3300 samples.
	sampleShare = 256
)

// sample notes where the log ends. mu is held.
func (n *Node) sample(last uint64, at time.Time) {
	if last <= n.status.applied.Position {
		return
	}
	if len(n.status.samples) >= samplesKept {
		n.status.thin(at)
	}
	n.status.samples = append(n.status.samples, sample{last, at})
}

// thin drops the samples that are close to the one before them, for their age. mu is held.
func (s *status) thin(now time.Time) {
	kept := s.samples[:1]
	for _, next := range s.samples[1:] {
		if next.at.Sub(kept[len(kept)-1].at) >= now.Sub(next.at)/sampleShare {
			kept = append(kept, next)
		}
	}
	s.samples = kept
}

// lag is how long ago the log ended where the store has not yet come. mu is held.
func (n *Node) lag(now time.Time) time.Duration {
	if len(n.status.samples) == 0 {
		return 0
	}
	return now.Sub(n.status.samples[0].at)
}

// Why a node is not ready, or keeps a promise from being given.
var (
	ErrUnproven = errors.New("the log does not show that it syncs what it stores")
	ErrLagging  = errors.New("this replica is behind the log")
	ErrNoQuorum = errors.New("no quorum")
	ErrStarting = errors.New("this node has begun a moment ago")

	errNotCompared = fmt.Errorf("%w: it is not yet compared with the other nodes, whose words cannot be read", ErrStarting)
)

// Durable says why nothing can be promised to be in the log now; nil: it can.
func (n *Node) Durable() error {
	full := n.Outbox.Full()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.status.halted != nil:
		return n.status.halted
	case full:
		return ErrFull
	case errors.Is(n.status.headErr, ErrLogin): // nothing would come of a wait
		return fmt.Errorf("%w: %w", ErrNoQuorum, n.status.headErr)
	case n.status.asked && len(n.status.head.Faults) > 0:
		return fmt.Errorf("%w: %s", ErrUnproven, n.status.head.Faults[0])
	case errors.Is(n.status.unproven, ErrUnreachable): // nobody has answered
		return fmt.Errorf("%w: %w", ErrNoQuorum, n.status.unproven)
	case n.status.unproven != nil:
		return fmt.Errorf("%w: %w", ErrUnproven, n.status.unproven)
	case !n.status.compared && n.status.headErr != nil:
		return fmt.Errorf("%w: %w", ErrNoQuorum, n.status.headErr)
	case !n.status.compared: // the log may be one that the others have left
		return errNotCompared
	}
	return nil
}

// stuckAfter is how long the log may take nothing before a publisher is sent elsewhere: its wait
// would end with no_quorum, and what the log says of itself is seconds old. It is longer than the
// sender waits before it sends a lost frame again.
const stuckAfter = 3 * time.Second

// Ready says why readers, and publishers of a durable level or of another, should go to another
// node; nil: they need not. The journal goes on while the log does not, but not of a node whose
// login is refused: a person has to mend that.
//
// A process that has just begun is not ready at any level before it is known what it is: the log
// has said how far it goes, and the store has come as far; the name is this process's; and it was
// compared with the others. Until then it may be far behind, a copy of a node that runs, or
// diverged.
func (n *Node) Ready(durable bool) error {
	err := n.Halted()
	if durable && err == nil {
		err = n.Durable()
	}
	if err != nil {
		return err
	}
	stuck := n.Outbox.Stuck()
	n.mu.Lock()
	defer n.mu.Unlock()
	st := &n.status
	if st.headErr != nil && (durable || !st.asked || errors.Is(st.headErr, ErrLogin)) {
		return fmt.Errorf("%w: %w", ErrNoQuorum, st.headErr)
	}
	if lost := st.noQuorum(); durable && lost != nil {
		return lost
	}
	if st.applied.Position < st.target { // until then nothing is sent that an earlier life has left
		return fmt.Errorf("%w: since its start, by %d frames", ErrLagging, st.target-st.applied.Position)
	}
	if durable && stuck > stuckAfter {
		return fmt.Errorf("%w: the log has taken nothing for %.0f s", ErrNoQuorum, stuck.Seconds())
	}
	if lag := n.lag(time.Now()); lag > n.cfg.MaxLag {
		return fmt.Errorf("%w: by %d frames and %.0f s", ErrLagging, st.head.Last-min(st.head.Last, st.applied.Position), lag.Seconds())
	}
	return st.starting(n.cfg.Name)
}

// Unanswered says why the log answers nothing now, as far as this node knows; nil: it knows of no
// reason.
func (n *Node) Unanswered() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.status.headErr != nil {
		return n.status.headErr
	}
	return n.status.head.Lost()
}

// starting says what is not yet known of a process that has just begun; nil: all is.
func (s *status) starting(name string) error {
	switch {
	case s.untold != nil && !s.named:
		return fmt.Errorf("%w: the others do not know yet where it is: %w", ErrStarting, s.untold)
	case !s.named:
		return fmt.Errorf("%w: it waits for the name %s, until a process that had it has told nothing for %v", ErrStarting, name, leaseBeats*beatEvery)
	case !s.compared:
		return errNotCompared
	}
	return nil
}
