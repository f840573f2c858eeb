// Package event is what a publisher sends: one log event, the rules it must
// obey, and the compact form in which it waits for the writer.
package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// Bounds of one event and of one request. The text bounds are part of the HTTP
// contract; MaxTimestampBytes leaves room for any precision a clock can mean.
const (
	MaxTextBytes        = 255
	MaxTimestampBytes   = 64
	MaxEventsPerRequest = 100_000
)

// Event is one accepted event. Its strings share one backing array with the
// other events of its request; none of them belongs to the HTTP server.
type Event struct {
	Topic     string // 1 to 255 bytes
	ID        string // 1 to 255 bytes; (Topic, ID) is the event's identity
	Timestamp string // RFC 3339 with an offset, as the publisher wrote it
	Source    string // up to 255 bytes, "" if none
	Payload   string // any JSON value, byte for byte as sent; "" if none
}

// Code says why an event was refused; it is part of the HTTP contract.
type Code string

// The codes a publisher can see.
const (
	MissingField     Code = "missing_field"
	InvalidType      Code = "invalid_type"
	InvalidLength    Code = "invalid_length"
	InvalidTimestamp Code = "invalid_timestamp"
	InvalidText      Code = "invalid_text"
	UnknownField     Code = "unknown_field"
	RepeatedField    Code = "repeated_field"
	InvalidJSON      Code = "invalid_json"
)

// Rejection names one refused event to its publisher.
type Rejection struct {
	Index  int    `json:"index"` // position in the request, from 0
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
	Raw    []byte `json:"-"` // the event in the request's body, which it does not outlive
}

// Request is the accepted part of one publish request: the events in the form
// that the journal writes and the writer reads, and the refused ones by name.
type Request struct {
	Data       []byte // Events encoded events, back to back; owned by the Request
	Events     int
	Rejections []Rejection // ascending by Index
}

// Total is the number of events the publisher sent.
func (r *Request) Total() int { return r.Events + len(r.Rejections) }

// recycledBytes is the largest Data that is kept for another request.
const recycledBytes = 1 << 20

var recycled sync.Pool // of *[]byte

// newRequest returns an empty Request with room for so many bytes of Data, and for no more than a
// quarter beyond: a small request that waits is counted by its bytes, and must not hold the memory
// of a large one.
func newRequest(bytes int) *Request {
	kept, ok := recycled.Get().(*[]byte)
	if ok && cap(*kept) >= bytes && cap(*kept) <= bytes+bytes/4 {
		return &Request{Data: (*kept)[:0]}
	}
	if ok {
		recycled.Put(kept)
	}
	return &Request{Data: make([]byte, 0, bytes)}
}

// Recycle takes the Data of a Request that nobody reads any more, nor any Event decoded from it.
func Recycle(data []byte) {
	if cap(data) <= recycledBytes {
		recycled.Put(&data)
	}
}

// appendEvent appends the compact form: five fields, each a uvarint length and
// its bytes, in the order of the struct.
func appendEvent(dst []byte, fields *[fieldCount][]byte) []byte {
	for _, f := range fields {
		dst = binary.AppendUvarint(dst, uint64(len(f)))
		dst = append(dst, f...)
	}
	return dst
}

var errShort = errors.New("event data ends inside an event")

// Decode returns the events encoded in data. Their strings point into it.
func Decode(data string) (events []Event, err error) {
	for len(data) > 0 {
		var e Event
		if e, data, err = Next(data); err != nil {
			return nil, fmt.Errorf("event %d: %w", len(events), err)
		}
		events = append(events, e)
	}
	return events, nil
}

// Next returns the first event encoded in data, and what is behind it. The event's strings point
// into data.
func Next(data string) (e Event, rest string, err error) {
	for _, field := range [fieldCount]*string{topicField: &e.Topic, idField: &e.ID, timestampField: &e.Timestamp, sourceField: &e.Source, payloadField: &e.Payload} {
		size, width := uvarint(data)
		if width <= 0 || size > uint64(len(data)-width) {
			return Event{}, "", errShort
		}
		end := width + int(size)
		*field, data = data[width:end], data[end:]
	}
	return e, data, nil
}

// uvarint is binary.Uvarint for a string.
func uvarint(s string) (value uint64, width int) {
	var shift uint
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		b := s[i]
		if b < 0x80 {
			return value | uint64(b)<<shift, i + 1
		}
		value |= uint64(b&0x7f) << shift
		shift += 7
	}
	return 0, 0
}
