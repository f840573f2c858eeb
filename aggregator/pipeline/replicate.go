package pipeline

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
)

// In a cluster the way of an event is longer: the committer's journal is the outbox, from which the
// node sends frames to the log, and the queue is filled with what the node reads from the log, its
// own frames and the others'.

// QuorumWait is how long a publisher waits for the log, and for this node's store if it has to. An
// election takes 4 to 9 s.
const QuorumWait = 10 * time.Second

// ErrNoQuorum means that the log has not answered in time. It is open whether the events will be
// stored: they are in this node's journal, and are sent on.
var ErrNoQuorum = cluster.ErrNoQuorum

// replication is what the pipeline of a cluster has beside the others.
type replication struct {
	waiting atomic.Int32  // publishers that wait for the log or for the store
	hurried atomic.Int32  // who waits for the store: of the publishers, and readers
	made    *cluster.Made // of the group that is being journaled; the committer's
	roomy   chan struct{} // a token when the queue has lost an item
	stuck   chan struct{} // closed when the writer has halted
	ended   chan struct{} // closed when it has ended

	gatherFor, quorumWait, commitEvery time.Duration // but in tests the constants
}

func newReplication() replication {
	return replication{roomy: make(chan struct{}, 1), stuck: make(chan struct{}), ended: make(chan struct{}),
		gatherFor: gatherFor, quorumWait: QuorumWait, commitEvery: replicaEvery}
}

// idle reports that nobody waits.
func (r *replication) idle() bool { return r.waiting.Load() == 0 }

// Node is this aggregator's part in a cluster; nil: it is alone.
func (p *Pipeline) Node() *cluster.Node { return p.cfg.Node }

// replicate is Publish in a cluster.
func (p *Pipeline) replicate(level Level, r *event.Request) (out Outcome, err error) {
	if !cluster.Fits(r.Data) {
		return out, fmt.Errorf("%w: an event of more than %d bytes does not fit into the cluster's log", ErrTooLarge, cluster.MaxEventBytes)
	}
	if err := p.cfg.Node.Halted(); err != nil {
		return out, err
	}
	if level == Replicated || level == Store {
		if err := p.cfg.Node.Durable(); err != nil {
			return out, err
		}
		p.replication.waiting.Add(1)
		defer p.replication.waiting.Add(-1)
	}
	if level == Store {
		p.replication.hurried.Add(1)
		defer p.replication.hurried.Add(-1)
	}
	limit := time.NewTimer(p.replication.quorumWait)
	defer limit.Stop()
	g, before, err := p.join(level, r)
	if err != nil || level == Memory {
		return out, err
	}
	if <-g.done; g.err != nil || level == Journal {
		return out, g.err
	}
	select {
	case <-g.ticket.Logged:
	case <-limit.C:
		return out, undecided(p.noAnswer())
	case <-p.cfg.Node.Stopped():
		return out, undecided(p.cfg.Node.Halted())
	case <-p.replication.ended:
		return out, undecided(ErrShuttingDown)
	}
	if err := p.cfg.Node.Durable(); err != nil { // while it waited
		return out, undecided(err)
	}
	out.Position = g.ticket.At
	if level == Replicated {
		return out, nil
	}
	select {
	case <-g.ticket.Applied:
	case <-limit.C:
		return out, undecided(fmt.Sprintf("it is in the log, and not in this node's store within %v", p.replication.quorumWait))
	case <-p.cfg.Node.Stopped():
		return out, undecided(p.cfg.Node.Halted())
	case <-p.replication.ended:
		return out, undecided(ErrShuttingDown)
	}
	if g.ticket.Passed {
		return out, undecided("a message of the log was passed over that has some of them")
	}
	end := before + r.Events
	out.Stored, out.Seqs = g.ticket.Stored[before:end:end], g.ticket.Seqs[before:end:end]
	return out, nil
}

// noAnswer says that the log has not answered in time, and why, if that is known.
func (p *Pipeline) noAnswer() string {
	said := fmt.Sprintf("no answer within %v", p.replication.quorumWait)
	if why := p.cfg.Node.Unanswered(); why != nil {
		said += ": " + why.Error()
	}
	return said
}

// undecided is what a publisher hears whose events are in the journal and not acknowledged. No
// other error is wrapped: its code would say that nothing was taken.
func undecided(why any) error {
	return fmt.Errorf("%w: %v; it is open whether the events will be stored", ErrNoQuorum, why)
}

// write makes a group durable in the journal, in a cluster as frames of the log.
func (p *Pipeline) write(g *group) (frame journal.Frame, err error) {
	now := p.clock.now()
	if p.cfg.Node == nil {
		return p.journal.Append(g.requests, g.events, now)
	}
	if p.replication.made, err = p.cfg.Node.Outbox.Make(g.requests, g.events, now); err != nil {
		return frame, err
	}
	return p.journal.Append(p.replication.made.Bytes, g.events, now)
}

const (
	// gatherFor is how long a group waits for company at most, and gatherBytes from where on it does
	// not: frames of 128 KiB carry 300 000 events of 250 bytes a second. Reasoned, not measured: with
	// 5 ms the log gets 200 frames a second and not one for each request.
	gatherFor   = 5 * time.Millisecond
	gatherBytes = 128 << 10
)

// gather waits, before a group of a cluster is taken, for company for it, while the log is busy.
// Each frame costs the log's servers their syncs, so that many small ones wait for each other
// there, and what is in the journal is cut into frames for good. All who are in the group wait for
// the log, where it would wait; who waits for the journal alone is not kept. While the log is
// quick, nobody is.
func (p *Pipeline) gather(ctx context.Context) {
	if p.cfg.Node == nil {
		return
	}
	var late <-chan time.Time
	for {
		busy, changed := p.cfg.Node.Outbox.Busy()
		if !busy || !p.patient() {
			return
		}
		if late == nil {
			timer := time.NewTimer(p.replication.gatherFor)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-changed:
		case <-p.pendingReady: // takeGroup sees what has come
		case <-late:
			return
		case <-p.closing:
			return
		case <-ctx.Done():
			return
		}
	}
}

// patient reports that a group waits that may have company yet.
func (p *Pipeline) patient() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending) == 1 && !p.pending[0].hurried && p.pending[0].bytes < gatherBytes && !p.closed
}

// handOver gives the node a group that is in the journal, to send it.
func (p *Pipeline) handOver(g *group, frame journal.Frame) {
	if p.cfg.Node != nil {
		g.ticket = p.cfg.Node.Outbox.Add(p.replication.made, frame, g.keep)
		p.replication.made = nil
	}
}

// RunNode runs the node until ctx ends.
func (p *Pipeline) RunNode(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.runExpiry(ctx)
	}()
	err := p.cfg.Node.Run(ctx, p.deliver)
	cancel()
	<-ended
	return err
}

// deliver queues a message of the log, once there is room. Half of what may wait in memory is for
// them, so that publishers are taken while the store catches up.
func (p *Pipeline) deliver(ctx context.Context, e *cluster.Entry) error {
	i := &item{data: e.Frame.Body, events: e.Events(), acceptedAt: e.Accepted, stamp: e.Frame.Time, entry: e}
	for !p.enqueueEntry(i) {
		select {
		case <-p.replication.roomy:
		case <-time.After(freshFree): // the disk may have room again
		case <-p.replication.stuck:
			return p.cfg.Node.Halted()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// enqueueEntry reports false if there is no room. Once the pipeline is closed it takes what
// somebody waits for, and no more: the others go on sending.
func (p *Pipeline) enqueueEntry(i *item) bool {
	p.lockFresh(i.memoryBytes())
	defer p.mu.Unlock()
	if p.closed && p.replication.idle() {
		return false
	}
	full := p.queue.memoryEvents+i.events > p.cfg.QueueEvents/2 || p.counters.QueueBytes+i.memoryBytes() > p.cfg.QueueBytes/2
	if len(p.queue.waiting()) > 0 && full || p.noRoom(i.memoryBytes()) != nil {
		return false
	}
	if i.acceptedAt.IsZero() { // of another node: it counts from here on
		i.acceptedAt = time.Now()
	}
	p.enqueue(i)
	return true
}

// takeEntries gives the batch what its transaction does for the cluster.
func (w *writer) takeEntries() {
	b := w.batch
	b.Also, b.released, b.Expire, b.Replica = nil, 0, 0, w.cfg.Node != nil
	if w.cfg.Node == nil {
		return
	}
	var entries []*cluster.Entry
	for _, part := range b.parts {
		entries = append(entries, part.item.entry)
		if control := part.item.entry.Frame.Control; control != nil {
			b.Expire = control.Expire
		}
	}
	if len(entries) > 0 {
		b.Also = mistaken(b.Rows, w.cfg.Node.Replica.Also(entries, b.Rows))
	}
	b.Journal, b.JournalApplied = w.state.Journal, w.state.JournalApplied
	if at, bytes, ok := w.cfg.Node.Release(); ok {
		w.released = released{at, w.released.bytes + bytes}
	}
	if w.released != (released{}) {
		b.Journal, b.JournalApplied, b.released = w.released.at, 0, w.released.bytes
	}
}

// released is what the outbox has given up, and no commit has told yet: one may have panicked.
type released struct {
	at    journal.Position
	bytes int64
}

// entriesCommitted tells the node what is in the store, and answers its publishers.
func (w *writer) entriesCommitted(out store.Outcome) {
	if w.cfg.Node == nil {
		return
	}
	w.released = released{}
	if len(w.batch.parts) > 0 {
		w.cfg.Node.Committed()
	}
	row := 0
	for _, part := range w.batch.parts {
		if n := part.to - part.from; n > 0 {
			w.cfg.Node.Outbox.Applied(part.item.entry, out.Stored[row:row+n], out.Seqs[row:row+n])
			row += n
		}
	}
	wake(w.replication.roomy)
}

// releasable reports that some of the outbox is not needed any more.
func (w *writer) releasable() bool { return w.cfg.Node != nil && w.cfg.Node.Releasable() }

const (
	// replicaEvery is commitEvery of a replica, and replicaEvents its gatherEvents. What it applies is
	// in the log already, each node applies all of it, and what the log has to do for the next frame
	// waits for a processor and for the disk behind it: so fewer and larger transactions.
	replicaEvery  = 50 * time.Millisecond
	replicaEvents = 10_000
)

// replicaGathered is gathered in a cluster, of whose queue the log may fill a half. mu is held.
func (p *Pipeline) replicaGathered(waiting int64) bool {
	return waiting >= int64(min(replicaEvents, p.cfg.BatchEvents, p.cfg.QueueEvents/4)) || p.counters.QueueBytes >= p.cfg.QueueBytes/4
}

// Await waits until this node's store has applied the log up to a position, for so long at most,
// and reports whether it has. Nothing gathers meanwhile.
func (p *Pipeline) Await(position uint64, most time.Duration) bool {
	p.replication.hurried.Add(1)
	defer p.replication.hurried.Add(-1)
	wake(p.queueReady)
	return p.cfg.Node.Await(position, most)
}

// hurried reports that somebody waits for the commit of what is in memory: not what a cluster's log
// keeps, unless its publisher does, or a reader.
func (w *writer) hurried() bool {
	if w.cfg.Node == nil {
		return w.queue.waiters > 0
	}
	return w.queue.memoryEvents > 0 && w.replication.hurried.Load() > 0
}
