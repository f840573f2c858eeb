// Package pipeline takes accepted requests from the API to the committed
// transaction.
//
//	Publish ─▶ admission ─┬─ journal level ─▶ pending ─▶ committer ─ fdatasync ─▶ queue ─▶ writer ─▶ store
//	                      └─ memory and store level ──────────────────────────────▶ queue
//
// Goal: what is acknowledged at the journal or store level is stored once, whatever
// happens to the process, and one disk flush or transaction serves many requests.
//
// Invariants:
//
//   - A request is admitted whole or refused whole, before anything of it is written.
//   - The queue's order is the commit order, and for journaled events it is the
//     journal's order: so one journal position says what is applied.
//   - A batch, the counters and the journal position are one transaction. If it fails,
//     the batch is kept and tried again; nothing else moves meanwhile.
//   - received = unique_processed + duplicate_dropped + failed + queue_depth at every moment,
//     because one lock guards all of them. Each is counted by itself: received and queue_depth
//     where an event is enqueued, queue_depth again where it leaves, the others by the store.
//
// A journaled event does not wait in memory: the queue holds its frame's place, and the
// writer reads it back (from the page cache, normally). So the live path and the
// replay after a crash are the same code, and a backlog of gigabytes costs no memory.
// Rejected: keeping the events in memory as well, and spilling when it is full (two
// paths for one thing).
package pipeline

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
)

// Level is when a publisher is answered.
type Level string

// The levels, from the weakest to the strongest.
const (
	Memory     Level = "memory"     // the event is in the queue
	Journal    Level = "journal"    // the journal is fsynced
	Replicated Level = "replicated" // so is the log, of a cluster
	Store      Level = "store"      // the transaction is committed
)

// ParseLevel checks a level's name.
func ParseLevel(s string) (Level, error) {
	switch l := Level(s); l {
	case Memory, Journal, Replicated, Store:
		return l, nil
	}
	return "", fmt.Errorf("ack level %q, want memory, journal, replicated (in a cluster) or store", s)
}

// Why a request is refused whole. Nothing of it has been taken, but after ErrDiskFailing it is open
// whether the request's events will be stored. ErrTooLarge alone is for ever.
var (
	ErrTooLarge     = errors.New("the request is larger than what may wait")
	ErrQueueFull    = errors.New("the queue is full")
	ErrBacklogFull  = errors.New("the journal's backlog is full")
	ErrDiskFull     = errors.New("the disk is nearly full")
	ErrShuttingDown = errors.New("shutting down")
	ErrDiskFailing  = errors.New("the disk is failing")
	ErrLocked       = errors.New("the database is locked")
)

// itemBytes is what a queue entry costs beside its data; charging it to the queue's
// bytes bounds the number of entries too.
const itemBytes = 128

// Config bounds the pipeline.
type Config struct {
	QueueEvents  int           // events that wait in memory
	QueueBytes   int64         // their bytes
	BacklogBytes int64         // bytes that wait in the journal, before it packs them
	BatchEvents  int           // events in one transaction
	Retention    time.Duration // after which an event's content expires; 0: never
	Intact       func() error  // what has become of the data folder; nil: it is not watched
	Node         *cluster.Node // this aggregator's part in a cluster; nil: it is alone
}

// Counters is one consistent look at the pipeline. Its Rejected includes what is not committed yet.
type Counters struct {
	store.State
	Received      int64 // accepted since the data folder was made
	QueueDepth    int64 // events accepted and not committed: in memory, in the journal, on their way through a cluster's log
	QueueBytes    int64 // bytes that wait in memory
	BacklogBytes  int64 // bytes that wait in the journal, before it packs them
	FailedCommits int64 // since the start, as all below
	JournalSyncs  int64
	JournalBytes  int64
	Checkpoints   int64
	WALPages      int64
	Failing       error // why nothing is accepted for now; nil if all is well
}

// Pipeline is the path of an event from acceptance to commit.
type Pipeline struct {
	cfg     Config
	log     *slog.Logger
	store   *store.Store
	journal *journal.Journal
	apply   *store.Applier
	Timings Timings
	watches watches
	clock   *clock

	pendingReady chan struct{} // a token when a group was begun
	queueReady   chan struct{} // a token when the queue gained an item
	closing      chan struct{} // closed when no more is admitted
	replication  replication   // of a cluster
	freeUnknown  atomic.Bool   // the disk did not say what is free when it was asked last

	// mu is the admission lock: every publisher takes it. Under it nothing is asked of the system, and
	// nothing is logged: lock_test.go reads that off the code. It guards all below.
	mu              sync.Mutex
	pending         []*group // what the committer writes next
	pendingEvents   int      // admitted and not yet in the queue, the group being written included
	pendingBytes    int64
	queue           queue
	counters        Counters    // but for those in its State, which Counters fills in
	unread          int         // of QueueDepth: of a cluster, in the journal and not yet read from the log
	state           store.State // as committed; the writer alone changes it, and reads it without mu
	rejected        int64       // counted, not yet committed
	refused         []*refused  // to become dead letters with the next commit
	refusedBytes    int64
	freeBytes       int64     // of the disk …
	freeAsked       time.Time // … when it was asked
	notCheckpointed int64     // pages of the WAL that the database does not have
	journalFailing  error
	storeFailing    error
	locked          error // why nothing is committed now, while the disk is well
	absent          error // what the data folder's absence is known by
	halted          error // of a cluster: why the writer applies nothing any more
	closed          bool
	committerDone   bool // nothing more will come from the journal
}

// New returns a pipeline that goes on from state: backlog is what the journal holds
// beyond it.
func New(cfg Config, s *store.Store, j *journal.Journal, state store.State, backlog []journal.Frame, log *slog.Logger) *Pipeline {
	p := &Pipeline{
		cfg: cfg, log: log, store: s, journal: j, state: state,
		Timings:      newTimings(),
		clock:        newClock(state.LastReceivedAt, log),
		pendingReady: make(chan struct{}, 1),
		queueReady:   make(chan struct{}, 1),
		closing:      make(chan struct{}),
		replication:  newReplication(),
		watches:      watches{recent: recent{from: state.LastSeq, to: state.LastSeq, most: RecentBytes}},
	}
	p.apply = p.newApplier()
	p.counters.Received = state.UniqueProcessed + state.DuplicateDropped + state.Failed
	p.refreshFree(p.askFree())
	if wal, err := s.WAL(); err == nil { // else the first commit says
		p.notCheckpointed = wal.Pages - wal.Checkpointed
	}
	if cfg.Node != nil {
		p.countUnread(cfg.Node.Outbox.Waiting())
	}
	for i, frame := range backlog {
		if cfg.Node != nil { // it comes back from the log
			p.counters.BacklogBytes += frame.Unpacked
			continue
		}
		item := &item{frame: frame, events: frame.Events, acceptedAt: frame.ReceivedAt}
		if i == 0 && frame.Start == state.Journal {
			item.applied = state.JournalApplied
		}
		p.enqueue(item)
	}
	return p
}

// Outcome is what a publisher is told of its accepted events at the store level.
type Outcome struct {
	Stored []bool  // in the request's order; false is a duplicate
	Seqs   []int64 // of the stored event; 0: a duplicate whose seq only the store tells
	Failed []bool  // the database refused the event; nil: none

	Position uint64 // of a cluster's log, at the replicated and store levels
}

// Publish takes the accepted events of a request and returns when they are as safe as
// the level asks; the Outcome is filled at the Store level. On an error, one of
// those above, the whole request is refused. The request's data belongs to the
// pipeline from here on.
func (p *Pipeline) Publish(level Level, r *event.Request) (Outcome, error) {
	if r.Events == 0 {
		p.lockFresh(waitingBytes(r))
		defer p.mu.Unlock()
		if err := p.refusal(level, r); err != nil {
			return Outcome{}, err
		}
		p.countRejected(r)
		return Outcome{}, nil
	}
	if p.cfg.Node != nil {
		return p.replicate(level, r)
	}
	switch level {
	case Journal:
		g, _, err := p.join(level, r)
		if err != nil {
			return Outcome{}, err
		}
		<-g.done
		return Outcome{}, g.err
	case Store:
		w := &waiter{done: make(chan struct{})}
		if err := p.put(level, r, w); err != nil {
			return Outcome{}, err
		}
		<-w.done
		return w.outcome, w.err
	default:
		return Outcome{}, p.put(level, r, nil)
	}
}

// put enqueues a request that is not journaled.
func (p *Pipeline) put(level Level, r *event.Request, w *waiter) error {
	now := p.clock.now() // the writer lifts it where another overtakes this one before the queue
	p.lockFresh(waitingBytes(r))
	defer p.mu.Unlock()
	if err := p.refusal(level, r); err != nil {
		return err
	}
	p.countRejected(r)
	p.enqueue(&item{data: r.Data, events: r.Events, acceptedAt: time.Now(), stamp: now, waiter: w})
	return nil
}

// enqueue is the acceptance: from here on the event is counted. The caller holds mu
// (or is New).
func (p *Pipeline) enqueue(i *item) {
	p.queue.push(i)
	if i.entry != nil && !i.entry.Accepted.IsZero() {
		p.unread -= i.events
	} else {
		p.counters.Received += int64(i.events - i.applied)
		p.counters.QueueDepth += int64(i.events - i.applied)
	}
	p.counters.QueueBytes += i.memoryBytes()
	p.counters.BacklogBytes += i.frame.Unpacked
	// A writer that gathers need not look at each: it does when its time is over.
	if len(p.queue.waiting()) == 1 || i.waiter != nil || i.entry != nil || p.gathered() {
		wake(p.queueReady)
	}
}

// countUnread is the acceptance in a cluster: the events are in the journal, and come to the queue
// from the log. The caller holds mu (or is New).
func (p *Pipeline) countUnread(events int) {
	p.unread += events
	p.counters.Received += int64(events)
	p.counters.QueueDepth += int64(events)
}

// waitingBytes is what a request is charged while it waits.
func waitingBytes(r *event.Request) int64 { return int64(len(r.Data)) + itemBytes }

// journaledBytes is what a journaled request may be charged: all of it goes into one frame, and in
// a cluster with the heads of the log's frames.
const journaledBytes = journal.MaxFrameBytes - 1<<20

// most is what one request may be charged; beyond it never fits.
func (p *Pipeline) most(level Level) int64 {
	if level == Journal || p.cfg.Node != nil {
		return min(p.cfg.QueueBytes, p.cfg.BacklogBytes, journaledBytes)
	}
	return p.cfg.QueueBytes
}

// MostBytes is what the events of one request may come to at a level: beyond, Publish returns
// ErrTooLarge.
func (p *Pipeline) MostBytes(level Level) int { return int(p.most(level) - itemBytes) }

// Fits says that a request would fit if nothing else waited; if it would not, ErrTooLarge.
func (p *Pipeline) Fits(level Level, r *event.Request) error {
	if size := waitingBytes(r); r.Events > p.cfg.QueueEvents || size > p.most(level) {
		return fmt.Errorf("%w: %d events (%d bytes)", ErrTooLarge, r.Events, size)
	}
	return nil
}

// refusal says why a request cannot be admitted now. The caller holds mu.
func (p *Pipeline) refusal(level Level, r *event.Request) error {
	size, never := waitingBytes(r), p.Fits(level, r)
	c := &p.counters
	switch {
	case p.closed:
		return ErrShuttingDown
	case p.halted != nil:
		return p.halted
	case p.failing() != nil:
		return p.failing()
	case r.Events == 0:
		return nil
	case p.locked != nil && level != Journal: // it would wait in memory, and be lost with the process
		return fmt.Errorf("%w: %w", ErrLocked, p.locked)
	case never != nil:
		return never
	case p.queue.memoryEvents+p.pendingEvents+r.Events > p.cfg.QueueEvents, c.QueueBytes+p.pendingBytes+size > p.cfg.QueueBytes:
		return fmt.Errorf("%w: %d events (%d bytes) do not fit", ErrQueueFull, r.Events, size)
	case level == Journal && c.BacklogBytes+p.pendingBytes+size > p.cfg.BacklogBytes:
		return fmt.Errorf("%w: %d bytes wait in the journal", ErrBacklogFull, c.BacklogBytes)
	}
	return p.noRoom(size)
}

// failing is what the disk says, as an ErrDiskFailing, or as an ErrDiskFull if it says no more than
// that. mu is held.
func (p *Pipeline) failing() error {
	if p.journalFailing == nil && p.storeFailing == nil && p.absent == nil {
		return nil
	}
	kind := ErrDiskFailing
	if p.absent == nil && isFull(p.journalFailing, p.storeFailing) {
		kind = ErrDiskFull
	}
	return fmt.Errorf("%w: %w", kind, errors.Join(p.absent, p.journalFailing, p.storeFailing))
}

func (p *Pipeline) countRejected(r *event.Request) {
	p.rejected += int64(len(r.Rejections))
}

// Counters returns all counters as of one moment.
func (p *Pipeline) Counters() Counters {
	p.lockFresh(readyBytes)
	defer p.mu.Unlock()
	c := p.counters
	c.State = p.state
	c.Rejected += p.rejected
	c.QueueBytes += p.pendingBytes
	c.Failing = p.failing()
	if c.Failing == nil {
		c.Failing = p.noRoom(readyBytes)
	}
	if p.closed && c.Failing == nil {
		c.Failing = ErrShuttingDown
	}
	return c
}

// Ready says why an event could not be taken now at the level, however small it is; nil if it
// could. Of the disk it says so once a request of usual size would not fit.
func (p *Pipeline) Ready(level Level) error {
	if p.cfg.Node != nil {
		if err := p.cfg.Node.Ready(level == Replicated || level == Store); err != nil {
			return err
		}
	}
	p.lockFresh(readyBytes)
	defer p.mu.Unlock()
	if err := p.refusal(level, &event.Request{Events: 1}); err != nil {
		return err
	}
	return p.noRoom(readyBytes)
}

// Close stops admission. Run goes on until what was admitted is committed.
func (p *Pipeline) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.closing)
	}
}

// wake leaves a token; one is enough, however many wait behind it.
func wake(ready chan struct{}) {
	select {
	case ready <- struct{}{}:
	default:
	}
}
