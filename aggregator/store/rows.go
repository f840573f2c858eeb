package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"unsafe"

	"sekali/aggregator/dedup"
	"sekali/internal/sqlite"
)

//go:embed layout_rows.sql
var rowsSchema string

const rowsViews = "CREATE VIEW identities AS SELECT seq, topic, event_id FROM events;"

// rowsLayout keeps each event as a row of the table events: the reference.
type rowsLayout struct{}

const insertEvent = "INSERT INTO events (seq, topic, event_id, timestamp, source, payload, received_at) VALUES (?, ?, ?, ?, ?, ?, ?)"

func (*rowsLayout) insert(c *sqlite.Conn, b *bound, isNew []bool, firstSeq int64) (refused []refusal, err error) {
	rows, err := b.texts(c)
	if err != nil {
		return nil, err
	}
	s, err := c.Prepare(insertEvent)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if !isNew[i] {
			continue
		}
		r := &rows[i]
		payload := s.BindNull(6)
		if r.payload.Bytes > 0 {
			payload = s.BindText(6, r.payload)
		}
		if err := errors.Join(payload, s.BindInt(1, firstSeq+int64(i)), s.BindText(2, r.topic), s.BindText(3, r.id),
			s.BindText(4, r.timestamp), s.BindText(5, r.source), s.BindText(7, r.receivedAt)); err != nil {
			return nil, err
		}
		err := s.Change()
		if isRefusal(c, err) {
			isNew[i], refused = false, append(refused, refusal{i, err})
			err = c.Run("DELETE FROM events WHERE seq = ?", firstSeq+int64(i)) // RAISE(FAIL) may have left it
		}
		if err != nil {
			return nil, err
		}
	}
	return refused, nil
}

const (
	selectEvents  = "SELECT seq, topic, event_id, timestamp, source, payload, received_at FROM events WHERE seq > ?1 ORDER BY seq"
	selectByTopic = "SELECT seq, topic, event_id, timestamp, source, payload, received_at FROM events INDEXED BY events_by_topic WHERE topic = ?2 AND seq > ?1 ORDER BY seq"
)

func (*rowsLayout) page(ctx context.Context, db querier, page Page, each func(seq int64, r Row) (more bool)) error {
	query, args := selectEvents, []any{page.After}
	if page.Topic != "" {
		query, args = selectByTopic, append(args, page.Topic)
	}
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var seq int64
	var topic, id, timestamp, source, payload, receivedAt sql.RawBytes
	more := true
	for more && ctx.Err() == nil && rows.Next() {
		if err := rows.Scan(&seq, &topic, &id, &timestamp, &source, &payload, &receivedAt); err != nil {
			return err
		}
		var r Row
		r.Topic, r.ID, r.Timestamp, r.Source = view(topic), view(id), view(timestamp), view(source)
		r.Payload, r.ReceivedAt = view(payload), view(receivedAt)
		if page.Until != "" && r.ReceivedAt >= page.Until {
			return nil
		}
		if r.ReceivedAt >= page.Since {
			more = each(seq, r)
		}
	}
	if err := ctx.Err(); more && err != nil {
		return err
	}
	return rows.Err()
}

const selectNearest = "SELECT seq, received_at FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1"

func (*rowsLayout) nearest(ctx context.Context, db querier, seq int64) (stored, last int64, receivedAt string, err error) {
	err = db.QueryRowContext(ctx, selectNearest, seq).Scan(&stored, &receivedAt)
	return stored, seq, receivedAt, err
}

// view is the text in b, for as long as b stays as it is.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf is a text as bytes that nobody may write to.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

func (*rowsLayout) identities(c *sqlite.Conn, from, to int64, each func(seq int64, topic, id string, content dedup.Content) error) error {
	return c.Rows("SELECT seq, topic, event_id, timestamp, source, payload FROM events WHERE seq BETWEEN ? AND ? ORDER BY seq", func(s *sqlite.Statement) error {
		return each(s.ColumnInt(0), s.ColumnText(1), s.ColumnText(2), dedup.ContentOf(s.ColumnText(3), s.ColumnText(4), s.ColumnText(5)))
	}, from, to)
}
