package store

import (
	"fmt"
	"time"

	"sekali/aggregator/crash"
	"sekali/aggregator/dedup"
	"sekali/aggregator/event"
	"sekali/aggregator/internal/stage"
	"sekali/aggregator/journal"
	"sekali/internal/sqlite"
)

// Row is one event of a batch.
type Row struct {
	event.Event
	ReceivedAt string // RFC 3339 UTC, nanoseconds; never falls within a batch or after it
}

// Batch is what one transaction applies.
type Batch struct {
	Rows           []Row
	Rejected       int64            // to add to the counter
	Refused        []Refused        // to keep as dead letters
	Journal        journal.Position // the state to record
	JournalApplied int
	// Expire, if it is more than 0, takes the content of the events up to this seq. LayoutBlocks only.
	Expire int64
	// Replica: a duplicate of an event that has expired is no conflict. Whether its content is still
	// known is not the same on all replicas.
	Replica bool
	// Also is done in the same transaction, once all else of it is; nil: nothing is.
	Also func(c *sqlite.Conn, out *Outcome) error

	keys *dedup.Batch // of the rows, where runs decide; nil: they are made when it is applied
}

// NewBatch returns an empty batch that Prepare can be called for.
func (s *Store) NewBatch() Batch { return Batch{keys: s.dedup.newKeys()} }

// Prepare does that part of Apply's work on the rows which needs nothing of the store: it may be
// done beside the writer.
func (b *Batch) Prepare() {
	if b.keys != nil {
		fillKeys(b.keys, b.Rows)
	}
}

// Outcome is what became of a batch. Row i, if stored, has seq FirstSeq+i.
type Outcome struct {
	FirstSeq int64
	Stored   []bool       // by row; false is a duplicate. Valid until the next Apply, like Seqs
	Seqs     []int64      // by row; of the stored event. 0: a duplicate whose seq only dedup_store tells
	Failed   map[int]bool // rows that the database refused; they are dead letters now
	State    State
	Held     time.Duration // of the writer, by the worker that writes and merges runs
	// Committing is what the COMMIT took: the WAL is written and synced in it.
	Committing time.Duration
}

// Applier applies batches; it holds what can be reused from one to the next. It
// belongs to the writer.
type Applier struct {
	// Room says how many bytes of the disk may be taken for what can wait; nil: as many as it wants.
	Room func() int64

	store  *Store
	bound  bound
	stored []bool
	texts  sqlite.Arena
	packer sqlite.Packer // of blocks that are written again
}

// bound is the rows of a batch, and on demand their texts where SQLite can read them.
type bound struct {
	rows     []Row
	keys     *dedup.Batch // of the rows; nil: not prepared
	topics   topicSet     // of those that are new
	arena    sqlite.Arena
	rowTexts []rowText // none until they are asked for
}

// rowText is a Row as SQLite takes it.
type rowText struct{ topic, id, timestamp, source, payload, receivedAt sqlite.Text }

// NewApplier returns the Applier of s; a store has one.
func NewApplier(s *Store) *Applier { return &Applier{store: s} }

// Apply commits a batch on top of state. Of two rows with the same identity in one
// batch the first wins.
//
// After an error nothing may be assumed: the caller reopens the store; if its state is
// the Outcome's, the batch was committed all the same.
func (a *Applier) Apply(state State, b Batch) (Outcome, error) {
	c := a.store.writer
	if c == nil {
		return Outcome{State: state}, fmt.Errorf("store: closed after a failure")
	}
	a.stored = append(a.stored[:0], make([]bool, len(b.Rows))...)
	out := Outcome{FirstSeq: state.LastSeq + 1, Stored: a.stored, State: state}
	var applied time.Time
	err := c.Transaction(func() error {
		stage.Dedup.Enter()
		a.bound.rows, a.bound.keys, a.bound.rowTexts = b.Rows, b.keys, a.bound.rowTexts[:0]
		seqs, conflicts, refused, err := a.store.dedup.decide(c, &a.bound, out.FirstSeq)
		if err != nil {
			return fmt.Errorf("dedup_store: %w", err)
		}
		out.Seqs = seqs
		for i, seq := range seqs {
			a.stored[i] = seq == out.FirstSeq+int64(i)
		}
		stage.Events.Enter()
		a.bound.topics.group(b.Rows, a.stored)
		defer a.bound.topics.forget()
		more, err := a.store.layout.insert(c, &a.bound, a.stored, out.FirstSeq)
		if err != nil {
			return fmt.Errorf("events: %w", err)
		}
		if refused = append(refused, more...); len(refused) > 0 {
			if out.Failed, err = a.setAside(c, refused); err != nil {
				return err
			}
		}
		if err := keepRefused(c, b.Refused); err != nil {
			return fmt.Errorf("dead_letters: %w", err)
		}
		stored := count(a.stored)
		stage.Commit.Enter()
		if err := a.countTopics(c); err != nil {
			return fmt.Errorf("topics: %w", err)
		}
		s := &out.State
		s.Commits++
		s.UniqueProcessed += stored
		s.DuplicateDropped += int64(len(b.Rows)-len(out.Failed)) - stored
		s.Failed += int64(len(out.Failed))
		s.Conflicts += b.conflicts(conflicts, &out)
		s.Rejected += b.Rejected
		s.LastSeq += int64(len(b.Rows))
		if len(b.Rows) > 0 {
			s.LastReceivedAt = b.Rows[len(b.Rows)-1].ReceivedAt
		}
		s.Journal, s.JournalApplied = b.Journal, b.JournalApplied
		if err := a.finish(c, &b, &out); err != nil {
			return err
		}
		crash.Here(crash.StoreApplied)
		applied = time.Now()
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("store: apply %d events: %w", len(b.Rows), err)
	}
	out.Committing = time.Since(applied)
	crash.Here(crash.StoreCommitted)
	out.Held = a.store.dedup.committed(a.stored, out.State.LastSeq)
	a.store.memory.Store(a.store.dedup.memoryBytes())
	return out, nil
}

// conflicts counts those of the rows that are conflicts. Of a dead letter's repeat nothing is
// stored that it could say otherwise.
func (b *Batch) conflicts(rows []int, out *Outcome) (n int64) {
	for _, row := range rows {
		expired := b.Replica && out.Seqs[row] <= out.State.ExpiredSeq
		if !out.Failed[row] && !expired {
			n++
		}
	}
	return n
}

// finish is the last thing that the transaction of a batch does.
func (a *Applier) finish(c *sqlite.Conn, b *Batch, out *Outcome) error {
	if b.Expire > 0 {
		if err := a.expireThrough(c, &out.State, min(b.Expire, out.State.LastSeq)); err != nil {
			return fmt.Errorf("expire: %w", err)
		}
	}
	if err := writeState(c, out.State); err != nil || b.Also == nil {
		return err
	}
	return b.Also(c, out)
}

// Change runs a function in a transaction of its own. Nobody may apply anything meanwhile.
func (s *Store) Change(change func(c *sqlite.Conn) error) error {
	if s.writer == nil {
		return fmt.Errorf("store: closed after a failure")
	}
	return s.writer.Transaction(func() error { return change(s.writer) })
}

// count is how many are true.
func count(flags []bool) (n int64) {
	for _, flag := range flags {
		if flag {
			n++
		}
	}
	return n
}

// texts returns the rows' texts, which it copies when they are asked for first.
func (b *bound) texts(c *sqlite.Conn) ([]rowText, error) {
	if len(b.rowTexts) == len(b.rows) {
		return b.rowTexts, nil
	}
	size := 0
	for i := range b.rows {
		r := &b.rows[i]
		size += len(r.Topic) + len(r.ID) + len(r.Timestamp) + len(r.Source) + len(r.Payload) + len(r.ReceivedAt)
	}
	if err := b.arena.Reset(c, size); err != nil {
		return nil, err
	}
	for i := range b.rows {
		r := &b.rows[i]
		b.rowTexts = append(b.rowTexts, rowText{b.arena.Add(r.Topic), b.arena.Add(r.ID), b.arena.Add(r.Timestamp),
			b.arena.Add(r.Source), b.arena.Add(r.Payload), b.arena.Add(r.ReceivedAt)})
	}
	return b.rowTexts, nil
}
