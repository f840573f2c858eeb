package cluster

import (
	"cmp"
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
	First       uint64        `json:"first,omitempty"` // of the log, as this node knew it before it told this
	Checkpoints []TextOfHash  `json:"checkpoints,omitempty"`
	Halted      string        `json:"halted,omitempty"`
	Unready     string        `json:"unready,omitempty"`      // why it is not ready at a durable level
	Retention   time.Duration `json:"retention_ns,omitempty"` // that it wants; 0: none
	Forgotten   bool          `json:"forgotten,omitempty"`    // by a person: the log does not wait for it
	Joining     bool          `json:"joining,omitempty"`      // the log is held from the position on, and no store is there yet
	Left        bool          `json:"left,omitempty"`         // its process has ended in order: the name is free
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
	registry      Registry
	node, session string

	revision uint64
	quiet    int // beats since another's value has changed
	mine     bool
	told     uint64 // revision of the latest word that was taken
	anew     bool   // a later word has a lower one: the registry was made anew
	before   []byte // what somebody else had told last before that; nil: nobody has told anything
	// found makes what is told first of what was told before; nil: it is told as it is.
	found  func(before []byte) ([]byte, error)
	failed error // why the registry has not taken what was told last; nil: it has, or the name is waited for
}

// beat tells and looks until ctx ends.
func (n *Node) beat(ctx context.Context) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	l := lease{registry: n.cfg.Registry, node: n.cfg.Name, session: n.Outbox.session.String()}
	var proved time.Time
	for {
		switch err := n.look(ctx); {
		case errors.Is(err, ErrHalted):
			n.haltFor(err)
		case errors.Is(err, ErrNotNamed): // before anything is told under that name
			return err
		}
		if err := n.tell(ctx, &l, n.own()); err != nil {
			return err
		}
		heard := n.hear(ctx)
		if err := n.compare(); err != nil {
			n.haltFor(err)
		}
		n.noteRound(&l, heard)
		// Behind what the others tell: until all were heard once, nothing is acknowledged beyond the
		// journal. The log may be one that they have left.
		if time.Since(proved) >= proofEvery || n.Durable() != nil {
			n.prove(ctx)
			proved = time.Now()
		}
		n.proposeApply()
		n.truncate(ctx)
		select {
		case <-ctx.Done():
			n.leave(&l)
			return nil
		case <-tick.C:
		}
	}
}

// tell tells a beat. In a registry that was made anew the others' words have lower revisions, too:
// which were heard, and since when they are silent, begins anew.
func (n *Node) tell(ctx context.Context, l *lease, own Beat) error {
	err := l.tell(ctx, own)
	if l.anew {
		n.mu.Lock()
		n.status.heard, l.anew = map[string]heard{}, false
		n.mu.Unlock()
	}
	return err
}

// noteRound notes what a beat has come to: the name is this process's, and the node was compared
// with all others.
func (n *Node) noteRound(l *lease, heard bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.named, n.status.untold = l.mine, l.failed
	n.status.compared = n.status.compared || heard
}

// leaveBudget bounds the last word of a node. It is told while the process waits to end.
const leaveBudget = time.Second

// leave says that the process has ended, so that the next one under its name need not wait for it
// to fall silent. If it cannot be said, the next one waits.
func (n *Node) leave(l *lease) {
	if !l.mine {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveBudget)
	defer cancel()
	own := n.own()
	own.Left = true
	_ = l.tell(ctx, own) // it has ended all the same
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
	unready := n.Ready(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	b := Beat{Node: n.cfg.Name, Session: n.Outbox.session.String(), Version: n.cfg.Version, Apply: int(n.cfg.Known), Retention: n.cfg.Retention, At: time.Now().UTC(),
		Cluster: n.Replica.Identity.Cluster, Epoch: n.Replica.Identity.Epoch, Position: n.status.applied.Position, Hash: n.status.applied.Hash.String(), First: n.status.head.First}
	b.Checkpoints = tellCheckpoints(n.status.kept)
	if n.status.halted != nil {
		b.Halted = n.status.halted.Error()
	}
	if unready != nil {
		b.Unready = unready.Error()
	}
	return b
}

// tell writes a node's beat under its name. An error means that the name is another's.
func (l *lease) tell(ctx context.Context, own Beat) error {
	value, err := json.Marshal(own)
	if err != nil {
		return err
	}
	return l.put(ctx, value)
}

// put writes what is told under the name, once the name is this process's.
func (l *lease) put(ctx context.Context, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, beatBudget)
	defer cancel()
	l.failed = nil
	if !l.mine {
		if free, err := l.await(ctx); !free {
			return err
		}
		if l.found != nil { // what is put replaces this very revision
			var err error
			if value, err = l.found(l.before); err != nil {
				return err
			}
		}
	}
	for range 2 { // once more if an earlier word has arrived whose answer was lost
		revision, err := l.registry.Put(ctx, l.node, value, l.revision)
		switch {
		case err == nil:
			l.anew = l.anew || revision <= l.told
			l.revision, l.told, l.mine, l.failed = revision, revision, true, nil
			return nil
		case errors.Is(err, ErrReplaced) && l.mine:
			if err := l.replaced(ctx); err != nil {
				return err
			}
		case errors.Is(err, ErrReplaced):
			l.revision, l.quiet = 0, 0
			return nil
		default:
			l.failed = err
			return nil
		}
	}
	l.failed = cmp.Or(l.failed, ErrReplaced)
	return nil
}

// await looks whether the name is free: nobody has it, or who has it has left or fallen silent.
func (l *lease) await(ctx context.Context) (free bool, err error) {
	value, revision, err := l.registry.Get(ctx, l.node)
	if err != nil {
		l.failed = err
		return false, nil // the next beat tries again
	}
	var other Beat
	_ = json.Unmarshal(value, &other) // what cannot be read is another's
	if other.Session != l.session {
		l.before = value
	}
	switch {
	case revision == 0 || other.Session == l.session || other.Left:
	case l.revision == 0:
		l.revision = revision
		return false, nil
	case revision < l.revision: // of a leader that was cut off
		return false, nil
	case revision > l.revision:
		return false, fmt.Errorf("%w: %s", ErrNameTaken, l.node)
	default:
		if l.quiet++; l.quiet < leaseBeats {
			return false, nil
		}
	}
	l.revision = revision
	return true, nil
}

// replaced looks who has written under a name that was this process's: an earlier beat whose answer
// was lost, or another process. A lower revision is of a registry that was made anew, or of a
// leader that was cut off: what is put tells them apart.
func (l *lease) replaced(ctx context.Context) error {
	value, revision, err := l.registry.Get(ctx, l.node)
	if err != nil {
		l.failed = err
		return nil
	}
	var other Beat
	_ = json.Unmarshal(value, &other)
	switch {
	case revision == 0 || other.Session == l.session:
		l.revision = revision
	case revision > l.revision:
		return fmt.Errorf("%w: %s", ErrNameTaken, l.node)
	}
	return nil
}

// hear reads what the others tell, and reports whether all could be asked. The registry's leader
// answers; one that was cut off does so for a while yet, and is behind. How far, it says by what it
// has of this node, which is read first: it has, as any later one has, all that the others had told
// when the log began at that word's First.
func (n *Node) hear(ctx context.Context) (all bool) {
	ctx, cancel := context.WithTimeout(ctx, beatBudget)
	defer cancel()
	n.mu.Lock()
	names := n.status.head.Nodes
	n.status.heardFirst = 0
	n.mu.Unlock()
	var own Beat
	value, revision, err := n.cfg.Registry.Get(ctx, n.cfg.Name)
	latest := err == nil && n.noteHeard(n.cfg.Name, revision, time.Now()) && json.Unmarshal(value, &own) == nil && own.Session == n.Outbox.session.String()
	all = len(names) > 0
	for _, name := range names {
		if name == n.cfg.Name {
			continue
		}
		value, revision, err := n.cfg.Registry.Get(ctx, name)
		if err != nil || !n.noteHeard(name, revision, time.Now()) {
			all = false
			continue
		}
		var b Beat
		id := n.Replica.Identity
		switch {
		case revision == 0 || json.Unmarshal(value, &b) != nil:
			continue
		case b.Cluster == id.Cluster && b.Epoch > id.Epoch:
			n.haltFor(leftBehind(&b))
			continue
		case !b.Forgotten && (b.Cluster != id.Cluster || b.Epoch != id.Epoch):
			continue
		}
		n.mu.Lock()
		n.status.beats[name] = b
		if b.Halted == "" && !b.Forgotten && !b.Joining {
			n.status.elsewhere = max(n.status.elsewhere, b.Position)
		}
		n.mu.Unlock()
	}
	if all && latest {
		n.noteAll(own.First, time.Now())
	}
	return all
}

// leftBehind is why a node halts of which another one tells a later epoch: a person has told the
// cluster to go on with a new log. The old one may be there yet, and take what nobody else reads.
func leftBehind(b *Beat) error {
	return halt("%s has gone on with epoch %d: `aggregator cluster new-epoch` takes this replica there, or `cluster join` makes it anew", b.Node, b.Epoch)
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
			case !ok, b.Cluster != n.Replica.Identity.Cluster, b.Epoch != n.Replica.Identity.Epoch: // one that was forgotten
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
