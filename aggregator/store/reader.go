package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Page names a piece of the stored events, in seq order.
type Page struct {
	Topic string // "" is all topics
	After int64  // the first event has a greater seq
	Limit int    // events, at most
	Bytes int    // the page ends with the event that takes it to as many, so that it has one event at least

	Epoch uint64 // of a cluster's log, which SSE's ids begin with; 0: there is none

	// Since <= received_at < Until, as received_at is stored; "" is no bound. What comes before Since
	// is read and left out: Skip moves After there.
	Since, Until string
}

// Full reports whether a page of n events and of so many bytes ended at a bound: there may be more.
func (p Page) Full(n, bytes int) bool { return n >= p.Limit || bytes >= p.Bytes }

// Format is how Events writes an event.
type Format int

// The formats: JSON separates events by commas, NDJSON ends each with a line feed,
// SSE makes each a server-sent event with its seq as id.
const (
	JSON Format = iota
	NDJSON
	SSE
)

// Events appends a page to dst. It returns the last event's seq (page.After if there is
// none) and their number.
func (s *Store) Events(ctx context.Context, dst []byte, page Page, format Format) (_ []byte, last int64, n int, err error) {
	last = page.After
	start := len(dst)
	err = s.read(ctx, func(db *Pool) error {
		return s.layout.page(ctx, db, page, func(seq int64, r Row) (more bool) {
			last = seq
			dst = page.AppendEvent(dst, seq, r, format, n == 0)
			n++
			return !page.Full(n, len(dst)-start)
		})
	})
	if err != nil {
		return dst, last, n, fmt.Errorf("store: events: %w", err)
	}
	return dst, last, n, nil
}

// AppendID appends the line with which a stream tells a reader's place.
func (p *Page) AppendID(dst []byte, seq int64) []byte {
	dst = append(dst, "id: "...)
	if p.Epoch > 0 {
		dst = append(strconv.AppendUint(dst, p.Epoch, 10), '-')
	}
	return append(strconv.AppendInt(dst, seq, 10), '\n')
}

// AppendEvent appends an event of a page as it is in the format.
func (p *Page) AppendEvent(dst []byte, seq int64, r Row, format Format, first bool) []byte {
	switch {
	case format == SSE:
		dst = append(p.AppendID(dst, seq), "data: "...)
	case format == JSON && !first:
		dst = append(dst, ',')
	}
	dst = strconv.AppendInt(append(dst, `{"seq":`...), seq, 10)
	dst = appendMember(dst, `,"topic":`, r.Topic)
	dst = appendMember(dst, `,"event_id":`, r.ID)
	dst = appendMember(dst, `,"timestamp":`, r.Timestamp)
	dst = appendMember(dst, `,"source":`, r.Source)
	if r.Payload != "" || format == JSON { // a line can be published again: without a payload as with null are two events
		dst = appendPayload(append(dst, `,"payload":`...), r.Payload, format)
	}
	dst = appendMember(dst, `,"received_at":`, r.ReceivedAt)
	dst = append(dst, '}')
	switch format {
	case NDJSON:
		dst = append(dst, '\n')
	case SSE:
		dst = append(dst, "\n\n"...)
	}
	return dst
}

// appendMember appends a string member. Invalid UTF-8 is refused at the door; what is
// here all the same, in a damaged file, shows as replacement characters.
func appendMember(dst []byte, name, text string) []byte {
	quoted, _ := jsontext.AppendQuote(append(dst, name...), text)
	return quoted
}

// appendPayload appends the JSON as it was published. Where an event must be one line,
// a line break between its tokens (there is none inside a token) becomes a space.
func appendPayload(dst []byte, payload string, format Format) []byte {
	if payload == "" {
		return append(dst, "null"...)
	}
	start := len(dst)
	dst = append(dst, payload...)
	if format != JSON {
		for _, broken := range []byte("\r\n") {
			for rest := dst[start:]; ; {
				i := bytes.IndexByte(rest, broken)
				if i < 0 {
					break
				}
				rest[i] = ' '
				rest = rest[i+1:]
			}
		}
	}
	return dst
}

// Skip moves After to where the events of Since begin, or, where neighbours are read together,
// shortly before.
func (s *Store) Skip(ctx context.Context, page Page) (Page, error) {
	looks := 0
	return s.skip(ctx, page, func(seq int64) (mark, error) {
		if looks++; looks > deepLooks {
			return s.look(ctx, seq)
		}
		if found, ok := s.marks.get(seq); ok {
			return found, nil
		}
		found, err := s.look(ctx, seq)
		if err == nil {
			s.marks.put(seq, found)
		}
		return found, err
	})
}

func (s *Store) skip(ctx context.Context, page Page, look func(seq int64) (mark, error)) (Page, error) {
	if page.Since == "" {
		return page, nil
	}
	last, err := s.LastSeq(ctx)
	if err != nil {
		return page, err
	}
	begin, err := beginning(page.Since, last, look)
	if err != nil {
		return page, fmt.Errorf("store: skip: %w", err)
	}
	page.After = max(page.After, begin)
	return page, nil
}

// look asks for the mark of a number; sql.ErrNoRows: nothing is stored there, or before.
func (s *Store) look(ctx context.Context, seq int64) (found mark, err error) {
	err = s.read(ctx, func(db *Pool) error {
		found.stored, found.last, found.at, err = s.layout.nearest(ctx, db, seq)
		return err
	})
	return found, err
}

// LastBefore returns the seq of the last event that was received before a time, in received_at's
// form, and has not expired; 0: there is none. LayoutBlocks only.
func (s *Store) LastBefore(ctx context.Context, receivedAt string) (last int64, err error) {
	// Without marks, which do not say what has expired.
	page, err := s.skip(ctx, Page{Since: receivedAt}, func(seq int64) (mark, error) { return s.look(ctx, seq) })
	if err != nil || page.After == 0 {
		return 0, err
	}
	// The beginning of a block, of which more may be before.
	last = page.After
	err = s.read(ctx, func(db *Pool) error {
		return s.layout.page(ctx, db, Page{After: last, Until: receivedAt}, func(seq int64, _ Row) (more bool) {
			last = seq
			return true
		})
	})
	if err != nil {
		return 0, fmt.Errorf("store: last before a time: %w", err)
	}
	return last, nil
}

// beginning returns the highest stored number, last at most, that look returns and whose time is
// before receivedAt; 0 if there is none. received_at never falls as seq rises, so that each look
// about halves what is left: 21 looks among a million numbers, or 14 where a hundred are found
// together. It looks at round numbers, of which many searches share the first.
func beginning(receivedAt string, last int64, look func(seq int64) (mark, error)) (int64, error) {
	low, found := int64(0), int64(0)
	for low < last {
		bit := bits.Len64(uint64(low^last)) - 1
		middle := last >> bit << bit // the roundest above low
		m, err := look(middle)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			low = middle
		case err == nil && m.at < receivedAt:
			low, found = max(middle, m.last), m.stored
		case err != nil:
			return 0, err
		default:
			last = m.stored - 1
		}
	}
	return found, nil
}

// LastSeq returns the highest number that is used, stored or not.
func (s *Store) LastSeq(ctx context.Context) (seq int64, err error) {
	err = s.read(ctx, func(db *Pool) error {
		return db.QueryRowContext(ctx, "SELECT last_seq FROM state").Scan(&seq)
	})
	if err != nil {
		return 0, fmt.Errorf("store: last seq: %w", err)
	}
	return seq, nil
}

// Seq returns the seq under which an event is stored.
func (s *Store) Seq(topic, id string) (seq int64, err error) {
	err = s.read(context.Background(), func(db *Pool) error {
		return db.QueryRow("SELECT seq FROM dedup_store WHERE topic = ? AND event_id = ?", topic, id).Scan(&seq)
	})
	if err != nil {
		return 0, fmt.Errorf("store: seq of an event: %w", err) // without its name: this is logged
	}
	return seq, nil
}

// Topic is one line of /stats.
type Topic struct {
	Name   string `json:"name"`
	Events int64  `json:"events"`
}

// Topics returns up to limit topics by name that have events, of those that are permitted; nil: all
// are. With ErrDamaged come those that could be read, which may have more events than is said.
func (s *Store) Topics(ctx context.Context, limit int, permitted func(name string) bool) ([]Topic, error) {
	topics := []Topic{}
	err := s.read(ctx, func(db *Pool) error {
		return eachTopicCount(ctx, db, func(name string, events int64) (more bool) {
			// None where all have expired, or less, if what expired was counted in what is damaged.
			if events > 0 && (permitted == nil || permitted(name)) {
				topics = append(topics, Topic{strings.Clone(name), events})
			}
			return len(topics) < limit
		})
	})
	if err != nil {
		return topics, fmt.Errorf("store: topics: %w", err)
	}
	return topics, nil
}
