package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// look asks the log what it is, and whether it is the one that was applied. An error that is
// ErrHalted or ErrNotNamed is for good.
func (n *Node) look(ctx context.Context) error {
	n.mu.Lock()
	applied := n.status.applied.Position // what is applied while it answers it need not know of
	n.mu.Unlock()
	head, err := n.cfg.Log.Head(ctx)
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.headErr = err
	if err != nil {
		n.status.short = short{}
		n.status.head.Leader = "" // who leads now is not known
		if len(head.Peers) > 0 {  // what the leader said of them is of before
			n.status.head.Peers = head.Peers
		}
		return err
	}
	if err := n.check(&head, applied, now); err != nil {
		n.status.headErr = err
		return err
	}
	n.status.short = short{}
	if !n.status.asked {
		n.status.target = head.Last
	}
	n.status.head, n.status.asked = head, true
	n.sample(head.Last, now)
	n.move()
	return nil
}

// ErrNotNamed means that the log names no such node: nobody would count its store, and the log
// would not wait for it.
var ErrNotNamed = errors.New("the log names no such node")

// check compares a log with what was taken of it. A log that was made anew, or that went back, says
// "nothing new" to a reader who only asks for more. What was read and is not yet applied waits in
// this process: the log need not have it any more. applied is how far the store was when the log
// was asked. mu is held.
func (n *Node) check(head *Head, applied uint64, now time.Time) error {
	id := n.Replica.Identity
	switch {
	case head.Cluster != id.Cluster || head.Epoch != id.Epoch:
		return halt("the log is of the cluster %s, epoch %d, and the store of %s, epoch %d", head.Cluster, head.Epoch, id.Cluster, id.Epoch)
	case !head.Created.Equal(id.Created):
		return halt("the log was made anew, on %s: what was applied is of one of %s", head.Created.UTC().Format(time.RFC3339Nano), id.Created.UTC().Format(time.RFC3339Nano))
	case len(head.Nodes) > 0 && !slices.Contains(head.Nodes, n.cfg.Name):
		return fmt.Errorf("%w: -node=%s is none of the cluster's: %v", ErrNotNamed, n.cfg.Name, head.Nodes)
	case head.Last < applied:
		return n.tooShort(head, applied, now)
	case head.First > n.status.read+1:
		return halt("the log begins at %d, and it was read only up to %d: this replica has to be made from another one's", head.First, n.status.read)
	}
	return nil
}

// shortFor is how long one leader has to say that the log ends before what was applied of it. One
// that is cut off says so for up to 20 s; see lostQuorumInterval of nats-server's raft.go.
const shortFor = 30 * time.Second

// short is a log that ends before what was applied of it.
type short struct {
	leader string // who says so …
	since  time.Time
}

// tooShort judges such a log. A leader may be cut off from the others, which have gone on; only one
// that goes on to say so has lost something. mu is held.
func (n *Node) tooShort(head *Head, applied uint64, now time.Time) error {
	if n.status.short.since.IsZero() || n.status.short.leader != head.Leader {
		n.status.short = short{head.Leader, now}
	}
	if now.Sub(n.status.short.since) < cmp.Or(n.cfg.ShortFor, shortFor) {
		return fmt.Errorf("%w: its leader %s is at %d, and %d was applied", ErrUnreachable, head.Leader, head.Last, applied)
	}
	return halt("the log ends at %d, and %d was applied: it has lost what it had", head.Last, applied)
}
