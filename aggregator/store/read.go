package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Page names a piece of the stored events, in seq order.
type Page struct {
	Topic string // "" is all topics
	After int64  // the first event has a greater seq
	Limit int
}

// Format is how Events writes an event.
type Format int

// The formats: JSON separates events by commas, NDJSON ends each with a line feed,
// SSE makes each a server-sent event with its seq as id.
const (
	JSON Format = iota
	NDJSON
	SSE
)

const (
	selectEvents  = "SELECT seq, topic, event_id, timestamp, source, payload, received_at FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2"
	selectByTopic = "SELECT seq, topic, event_id, timestamp, source, payload, received_at FROM events INDEXED BY events_by_topic WHERE topic = ?3 AND seq > ?1 ORDER BY seq LIMIT ?2"
)

// Events appends a page to dst. It returns the last event's seq (page.After if there is
// none) and their number.
func (s *Store) Events(ctx context.Context, dst []byte, page Page, format Format) (_ []byte, last int64, n int, err error) {
	query, args := selectEvents, []any{page.After, page.Limit}
	if page.Topic != "" {
		query, args = selectByTopic, append(args, page.Topic)
	}
	last = page.After
	rows, err := s.Pool.QueryContext(ctx, query, args...)
	if err != nil {
		return dst, last, 0, fmt.Errorf("store: events: %w", err)
	}
	defer rows.Close()
	var topic, id, timestamp, source, receivedAt, payload sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&last, &topic, &id, &timestamp, &source, &payload, &receivedAt); err != nil {
			return dst, last, n, fmt.Errorf("store: events: %w", err)
		}
		switch {
		case format == SSE:
			dst = strconv.AppendInt(append(dst, "id: "...), last, 10)
			dst = append(dst, "\ndata: "...)
		case format == JSON && n > 0:
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, `{"seq":`...), last, 10)
		dst = appendMember(dst, `,"topic":`, topic)
		dst = appendMember(dst, `,"event_id":`, id)
		dst = appendMember(dst, `,"timestamp":`, timestamp)
		dst = appendMember(dst, `,"source":`, source)
		dst = appendPayload(append(dst, `,"payload":`...), payload, format)
		dst = appendMember(dst, `,"received_at":`, receivedAt)
		dst = append(dst, '}')
		switch format {
		case NDJSON:
			dst = append(dst, '\n')
		case SSE:
			dst = append(dst, "\n\n"...)
		}
		n++
	}
	if err := rows.Err(); err != nil {
		return dst, last, n, fmt.Errorf("store: events: %w", err)
	}
	return dst, last, n, nil
}

// appendMember appends a string member. Invalid UTF-8 is refused at the door; what is
// here all the same, in a damaged file, shows as replacement characters.
func appendMember(dst []byte, name string, text []byte) []byte {
	quoted, _ := jsontext.AppendQuote(append(dst, name...), text)
	return quoted
}

// appendPayload appends the JSON as it was published. Where an event must be one line,
// a line break between its tokens (there is none inside a token) becomes a space.
func appendPayload(dst, payload []byte, format Format) []byte {
	if payload == nil {
		return append(dst, "null"...)
	}
	start := len(dst)
	dst = append(dst, payload...)
	if format != JSON {
		for i, c := range dst[start:] {
			if c == '\n' || c == '\r' {
				dst[start+i] = ' '
			}
		}
	}
	return dst
}

// Seq returns the seq under which an event is stored.
func (s *Store) Seq(topic, id string) (seq int64, err error) {
	err = s.Pool.QueryRow("SELECT seq FROM dedup_store WHERE topic = ? AND event_id = ?", topic, id).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("store: seq of %q %q: %w", topic, id, err)
	}
	return seq, nil
}
