package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// maxNameBytes is the server's bound of topic, id and source (docs/reference/limits.md).
const maxNameBytes = 255

// ErrInvalid is of an event that no aggregator would take; the text says why.
var ErrInvalid = errors.New("client: invalid event")

// Event is what is published. Topic and ID are its identity: a second event with both is a repeat
// and is dropped.
type Event struct {
	Topic   string          // 1 to 255 bytes of UTF-8
	ID      string          // 1 to 255 bytes of UTF-8; "": Publish takes a NewID
	Time    time.Time       // when it happened; zero: now
	Source  string          // who says so, up to 255 bytes; "": nobody
	Payload json.RawMessage // any JSON value, kept byte for byte; nil: none
}

// wire is an event's form in a request and in the spool.
type wire struct {
	Topic     string          `json:"topic"`
	ID        string          `json:"event_id"`
	Timestamp time.Time       `json:"timestamp"`
	Source    string          `json:"source,omitempty"`
	Payload   json.RawMessage `json:"payload,omitempty"`
}

// encode returns an event as a JSON object of at most limit bytes.
func encode(e Event, limit int) ([]byte, error) {
	if e.ID == "" {
		e.ID = NewID()
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	for _, field := range []struct {
		name, text string
		least      int
	}{{"topic", e.Topic, 1}, {"id", e.ID, 1}, {"source", e.Source, 0}} {
		if n := len(field.text); n < field.least || n > maxNameBytes || !utf8.ValidString(field.text) {
			return nil, fmt.Errorf("%w: %s is not %d to %d bytes of UTF-8", ErrInvalid, field.name, field.least, maxNameBytes)
		}
	}
	if e.Payload != nil && (!json.Valid(e.Payload) || !utf8.Valid(e.Payload)) {
		return nil, fmt.Errorf("%w: the payload is not JSON", ErrInvalid)
	}
	text, err := json.Marshal(wire{Topic: e.Topic, ID: e.ID, Timestamp: e.Time, Source: e.Source})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err) // a year that RFC 3339 does not have
	}
	if e.Payload != nil { // Marshal would compact it, and so change its bytes
		text = append(append(append(text[:len(text)-1], `,"payload":`...), e.Payload...), '}')
	}
	if len(text) > limit {
		return nil, fmt.Errorf("%w: %d bytes, and BatchBytes is %d", ErrInvalid, len(text), limit)
	}
	return text, nil
}

// encodeRaw checks that text can be an event: the aggregator judges the rest.
func encodeRaw(text []byte, limit int) ([]byte, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[0] != '{' || !json.Valid(text) {
		return nil, fmt.Errorf("%w: not a JSON object", ErrInvalid)
	}
	if len(text) > limit {
		return nil, fmt.Errorf("%w: %d bytes, and BatchBytes is %d", ErrInvalid, len(text), limit)
	}
	return bytes.Clone(text), nil
}

// decode is the event that text encodes. One of PublishRaw that has not the form of an Event has
// only a payload: all of it.
func decode(text []byte) Event {
	var w wire
	if json.Unmarshal(text, &w) != nil {
		return Event{Payload: text}
	}
	return Event{Topic: w.Topic, ID: w.ID, Time: w.Timestamp, Source: w.Source, Payload: w.Payload}
}
