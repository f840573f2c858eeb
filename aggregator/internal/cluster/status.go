package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status is what a node knows of the cluster, for people and programs.
type Status struct {
	Node           string        `json:"node"`
	Cluster        string        `json:"id"`
	Epoch          uint64        `json:"epoch"`
	Position       uint64        `json:"position"` // of the log, in this node's store
	Hash           string        `json:"hash"`     // of what was decided up to there
	Head           uint64        `json:"head"`     // of the log, when it was asked last
	First          uint64        `json:"first"`    // of the log
	LogBytes       int64         `json:"log_bytes"`
	LagSeconds     float64       `json:"lag_seconds"`
	Leader         string        `json:"log_leader"`
	Peers          []Peer        `json:"log_peers"`
	Copies         int           `json:"log_copies"` // that the log should have, one on each of so many servers
	OutboxFrames   int           `json:"outbox_frames"`
	UnloggedFrames int           `json:"unlogged_frames"`   // of them, those that the log has not taken
	Apply          uint16        `json:"apply"`             // version in force of what frames lead to …
	Known          uint16        `json:"apply_known"`       // … and the latest that this program knows
	RetentionS     float64       `json:"retention_seconds"` // after which content expires: the longest that a node wants; 0: never
	Checkpoints    []TextOfHash  `json:"checkpoints"`
	Nodes          []OtherStatus `json:"nodes"`
	Synced         bool          `json:"log_synced"` // the log's servers have shown that they sync
	Faults         []string      `json:"faults"`
}

// OtherStatus is what another node has told last.
type OtherStatus struct {
	Node       string  `json:"node"`
	Position   uint64  `json:"position"`
	Hash       string  `json:"hash"`
	AgeSeconds float64 `json:"age_seconds"` // since this node heard something new of it
	Known      int     `json:"apply_known"`
	RetentionS float64 `json:"retention_seconds"` // that it wants; 0: none
	Halted     string  `json:"halted,omitempty"`
}

// Status returns what is known now.
func (n *Node) Status() Status {
	all, unlogged := n.Outbox.Depth()
	full, stuck := n.Outbox.Full(), n.Outbox.Stuck()
	retention := n.Retention()
	n.mu.Lock()
	defer n.mu.Unlock()
	st, now := &n.status, time.Now()
	s := Status{
		Node: n.cfg.Name, Cluster: n.Replica.Identity.Cluster, Epoch: n.Replica.Identity.Epoch,
		Position: st.applied.Position, Hash: st.applied.Hash.String(), Head: max(st.head.Last, st.read), First: st.head.First, LogBytes: st.head.Bytes,
		LagSeconds: n.lag(now).Seconds(), Leader: st.head.Leader, Peers: slices.Clone(st.head.Peers), Copies: st.head.Copies, OutboxFrames: all, UnloggedFrames: unlogged,
		Apply: st.apply, Known: n.cfg.Known, RetentionS: retention.Seconds(), Synced: st.unproven == nil, Faults: slices.Clone(st.head.Faults), Checkpoints: []TextOfHash{}, Nodes: []OtherStatus{},
	}
	for _, c := range st.kept[max(0, len(st.kept)-toldCheckpoints):] {
		s.Checkpoints = append(s.Checkpoints, TextOfHash{c.Position, c.Hash.String()})
	}
	for name, b := range st.beats {
		s.Nodes = append(s.Nodes, OtherStatus{b.Node, b.Position, b.Hash, now.Sub(st.heard[name].changed).Seconds(), b.Apply, b.Retention.Seconds(), b.Halted})
	}
	slices.SortFunc(s.Nodes, func(a, b OtherStatus) int { return strings.Compare(a.Node, b.Node) })
	for _, fault := range []error{st.halted, st.unproven, st.headErr, st.noQuorum(), st.notTold(), st.takesNothing(full, stuck)} {
		if fault != nil {
			s.Faults = append(s.Faults, fault.Error())
		}
	}
	if st.doubt != "" {
		s.Faults = append(s.Faults, st.doubt)
	}
	if s.Faults == nil {
		s.Faults = []string{}
	}
	return s
}

// notTold is a fault: a node that tells nothing counts as away, and the log goes on without it.
// While the log itself cannot be asked, that is the fault.
func (s *status) notTold() error {
	if s.untold == nil || s.headErr != nil {
		return nil
	}
	return fmt.Errorf("the others were not told where this node is: %w", s.untold)
}

// noQuorum is a fault: a leader hears too few of the log's servers.
func (s *status) noQuorum() error {
	lost := s.head.Lost()
	if lost == nil || s.headErr != nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNoQuorum, lost)
}

// takesNothing is a fault: the log has no room, or says what it is and takes no frame. What an
// earlier life has left is not sent before the store has caught up, and a node that has halted
// sends nothing.
func (s *status) takesNothing(full bool, stuck time.Duration) error {
	switch {
	case s.halted != nil || s.headErr != nil:
		return nil
	case full:
		return ErrFull
	case stuck > stuckAfter && s.applied.Position >= s.target:
		return fmt.Errorf("the log has taken nothing for %.0f s", stuck.Seconds())
	}
	return nil
}

// Warnings are what does not keep the node from taking events, and what a person should know.
func (n *Node) Warnings() (warnings []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.status.doubt != "" {
		warnings = append(warnings, "replicas differ: "+n.status.doubt)
	}
	if why := n.status.notTold(); why != nil {
		warnings = append(warnings, why.Error())
	}
	for name, b := range n.status.beats {
		if b.Retention != n.cfg.Retention && !b.Forgotten {
			warnings = append(warnings, fmt.Sprintf("-retention is %v here and %v on %s: the longest counts, and 0 is never", n.cfg.Retention, b.Retention, name))
		}
	}
	if lacking := n.status.head.Lacking(); lacking != "" {
		warnings = append(warnings, lacking)
	}
	for _, p := range n.status.head.Peers {
		if p.Offline {
			warnings = append(warnings, "the log's server "+p.Name+" is away")
		}
	}
	return warnings
}

// Position is how far the store is, and of which epoch.
func (n *Node) Position() (epoch, position uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Replica.Identity.Epoch, n.status.applied.Position
}
