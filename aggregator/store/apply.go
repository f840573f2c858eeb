package store

import (
	"cmp"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"sekali/aggregator/event"
	"sekali/aggregator/journal"
)

// Rows in one statement: between 16 and 512 no difference was measured.
var rowsPerStatement = [...]int{64, 8, 1}

// Row is one event of a batch.
type Row struct {
	event.Event
	ReceivedAt string // RFC 3339 UTC, nanoseconds; never falls within a batch or after it
}

// Batch is what one transaction applies.
type Batch struct {
	Rows           []Row
	Rejected       int64            // to add to the counter
	Journal        journal.Position // the state to record
	JournalApplied int
}

// Outcome is what became of a batch. Row i, if stored, has seq FirstSeq+i.
type Outcome struct {
	FirstSeq int64
	Stored   []bool // by row; false is a duplicate. Valid until the next Apply
	State    State
}

// Applier applies batches; it holds what can be reused from one to the next. It
// belongs to the writer.
type Applier struct {
	store  *Store
	order  []int32
	stored []bool
	args   []driver.NamedValue
}

// NewApplier returns the Applier of s; a store has one.
func NewApplier(s *Store) *Applier {
	a := &Applier{store: s, args: make([]driver.NamedValue, rowsPerStatement[0]*eventColumns)}
	for i := range a.args {
		a.args[i].Ordinal = i + 1
	}
	return a
}

// Apply commits a batch on top of state. The dedup decision is INSERT OR IGNORE
// into dedup_store; of two rows with the same identity in one batch the first wins.
//
// After an error nothing may be assumed: the caller reopens the store; if its state is
// the Outcome's, the batch was committed all the same.
func (a *Applier) Apply(state State, b Batch) (Outcome, error) {
	c := a.store.writer
	if c == nil {
		return Outcome{}, fmt.Errorf("store: closed after a failure")
	}
	a.stored = append(a.stored[:0], make([]bool, len(b.Rows))...)
	out := Outcome{FirstSeq: state.LastSeq + 1, Stored: a.stored, State: state}
	err := c.transaction(func() error {
		if err := a.dedup(c, b.Rows, out.FirstSeq); err != nil {
			return fmt.Errorf("dedup_store: %w", err)
		}
		stored, err := a.insertEvents(c, b.Rows, out.FirstSeq)
		if err != nil {
			return fmt.Errorf("events: %w", err)
		}
		if err := a.countTopics(c, b.Rows); err != nil {
			return fmt.Errorf("topics: %w", err)
		}
		s := &out.State
		s.Commits++
		s.UniqueProcessed += stored
		s.DuplicateDropped += int64(len(b.Rows)) - stored
		s.Rejected += b.Rejected
		s.LastSeq += int64(len(b.Rows))
		if len(b.Rows) > 0 {
			s.LastReceivedAt = b.Rows[len(b.Rows)-1].ReceivedAt
		}
		s.Journal, s.JournalApplied = b.Journal, b.JournalApplied
		return a.writeState(c, out.State)
	})
	if err != nil {
		return out, fmt.Errorf("store: apply %d events: %w", len(b.Rows), err)
	}
	return out, nil
}

const (
	insertDedup  = "INSERT OR IGNORE INTO dedup_store (topic, event_id, seq) VALUES "
	dedupColumns = 3
)

// dedup inserts the identities, in key order, so that neighbours on a page of the
// index are written together. RETURNING names the rows that were new.
func (a *Applier) dedup(c *conn, rows []Row, firstSeq int64) error {
	a.order = a.order[:0]
	for i := range rows {
		a.order = append(a.order, int32(i))
	}
	slices.SortFunc(a.order, func(x, y int32) int {
		p, q := &rows[x], &rows[y]
		if p.Topic != q.Topic {
			return strings.Compare(p.Topic, q.Topic)
		}
		if by := strings.Compare(p.ID, q.ID); by != 0 {
			return by
		}
		return cmp.Compare(x, y) // the first in the batch wins
	})
	mark := func(row []driver.Value) error {
		seq, ok := row[0].(int64)
		if i := seq - firstSeq; ok && i >= 0 && i < int64(len(rows)) {
			a.stored[i] = true
			return nil
		}
		return fmt.Errorf("RETURNING gave %v", row[0])
	}
	for done := 0; done < len(a.order); {
		n := chunk(len(a.order) - done)
		args := a.args[:n*dedupColumns]
		for k, i := range a.order[done : done+n] {
			args[k*dedupColumns].Value = rows[i].Topic
			args[k*dedupColumns+1].Value = rows[i].ID
			args[k*dedupColumns+2].Value = firstSeq + int64(i)
		}
		if err := c.query(bulk(insertDedup, dedupColumns, n)+" RETURNING seq", args, mark); err != nil {
			return err
		}
		done += n
	}
	return nil
}

const (
	insertEvent  = "INSERT INTO events (seq, topic, event_id, timestamp, source, payload, received_at) VALUES "
	eventColumns = 7
)

// insertEvents inserts the rows marked as stored and returns how many they are.
func (a *Applier) insertEvents(c *conn, rows []Row, firstSeq int64) (int64, error) {
	fresh := a.order[:0]
	for i, stored := range a.stored {
		if stored {
			fresh = append(fresh, int32(i))
		}
	}
	for done := 0; done < len(fresh); {
		n := chunk(len(fresh) - done)
		args := a.args[:n*eventColumns]
		for k, i := range fresh[done : done+n] {
			r, v := &rows[i], args[k*eventColumns:]
			v[0].Value = firstSeq + int64(i)
			v[1].Value = r.Topic
			v[2].Value = r.ID
			v[3].Value = r.Timestamp
			v[4].Value = r.Source
			v[5].Value = nil
			if r.Payload != "" {
				v[5].Value = r.Payload
			}
			v[6].Value = r.ReceivedAt
		}
		if err := c.run(bulk(insertEvent, eventColumns, n), args); err != nil {
			return 0, err
		}
		done += n
	}
	return int64(len(fresh)), nil
}

const upsertTopic = "INSERT INTO topics (name, events) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET events = events + excluded.events"

func (a *Applier) countTopics(c *conn, rows []Row) error {
	counts := map[string]int64{}
	for i, stored := range a.stored {
		if stored {
			counts[rows[i].Topic]++
		}
	}
	for topic, n := range counts {
		args := a.args[:2]
		args[0].Value, args[1].Value = topic, n
		if err := c.run(upsertTopic, args); err != nil {
			return err
		}
	}
	return nil
}

const updateState = `UPDATE state SET commits = ?, unique_processed = ?, duplicate_dropped = ?, rejected = ?,
  last_seq = ?, last_received_at = ?, journal_segment = ?, journal_offset = ?, journal_applied = ?`

func (a *Applier) writeState(c *conn, s State) error {
	values := [...]driver.Value{s.Commits, s.UniqueProcessed, s.DuplicateDropped, s.Rejected, s.LastSeq,
		s.LastReceivedAt, int64(s.Journal.Segment), s.Journal.Offset, int64(s.JournalApplied)}
	args := a.args[:len(values)]
	for i, v := range values {
		args[i].Value = v
	}
	if err := c.run(updateState, args); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// chunk is how many of n rows the next statement takes.
func chunk(n int) int {
	for _, size := range rowsPerStatement {
		if n >= size {
			return size
		}
	}
	return 0
}

// bulk is an insert of n rows.
func bulk(insert string, columns, n int) string {
	row := "(" + strings.Repeat("?,", columns-1) + "?)"
	return insert + strings.Repeat(row+",", n-1) + row
}
