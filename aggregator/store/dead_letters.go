package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"

	"sekali/internal/sqlite"
)

//go:embed dead_letters.sql
var deadLettersSchema string

// refusal is a row that SQLite would not take, although the disk is well.
type refusal struct {
	row int
	err error
}

// isRefusal reports an error that says no to what is stored, and not that it cannot be stored now:
// trying again would end the same. SQLite undoes the statement, or leaves that to us (RAISE(FAIL)),
// and the transaction goes on. If it does not (RAISE(ROLLBACK)), the neighbours are gone as well,
// and the batch fails.
func isRefusal(c *sqlite.Conn, err error) bool {
	if err == nil || !c.InTransaction() {
		return false
	}
	if errors.Is(err, sqlite.ErrIgnored) {
		return true
	}
	var e *sqlite.Error
	return errors.As(err, &e) && e.Refusal()
}

// setAside makes dead letters of the refused rows, and of their repeats in the same batch, which
// are no duplicates of anything stored. It returns which rows they are.
func (a *Applier) setAside(c *sqlite.Conn, refused []refusal) (failed map[int]bool, err error) {
	failed = map[int]bool{}
	for _, r := range refused {
		if failed[r.row] { // with the one that it repeats
			continue
		}
		rows := a.bound.rows
		if err := a.store.dedup.forget(c, &rows[r.row]); err != nil {
			return nil, fmt.Errorf("dedup_store: %w", err)
		}
		for i := r.row; i < len(rows); i++ {
			if !same(&rows[i], &rows[r.row]) {
				continue
			}
			failed[i] = true
			err := insertDeadLetter(c, &rows[i], r.err, true)
			if isRefusal(c, err) {
				err = insertDeadLetter(c, &rows[i], fmt.Errorf("%w; its payload of %d bytes is not kept either: %w", r.err, len(rows[i].Payload), err), false)
			}
			if err != nil {
				return nil, fmt.Errorf("dead_letters: %w", err)
			}
		}
	}
	return failed, nil
}

// same reports that two rows are occurrences of one event.
func same(a, b *Row) bool { return a.Topic == b.Topic && a.ID == b.ID }

const upsertDeadLetter = `INSERT INTO dead_letters (topic, event_id, timestamp, source, payload, received_at, failed_at, attempts, error)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 1, ?7)
  ON CONFLICT (topic, event_id) DO UPDATE SET failed_at = excluded.failed_at, attempts = attempts + 1, error = excluded.error`

func insertDeadLetter(c *sqlite.Conn, r *Row, why error, withPayload bool) error {
	s, err := c.Prepare(upsertDeadLetter)
	if err != nil {
		return err
	}
	texts := []string{r.Topic, r.ID, r.Timestamp, r.Source, r.Payload, r.ReceivedAt, why.Error()}
	for i, value := range texts {
		if i == 4 && (value == "" || !withPayload) {
			err = errors.Join(err, s.BindNull(5))
			continue
		}
		text, free, e := c.Text(value)
		if e != nil {
			return e
		}
		defer free()
		err = errors.Join(err, s.BindText(int32(i+1), text))
	}
	if err == nil {
		err = s.Change()
	}
	return err
}

// DeadLetter is an event that was accepted and that the database refused, or, without a topic, what
// an endpoint refused.
type DeadLetter struct {
	ID         int64   `json:"id"`
	Topic      string  `json:"topic"`
	EventID    string  `json:"event_id"`
	Timestamp  string  `json:"timestamp"`
	Source     string  `json:"source"`
	Payload    *string `json:"payload"` // as it was published, in a string; null if none or not kept
	ReceivedAt string  `json:"received_at"`
	FailedAt   string  `json:"failed_at"`
	Attempts   int64   `json:"attempts"` // 0: it was never accepted
	Error      string  `json:"error"`
}

// LastDeadLetter returns the highest id of a dead letter, 0 if there is none.
func (s *Store) LastDeadLetter(ctx context.Context) (id int64, err error) {
	err = s.read(ctx, func(db *Pool) error {
		return db.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM dead_letters").Scan(&id)
	})
	if err != nil {
		return 0, fmt.Errorf("store: last dead letter: %w", err)
	}
	return id, nil
}

// DeadLetters returns a page of them, in the order of their ids, which take the place of seq, and
// whether there may be more.
func (s *Store) DeadLetters(ctx context.Context, page Page) (letters []DeadLetter, full bool, err error) {
	err = s.read(ctx, func(db *Pool) error {
		letters, full, err = readDeadLetters(ctx, db, page)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("store: dead letters: %w", err)
	}
	return letters, full, nil
}

func readDeadLetters(ctx context.Context, db *Pool, page Page) (letters []DeadLetter, full bool, err error) {
	rows, err := db.QueryContext(ctx, `SELECT id, topic, event_id, timestamp, source, payload, received_at, failed_at, attempts, error
		FROM dead_letters WHERE id > ? ORDER BY id LIMIT ?`, page.After, page.Limit)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	letters = []DeadLetter{}
	for bytes := 0; !full && ctx.Err() == nil && rows.Next(); {
		var d DeadLetter
		var payload sql.NullString
		if err := rows.Scan(&d.ID, &d.Topic, &d.EventID, &d.Timestamp, &d.Source, &payload, &d.ReceivedAt, &d.FailedAt, &d.Attempts, &d.Error); err != nil {
			return nil, false, err
		}
		if payload.Valid {
			d.Payload = &payload.String
		}
		letters = append(letters, d)
		bytes += len(d.Topic) + len(d.EventID) + len(d.Source) + len(payload.String) + len(d.Error)
		full = page.Full(len(letters), bytes)
	}
	if err := ctx.Err(); !full && err != nil {
		return nil, false, err
	}
	return letters, full, rows.Err()
}
