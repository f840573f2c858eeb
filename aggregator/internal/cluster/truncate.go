package cluster

import (
	"context"
	"slices"
	"time"
)

const (
	// truncateFrames is how many are removed from the log at least at a time.
	truncateFrames = 256
	// absentAfter is how long a node may have told nothing before it counts as absent: longer than two
	// elections, during which nobody can tell anything, and than a restart.
	absentAfter = 30 * time.Second
	// keepShare of the log's room is held for an absent node at most, in quarters: what is taken
	// meanwhile has to have room, too.
	keepShare = 3
	// deafAfter is how long a node may have heard nothing itself, and still know who was silent.
	deafAfter = 10 * time.Second
)

// heard is when a node's word was seen to change, by this node's clock: those of others may be
// wrong.
type heard struct {
	revision uint64
	changed  time.Time
}

// noteHeard notes the revision of what a node has told; 0: it has never told anything. It reports
// false for an older one than was heard already: the leader that has it was cut off.
func (n *Node) noteHeard(name string, revision uint64, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, ok := n.status.heard[name]
	if ok && revision < h.revision {
		return false
	}
	if !ok || h.revision != revision {
		n.status.heard[name] = heard{revision, now}
	}
	return true
}

// noteAll notes that all that the others had told when the log began at first was heard. A server
// that has no news of this node says nothing of the others' silence. After a time in which all was
// not heard, that begins anew.
func (n *Node) noteAll(first uint64, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.status.heard[n.cfg.Name].changed) > deafAfter {
		return
	}
	if now.Sub(n.status.heardAll) > deafAfter {
		for name, h := range n.status.heard {
			n.status.heard[name] = heard{h.revision, now}
		}
	}
	n.status.heardAll, n.status.heardFirst = now, first
}

// holder is another node as far as the log has to wait for it.
type holder struct {
	name     string
	position uint64
}

// truncatable is up to where the log need not be kept. Nodes that are present hold what they have
// not applied, and one of them at least has to have it beside this node: two stores are left.
// Absent ones, and those that have halted, hold it while the log has at most keep bytes; beyond,
// the furthest behind of them is dropped, which has to join anew. ok is false if nothing can be
// removed now. So it is while what the others tell is not all known: by an old word a node has
// fallen off the log, and by its latest it has not.
func (s *status) truncatable(own string, keep int64, now time.Time) (through uint64, dropped []string, ok bool) {
	if s.halted != nil || s.headErr != nil || s.heardFirst == 0 {
		return 0, nil, false
	}
	through = s.applied.Position
	present, absent := 0, []holder{}
	for _, name := range s.head.Nodes {
		if name == own {
			continue
		}
		h, asked := s.heard[name]
		if !asked {
			return 0, nil, false
		}
		switch b, told := s.beats[name]; {
		case b.Forgotten:
		case told && b.Halted == "" && now.Sub(h.changed) < absentAfter:
			through = min(through, b.Position)
			if !b.Joining {
				present++
			}
		case b.Position+1 >= s.heardFirst: // else the log has gone on without it
			absent = append(absent, holder{name, b.Position})
		}
	}
	if present == 0 {
		return 0, nil, false
	}
	if s.head.MaxBytes > 0 {
		keep = min(keep, s.head.MaxBytes/4*keepShare)
	}
	slices.SortFunc(absent, func(a, b holder) int { return int(min(max(int64(a.position)-int64(b.position), -1), 1)) })
	for _, a := range absent {
		if s.head.Bytes > keep && len(dropped) == 0 && a.position < through {
			dropped = append(dropped, a.name)
			continue
		}
		through = min(through, a.position)
	}
	return through, dropped, through >= s.head.First+truncateFrames
}

// truncate removes from the log what no node needs of it.
func (n *Node) truncate(ctx context.Context) {
	n.mu.Lock()
	through, dropped, ok := n.status.truncatable(n.cfg.Name, n.cfg.LogKeep, time.Now())
	n.mu.Unlock()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, beatBudget)
	defer cancel()
	if len(dropped) > 0 {
		n.cfg.Logger.Warn("a node is away, and the log goes on without it: it has to join anew", "node", dropped[0], "log_keep", n.cfg.LogKeep)
	}
	if err := n.cfg.Log.Truncate(ctx, through); err != nil && ctx.Err() == nil {
		n.cfg.Logger.Warn("the log was not truncated", "through", through, "error", err)
	}
}
