package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"sekali/internal/sqlite"
)

const (
	// MaxRefusedBytes is what is kept of what was refused; the rest of it is cut off.
	MaxRefusedBytes = 64 << 10
	// MaxRefused bounds the dead letters of what was refused; the oldest make room for the newest.
	MaxRefused = 1000
)

// refusedTopic is no event's: in dead_letters it marks what was refused before it was an event, as
// attempts = 0 does.
const refusedTopic = ""

// Refused is an event or a whole body that an endpoint cannot take, now or ever.
type Refused struct {
	id                 string
	Endpoint           string
	Body               string // text, of at most MaxRefusedBytes; "": not kept
	Reason, ReceivedAt string
}

// NewRefused returns what is kept of a refused body, which it copies. The same body at the same
// endpoint is kept once.
func NewRefused(endpoint string, body []byte, reason, receivedAt string) Refused {
	h := sha256.New()
	h.Write([]byte(endpoint + "\x00"))
	h.Write(body)
	r := Refused{id: hex.EncodeToString(h.Sum(nil)[:16]), Endpoint: endpoint, Reason: reason, ReceivedAt: receivedAt}
	if len(body) > MaxRefusedBytes {
		r.Reason += fmt.Sprintf(" (of %d bytes the first %d are kept)", len(body), MaxRefusedBytes)
		body = body[:MaxRefusedBytes]
	}
	// What is not UTF-8 grows threefold as U+FFFD; '?' keeps the bound.
	r.Body = strings.ToValidUTF8(string(body), "?")
	return r
}

// Bytes is what it takes while it waits.
func (r *Refused) Bytes() int64 {
	return int64(len(r.id) + len(r.Endpoint) + len(r.Body) + len(r.Reason) + len(r.ReceivedAt))
}

const (
	upsertRefused = `INSERT INTO dead_letters (topic, event_id, timestamp, source, payload, received_at, failed_at, attempts, error)
  VALUES (?1, ?2, ?3, ?4, ?5, ?3, ?3, 0, ?6)
  ON CONFLICT (topic, event_id) DO UPDATE SET failed_at = excluded.failed_at, error = excluded.error`
	trimRefused = `DELETE FROM dead_letters WHERE id IN
  (SELECT id FROM dead_letters WHERE topic = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)`
)

// keepRefused makes dead letters of what was refused, in the transaction that the caller has begun.
// One that the database will not have, by an operator's trigger, is not kept: it must not hold up
// the events.
func keepRefused(c *sqlite.Conn, all []Refused) error {
	if len(all) == 0 {
		return nil
	}
	for i := range all {
		if err := insertRefused(c, &all[i]); err != nil && !isRefusal(c, err) {
			return err
		}
	}
	s, err := c.Prepare(trimRefused)
	if err != nil {
		return err
	}
	topic, free, err := c.Text(refusedTopic)
	if err != nil {
		return err
	}
	defer free()
	if err := errors.Join(s.BindText(1, topic), s.BindInt(2, MaxRefused)); err != nil {
		return err
	}
	_, err = s.Run()
	return err
}

func insertRefused(c *sqlite.Conn, r *Refused) error {
	s, err := c.Prepare(upsertRefused)
	if err != nil {
		return err
	}
	for i, value := range []string{refusedTopic, r.id, r.ReceivedAt, r.Endpoint, r.Body, r.Reason} {
		at := int32(i + 1)
		if at == 5 && value == "" {
			err = errors.Join(err, s.BindNull(at))
			continue
		}
		text, free, e := c.Text(value)
		if e != nil {
			return e
		}
		defer free()
		err = errors.Join(err, s.BindText(at, text))
	}
	if err != nil {
		return err
	}
	return s.Change()
}
