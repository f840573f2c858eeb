package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Pin keeps the log for a replica that is being made: it tells a position under the node's name, as
// the node itself will. So it has the node's lease, and the others count it as present. When it
// ends after Joined, what it has told last stays. Else it gives back what it took: the node's own
// last word, if its store is there as it was. Without a store that word would be wrong: the
// journals of others would be given up because of it. Then what stays is that a join was broken
// off.
type Pin struct {
	lease lease // of keep's goroutine, once there is one
	stop  context.CancelFunc
	ended chan struct{}

	mu     sync.Mutex // guards all below
	own    Beat
	former []byte // what the node has told before, to be given back; nil: nothing is
	lost   error  // the name is another's
}

// PinFor is what a pin is taken for.
type PinFor struct {
	Registry Registry
	Node     string
	Head     Head
	Stored   bool // a replica is in the node's folder, and stays there if the join fails
}

// pinHeard is how long it takes until the others have heard of a pin, and heed it.
const pinHeard = 2 * beatEvery

// errNotPinned means that the registry has not taken the pin in time.
var errNotPinned = errors.New("the log's registry has not taken the pin")

// TakePin takes the name of a node that does not run, and returns once everybody keeps the log from
// the position on, or from where the node itself was, if the log still has that: a join that fails
// takes nothing from it. It takes some seconds.
func TakePin(ctx context.Context, to PinFor, position uint64) (*Pin, error) {
	session := NewSession().String()
	p := &Pin{lease: lease{registry: to.Registry, node: to.Node, session: session}, ended: make(chan struct{})}
	p.lease.found = func(before []byte) ([]byte, error) {
		p.mu.Lock()
		p.own = Beat{Node: to.Node, Session: session, Apply: ApplyVersion, Cluster: to.Head.Cluster, Epoch: to.Head.Epoch, Position: position, Joining: true}
		p.judge(&to, before)
		p.mu.Unlock()
		return json.Marshal(p.beat())
	}
	for !p.lease.mine {
		if err := p.lease.tell(ctx, p.beat()); err != nil {
			return nil, err
		}
		if p.lease.mine {
			break
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errNotPinned, p.lease.failed, ctx.Err())
		case <-time.After(beatEvery):
		}
	}
	var keeping context.Context
	keeping, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	go p.keep(keeping)
	select {
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), p.Release())
	case <-time.After(pinHeard):
	}
	return p, nil
}

// judge takes over what the node has told before: what it wants, from where it needs the log, and
// what is given back. mu is held.
func (p *Pin) judge(to *PinFor, word []byte) {
	var before Beat
	_ = json.Unmarshal(word, &before) // what cannot be read wants nothing
	p.own.Retention, p.own.Version = before.Retention, before.Version
	if before.Apply > 0 { // of the program that runs it: this one may know more
		p.own.Apply = min(p.own.Apply, before.Apply)
	}
	if before.Cluster == to.Head.Cluster && before.Epoch == to.Head.Epoch && !before.Forgotten && before.Position+1 >= to.Head.First {
		p.own.Position = min(p.own.Position, before.Position)
	}
	p.former = nil
	if len(word) > 0 && (to.Stored || before.Forgotten) {
		p.former = word
	}
}

func (p *Pin) beat() Beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.own
	b.At = time.Now().UTC()
	return b
}

// keep tells the pin until ctx ends.
func (p *Pin) keep(ctx context.Context) {
	defer close(p.ended)
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		if err := p.lease.tell(context.WithoutCancel(ctx), p.beat()); err != nil { // within its own time
			p.lose(err)
			return
		}
		select {
		case <-ctx.Done():
			if err := p.lastWord(context.WithoutCancel(ctx)); err != nil { // within its own time
				p.lose(err)
			}
			return
		case <-tick.C:
		}
	}
}

// lastWord tells what stays under the name.
func (p *Pin) lastWord(ctx context.Context) error {
	p.mu.Lock()
	former := p.former
	p.mu.Unlock()
	if former != nil {
		return p.lease.put(ctx, former)
	}
	last := p.beat()
	last.Left = true
	return p.lease.tell(ctx, last)
}

func (p *Pin) lose(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = err
}

// Replacing says that the node's own store may be gone from now on: its former word is not given
// back.
func (p *Pin) Replacing() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.former = nil
}

// Joined says that the copy is in its place, durably: it is a store from now on.
func (p *Pin) Joined(at Checkpoint, kept []Checkpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own.Position, p.own.Hash, p.own.Checkpoints, p.own.Joining = at.Position, at.Hash.String(), tellCheckpoints(kept), false
	p.former = nil
}

// Release ends the telling, and says what stays under the name. The error says that another process
// has taken the name meanwhile.
func (p *Pin) Release() error {
	p.stop()
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// Agreement is what another replica has said of a copy.
type Agreement struct {
	Node string
	At   uint64 // the hash is the same at this position
	Why  string // it could not be compared; "": it was
}

// ErrDiffers means that two replicas have different hashes at one position.
var ErrDiffers = errors.New("replicas differ")

// Beats reads what nodes have told; one that has never told anything is left out.
func Beats(ctx context.Context, registry Registry, nodes []string) (beats []Beat, err error) {
	for _, name := range nodes {
		value, revision, err := registry.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		if revision == 0 {
			continue
		}
		b := Beat{}
		if err := json.Unmarshal(value, &b); err != nil {
			return nil, fmt.Errorf("what %s has told is not understood: %w", name, err)
		}
		b.Node = name
		beats = append(beats, b)
	}
	return beats, nil
}

// CompareCopy holds a copy, by its position and the checkpoints in it, to what the other replicas
// tell: to each at the latest position of which both have the hash. One that has halted is no
// witness.
func CompareCopy(id Identity, own []Checkpoint, others []Beat) (said []Agreement, err error) {
	for _, b := range others {
		a := Agreement{Node: b.Node}
		switch common, known := commonAt(own, &b); {
		case b.Cluster != id.Cluster || b.Epoch != id.Epoch:
			a.Why = "it is of another log"
		case b.Halted != "":
			a.Why = "it has halted"
		case known && common.hash != common.own.Hash.String():
			return said, fmt.Errorf("%w: at %d the copy has the hash %v and %s has %s", ErrDiffers, common.own.Position, common.own.Hash, b.Node, common.hash)
		case known:
			a.At = common.own.Position
		default:
			a.Why = "it has told no hash of a position of which the copy has one"
		}
		said = append(said, a)
	}
	return said, nil
}

// common is a position of which two replicas have a hash.
type common struct {
	own  Checkpoint
	hash string
}

// commonAt is the latest of them.
func commonAt(own []Checkpoint, b *Beat) (latest common, known bool) {
	for _, c := range own {
		if hash, ok := b.at(c.Position); ok && (!known || c.Position > latest.own.Position) {
			latest, known = common{c, hash}, true
		}
	}
	return latest, known
}

// CompareBeats finds the latest position of which two nodes tell a hash, and those hashes; ok is
// false if there is none.
func CompareBeats(a, b *Beat) (at uint64, hashes [2]string, ok bool) {
	for _, c := range append([]TextOfHash{{a.Position, a.Hash}}, a.Checkpoints...) {
		if hash, known := b.at(c.Position); known && c.Hash != "" && (!ok || c.Position > at) {
			at, hashes, ok = c.Position, [2]string{c.Hash, hash}, true
		}
	}
	return at, hashes, ok
}
