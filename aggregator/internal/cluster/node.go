package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sekali/aggregator/crash"
	"sekali/aggregator/journal"
)

// Config is what a node is made of.
type Config struct {
	Name     string
	Version  string
	Log      Log
	Registry Registry
	MaxLag   time.Duration
	LogKeep  int64 // bytes that the log may have while it waits for a node that is away
	// Retention is after how long this node wants the content of events to expire; 0: never.
	Retention time.Duration
	Journal   Journal
	Replica   *Replica
	Cursor    Cursor
	Logger    *slog.Logger

	DoubtAfter time.Duration // 0: as the sender has it
	ShortFor   time.Duration // 0: as tooShort has it
	Known      uint16        // 0: ApplyVersion
}

// Node is this aggregator's part in the cluster: it sends its outbox, reads the log, and tells the
// others how far it is.
type Node struct {
	cfg     Config
	Outbox  *Outbox
	Replica *Replica // owned by the writer

	deliver func(ctx context.Context, e *Entry) error
	cursor  Cursor        // owned by the reader
	stopped chan struct{} // closed once the node has halted

	mu     sync.Mutex // guards all below
	status status
}

// status is what is known of the cluster.
type status struct {
	halted  error
	head    Head
	headErr error  // why the log could not be asked; nil: it was
	asked   bool   // it was asked once with success …
	target  uint64 // … and ended there: where it was when this process began
	// That it ends before what was applied of it; zero: it does not.
	short      short
	unproven   error // why the log does not show that it syncs
	named      bool  // the node's name is this process's: it has told the others where it is
	untold     error // why the registry did not take this node's latest word; nil: it did, or the name is waited for
	compared   bool  // what all others tell was read once, and this replica has not halted at it
	read       uint64
	applied    Checkpoint // in this node's store, durably
	kept       []Checkpoint
	samples    []sample
	apply      uint16 // version in force in this node's store
	beats      map[string]Beat
	heard      map[string]heard // of each node that the registry was asked for
	heardAll   time.Time        // when all that the others tell was heard last
	heardFirst uint64           // where the log began before that; 0: in the latest beat it was not all heard
	doubt      string           // another replica differs, and no third has told which is wrong
	elsewhere  uint64           // the furthest position of another store
	passed     map[uint64]bool  // messages that the writer has passed over in this life
	moved      chan struct{}
}

var errUnproven = errors.New("the log's servers were not yet asked whether they sync what they store")

// Open returns a node that is not yet running. The checkpoints are those of its store.
func Open(cfg Config, kept []Checkpoint) *Node {
	cfg.Known = cmp.Or(cfg.Known, ApplyVersion)
	n := &Node{cfg: cfg, Outbox: NewOutbox(), Replica: cfg.Replica, cursor: cfg.Cursor.Clone(), stopped: make(chan struct{})}
	n.Outbox.SetApply(cfg.Replica.Apply)
	n.status = status{unproven: errUnproven, headErr: ErrUnreachable, read: cfg.Replica.Position,
		applied: Checkpoint{cfg.Replica.Position, cfg.Replica.Hash}, kept: kept, apply: cfg.Replica.Apply,
		beats: map[string]Beat{}, heard: map[string]heard{}, passed: map[uint64]bool{}, moved: make(chan struct{})}
	return n
}

// Run sends, reads and tells until ctx ends, and hands what it reads to deliver, which may wait. A
// node that halts goes on to serve what it has; an error is one that ends the process.
func (n *Node) Run(ctx context.Context, deliver func(ctx context.Context, e *Entry) error) error {
	n.deliver = deliver
	ctx, end := context.WithCancel(ctx)
	defer end()
	taking, mute := context.WithCancel(ctx)
	defer mute()
	parts := []func() error{
		func() error { return n.read(taking) },
		func() error {
			select {
			case <-n.stopped:
				mute() // what has halted reads and sends no more
			case <-ctx.Done():
			}
			return nil
		},
		func() error {
			if !n.awaitEnd(taking) {
				return nil
			}
			s := &sender{outbox: n.Outbox, journal: n.cfg.Journal, log: n.cfg.Log, logger: n.cfg.Logger, doubts: cmp.Or(n.cfg.DoubtAfter, doubtAfter)}
			return s.run(taking)
		},
		func() error { return n.beat(ctx) },
	}
	results := make(chan error, len(parts))
	for _, part := range parts {
		go func() { results <- part() }()
	}
	var errs []error
	for range parts {
		if err := <-results; err != nil {
			errs = append(errs, err)
			end()
		}
	}
	return errors.Join(errs...)
}

// awaitEnd waits, if an earlier life has left frames, until the log was read as far as it went at
// the start: most of them are in it. It reports false if ctx has ended.
func (n *Node) awaitEnd(ctx context.Context) bool {
	if all, _ := n.Outbox.Depth(); all == 0 {
		return true
	}
	for end, known := uint64(0), false; ; {
		n.mu.Lock()
		if !known && n.status.asked { // the end goes on
			end, known = n.status.head.Last, true
		}
		there, moved := known && n.status.read >= end, n.status.moved
		n.mu.Unlock()
		if there {
			return true
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}

// readPause is how long a reader rests that has lost the log.
const readPause = 200 * time.Millisecond

// readSteady is after how long a reading that brings nothing counts as one: longer than the log may
// take to refuse it.
const readSteady = 5 * time.Second

// read reads the log until ctx ends, or until the node has halted.
func (n *Node) read(ctx context.Context) error {
	n.mu.Lock()
	inForce := n.status.apply
	n.mu.Unlock()
	if err := n.known(&Frame{Apply: inForce}); err != nil {
		n.haltFor(halt("the store: %w", err))
		return nil
	}
	out := outage{logger: n.cfg.Logger}
	for ctx.Err() == nil {
		err := n.look(ctx)
		if err == nil {
			// A log without a leader says what it is, and is not read: only a reading that goes on is one.
			steady := time.AfterFunc(readSteady, out.over)
			err = n.cfg.Log.Read(ctx, n.cursor.Position, func(at uint64, message []byte) error {
				out.over()
				return n.take(ctx, at, message)
			})
			steady.Stop()
		}
		if errors.Is(err, ErrHalted) {
			n.haltFor(err)
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			out.failed(n.cursor.Position, err, time.Now())
		}
		select {
		case <-ctx.Done():
		case <-time.After(readPause):
		}
	}
	return nil
}

// take hands a message of the log on to the store.
func (n *Node) take(ctx context.Context, at uint64, message []byte) error {
	if err := n.Halted(); err != nil {
		return err
	}
	e, err := n.next(ctx, at, message)
	if err != nil {
		return err
	}
	crash.Here(crash.LogSeen)
	switch f := &e.Frame; {
	case f.Control != nil:
		n.Outbox.SetApply(f.Control.Apply)
	case e.Counts:
		e.Accepted = n.Outbox.Read(f.Session, f.Number, at)
	default:
		f.Recycle()
	}
	n.mu.Lock()
	n.status.read = at
	n.move()
	n.mu.Unlock()
	return n.deliver(ctx, e)
}

// next decides what a message of the log is. One that every replica halts at is passed over if a
// control behind it says so.
func (n *Node) next(ctx context.Context, at uint64, message []byte) (*Entry, error) {
	f, rest, err := decode(message)
	switch {
	case err == nil && len(rest) > 0:
		err = fmt.Errorf("%w: %d bytes are behind it", ErrFrame, len(rest))
	case err == nil:
		err = n.known(&f)
	}
	counts := false
	if err == nil {
		if err := n.learnSkipped(ctx, at, f.Control); err != nil {
			return nil, err
		}
		counts, err = n.cursor.Next(at, &f)
	}
	if err == nil && !counts && n.Outbox.lacks(&f, n.cursor.Sessions[f.Session]) {
		return nil, halt("message %d of the log follows one of this node's that has not come: start this node again, which sends both again", at)
	}
	if err == nil {
		return &Entry{At: at, Frame: f, Counts: counts}, nil
	}
	if !errors.Is(err, ErrHalted) {
		err = halt("message %d of the log: %w", at, err)
	}
	if errors.Is(err, ErrUnknown) || errors.Is(err, errMissing) {
		return nil, err
	}
	if skip, failed := n.ToSkip(ctx, at); failed != nil || !skip {
		return nil, cmp.Or(failed, err)
	}
	if n.Outbox.answeredAt(at) { // it believes that to be acknowledged, and would give it up
		return nil, halt("message %d of the log is one of this node's, and is passed over: start this node again, which sends it again", at)
	}
	if err := n.cursor.Skip(at); err != nil {
		return nil, err
	}
	n.cfg.Logger.Warn("a message of the log is passed over, as a control says", "position", at, "error", err)
	return &Entry{At: at, Skipped: true}, nil
}

// known refuses what this program cannot apply as the others do, before it is applied.
func (n *Node) known(f *Frame) error {
	version := f.Apply
	if f.Control != nil {
		version = max(version, f.Control.Apply)
	}
	if version > n.cfg.Known {
		return fmt.Errorf("it is of apply version %d, and this program knows up to %d: %w", version, n.cfg.Known, ErrUnknown)
	}
	return nil
}

// move wakes those who wait for a position. mu is held.
func (n *Node) move() {
	close(n.status.moved)
	n.status.moved = make(chan struct{})
}

// haltFor notes why the node has halted. The first reason stands.
func (n *Node) haltFor(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.status.halted == nil {
		n.status.halted = err
		close(n.stopped)
		n.cfg.Logger.Error("nothing is taken any more, and reads are stale", "error", err)
	}
	n.move()
}

// Committed notes what the store has made durable. The writer calls it.
func (n *Node) Committed() {
	made := n.Replica.Committed()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.applied, n.status.apply = Checkpoint{n.Replica.Position, n.Replica.Hash}, n.Replica.Apply
	n.status.kept = append(n.status.kept, made...)
	if over := len(n.status.kept) - keptCheckpoints; over > 0 {
		n.status.kept = append(n.status.kept[:0:0], n.status.kept[over:]...)
	}
	for len(n.status.samples) > 0 && n.status.samples[0].last <= n.Replica.Position {
		n.status.samples = n.status.samples[1:]
	}
	n.move()
}

// HaltAt halts the node before a message that its store cannot apply. The writer calls it.
func (n *Node) HaltAt(at uint64, why error) { n.haltFor(halt("message %d of the log: %w", at, why)) }

// Stopped is closed once the node has halted.
func (n *Node) Stopped() <-chan struct{} { return n.stopped }

// Halted says why the node has halted; nil: it has not.
func (n *Node) Halted() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status.halted
}

// Await waits until the store has applied the log up to a position, for so long at most. It reports
// whether it has.
func (n *Node) Await(position uint64, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		n.mu.Lock()
		there, halted, moved := n.status.applied.Position >= position, n.status.halted != nil, n.status.moved
		n.mu.Unlock()
		if there || halted {
			return there
		}
		select {
		case <-moved:
		case <-timer.C:
			return false
		}
	}
}

// through is up to where the log is in two stores, this node's among them.
func (n *Node) through() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return min(n.status.applied.Position, n.status.elsewhere)
}

// Releasable reports that Release would release something.
func (n *Node) Releasable() bool { return n.Outbox.releasable(n.through()) }

// Release forgets what is in this node's store and in another one's; see Outbox.Release.
func (n *Node) Release() (at journal.Position, bytes int64, ok bool) {
	return n.Outbox.Release(n.through())
}
