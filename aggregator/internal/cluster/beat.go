package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// beatEvery is how often a node tells how far it is.
	beatEvery = time.Second
	// proofEvery is how often the log's servers are asked whether they sync: one may have come back
	// with other settings.
	proofEvery = 5 * time.Second
	// leaseBeats is how many beats a node waits for another process under its name to show itself.
	leaseBeats = 3
	// beatBudget bounds one exchange with the registry.
	beatBudget = 3 * time.Second
)

// Beat is what a node tells the others.
type Beat struct {
	Node        string        `json:"node"`
	Session     string        `json:"session"` // of its process
	Version     string        `json:"version"`
	Apply       int           `json:"apply"` // the latest version of what frames lead to that it knows
	At          time.Time     `json:"at"`    // its clock
	Cluster     string        `json:"cluster"`
	Epoch       uint64        `json:"epoch"`
	Position    uint64        `json:"position"` // durable in its store
	Hash        string        `json:"hash"`
	Checkpoints []TextOfHash  `json:"checkpoints,omitempty"`
	Halted      string        `json:"halted,omitempty"`
	Retention   time.Duration `json:"retention_ns,omitempty"` // that it wants; 0: none
	Forgotten   bool          `json:"forgotten,omitempty"`    // by a person: the log does not wait for it
	Joining     bool          `json:"joining,omitempty"`      // the log is held from the position on, and no store is there yet
}

// TextOfHash is a checkpoint as it is told.
type TextOfHash struct {
	Position uint64 `json:"position"`
	Hash     string `json:"hash"`
}

// toldCheckpoints is how many a beat has.
const toldCheckpoints = 16

// tellCheckpoints are the latest of those that are kept.
func tellCheckpoints(kept []Checkpoint) (told []TextOfHash) {
	for _, c := range kept[max(0, len(kept)-toldCheckpoints):] {
		told = append(told, TextOfHash{c.Position, c.Hash.String()})
	}
	return told
}

// at returns the hash that a beat tells for a position. Who joins has none yet.
func (b *Beat) at(position uint64) (hash string, ok bool) {
	if b.Position == position && b.Hash != "" {
		return b.Hash, true
	}
	for _, c := range b.Checkpoints {
		if c.Position == position {
			return c.Hash, true
		}
	}
	return "", false
}

// ErrNameTaken means that another process has the node's name.
var ErrNameTaken = errors.New("another process runs under this node's name")

// lease is this process's hold on the node's name: what the registry has under it is its own, or it
// has waited for the other's to be left alone.
type lease struct {
	revision uint64
	quiet    int // beats since another's value has changed
	mine     bool
}

// beat tells and looks until ctx ends.
func (n *Node) beat(ctx context.Context) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	var l lease
	var proved time.Time
	for {
		if time.Since(proved) >= proofEvery || n.Durable() != nil {
			n.prove(ctx)
			proved = time.Now()
		}
		if err := n.look(ctx); errors.Is(err, ErrHalted) {
			n.haltFor(err)
		}
		if err := l.tell(ctx, n.cfg.Registry, n.own()); err != nil {
			return err
		}
		n.hear(ctx)
		if err := n.compare(); err != nil {
			n.haltFor(err)
		}
		n.proposeApply()
		n.truncate(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// prove asks the log's servers whether they sync.
func (n *Node) prove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, beatBudget)
	defer cancel()
	err := n.cfg.Log.Synced(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	if before := n.status.unproven; err != nil && (before == nil || before.Error() != err.Error()) {
		n.cfg.Logger.Warn("nothing is acknowledged at replicated or store", "error", err)
	} else if err == nil && before != nil {
		n.cfg.Logger.Info("the log's servers sync what they store")
	}
	n.status.unproven = err
}

// own is this node's beat.
func (n *Node) own() Beat {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := Beat{Node: n.cfg.Name, Session: n.Outbox.session.String(), Version: n.cfg.Version, Apply: int(n.cfg.Known), Retention: n.cfg.Retention, At: time.Now().UTC(),
		Cluster: n.Replica.Identity.Cluster, Epoch: n.Replica.Identity.Epoch, Position: n.status.applied.Position, Hash: n.status.applied.Hash.String()}
	b.Checkpoints = tellCheckpoints(n.status.kept)
	if n.status.halted != nil {
		b.Halted = n.status.halted.Error()
	}
	return b
}

// tell writes a node's beat under its name. An error means that the name is another's.
func (l *lease) tell(ctx context.Context, registry Registry, own Beat) error {
	ctx, cancel := context.WithTimeout(ctx, beatBudget)
	defer cancel()
	if !l.mine {
		value, revision, err := registry.Get(ctx, own.Node)
		if err != nil {
			return nil // the next beat tries again
		}
		var other Beat
		_ = json.Unmarshal(value, &other) // what cannot be read is another's
		switch {
		case revision == 0 || other.Session == own.Session:
		case l.revision == 0:
			l.revision = revision
			return nil
		case revision < l.revision: // of a server that is behind
			return nil
		case revision > l.revision:
			return fmt.Errorf("%w: %s", ErrNameTaken, own.Node)
		default:
			if l.quiet++; l.quiet < leaseBeats {
				return nil
			}
		}
		l.revision = revision
	}
	value, err := json.Marshal(own)
	if err != nil {
		return err
	}
	revision, err := registry.Put(ctx, own.Node, value, l.revision)
	switch {
	case err == nil:
		l.revision, l.mine = revision, true
	case errors.Is(err, ErrReplaced):
		if l.mine { // by an earlier beat whose answer was lost, or by another process
			value, revision, err := registry.Get(ctx, own.Node)
			if err != nil {
				return nil
			}
			var other Beat
			_ = json.Unmarshal(value, &other)
			if revision <= l.revision { // of a server that is behind
				return nil
			}
			if other.Session != own.Session {
				return fmt.Errorf("%w: %s", ErrNameTaken, own.Node)
			}
			l.revision = revision
			return nil
		}
		l.revision = 0
	}
	return nil
}

// hear reads what the others tell.
func (n *Node) hear(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, beatBudget)
	defer cancel()
	n.mu.Lock()
	names := n.status.head.Nodes
	n.mu.Unlock()
	for _, name := range names {
		if name == n.cfg.Name {
			continue
		}
		value, revision, err := n.cfg.Registry.Get(ctx, name)
		if err == nil {
			n.noteHeard(name, revision, time.Now())
		}
		var b Beat
		if err != nil || revision == 0 || json.Unmarshal(value, &b) != nil || !b.Forgotten && (b.Cluster != n.Replica.Identity.Cluster || b.Epoch != n.Replica.Identity.Epoch) {
			continue
		}
		n.mu.Lock()
		n.status.beats[name] = b
		if b.Halted == "" && !b.Forgotten && !b.Joining {
			n.status.elsewhere = max(n.status.elsewhere, b.Position)
		}
		n.mu.Unlock()
	}
}

// compare looks for a replica that has decided otherwise. The one that two others contradict halts.
// Where two differ and no third has told, nobody knows which is wrong.
func (n *Node) compare() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	own := append(slices.Clone(n.status.kept), n.status.applied)
	n.status.doubt = ""
	for _, c := range own {
		against := map[string][]string{}
		agree := 0
		for name, b := range n.status.beats {
			hash, ok := b.at(c.Position)
			switch {
			case !ok:
			case hash == c.Hash.String():
				agree++
			default:
				against[hash] = append(against[hash], name)
			}
		}
		for hash, names := range against {
			if len(names) > 1 && len(names) > agree {
				slices.Sort(names)
				return halt("at %d it has the hash %v, and %v have %s: it has diverged", c.Position, c.Hash, names, hash)
			}
			if agree == 0 {
				n.status.doubt = fmt.Sprintf("at %d this replica has the hash %v and %s has %s", c.Position, c.Hash, names[0], hash)
			}
		}
	}
	return nil
}

// Forget marks a node that is away as one that the log does not wait for: when it comes back, it
// may have to be made from another's store. A node that still tells how far it is is refused.
func Forget(ctx context.Context, r Registry, node string) error {
	before, revision, err := r.Get(ctx, node)
	if err != nil {
		return err
	}
	select {
	case <-time.After(leaseBeats * beatEvery):
	case <-ctx.Done():
		return ctx.Err()
	}
	var b Beat
	if len(before) > 0 && json.Unmarshal(before, &b) != nil {
		return fmt.Errorf("what %s has told is not understood", node)
	}
	b.Node, b.Forgotten = node, true
	value, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if _, err = r.Put(ctx, node, value, revision); errors.Is(err, ErrReplaced) {
		return fmt.Errorf("%s is not away: it tells how far it is", node)
	}
	return err
}
