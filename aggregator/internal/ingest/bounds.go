package ingest

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"sekali/aggregator/event"
)

// MaxContainers bounds the objects and arrays of a JSON body that is decoded whole: three bytes of
// it may take 200 once decoded. OTLP's smallest attribute has two of them in 34 bytes, so a body of
// 16 MiB that says something stays below.
const MaxContainers = 1_000_000

// MaxValues bounds all values likewise. One that is no object and no array takes about 40 bytes.
const MaxValues = 4 * MaxContainers

// containerBytes is what an object may take once decoded: a record of OTLP's takes the most.
const containerBytes = 200

// listedBytes is what an element of an array takes where it is kept as it was sent, and pairBytes
// what a pair of a map takes, each beside its text.
const listedBytes, pairBytes = 48, 100

// size is what a JSON text consists of, as told by its punctuation. Of a text that is no JSON it
// says nothing, and no decoder makes anything of one.
type size struct {
	containers int // objects and arrays
	values     int // at most so many values, names not counted
	elements   int // at most so many elements of the outermost array or object
	members    int // of all objects
	listed     int // elements of all arrays
}

func measure(text []byte) (s size) {
	depth, commas, filled := 0, 0, 0
	opened := false // just before
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == ' ' || c == '\n' || c == '\t' || c == '\r' {
			continue
		}
		if opened && c != '}' && c != ']' {
			filled++
		}
		opened = c == '{' || c == '['
		switch c {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			s.containers++
			depth++
		case '}', ']':
			depth--
		case ',':
			commas++
			if depth == 1 {
				s.elements++
			}
		case ':':
			s.members++
		}
	}
	s.elements++
	s.listed = commas + filled - s.members // each filled object or array has one more than commas
	s.values = 2*s.containers + commas + 1
	return s
}

// smallBytes is the length of a value that is looked into without asking.
const smallBytes = 16 << 10

// look asks for the room that a value takes once decoded, as it is for its hash. The next value
// takes the same.
func (b *builder) look(value []byte) error {
	if len(value) <= smallBytes {
		return nil
	}
	n := min(measure(value).values, MaxValues/4) // beyond that many none is decoded
	return b.need(containerBytes*n + rewritings*(quotedBytes(value)-len(value)) - 4*len(value))
}

// rewritings is how often a value that is no JSON to the letter is in memory while it is put right.
const rewritings = 3

// need asks for the room that is taken for one event, and given back before the next takes it.
func (b *builder) need(bytes int) error {
	if bytes > b.looked {
		b.beside += bytes - b.looked
		b.looked = bytes
	}
	return b.room(0)
}

// writtenFirst is how long a payload may get without asking.
const writtenFirst = 6 * smallBytes

// fit asks for the room of a payload, as far as it is written, and of so many bytes more, twice as
// much each time, and makes it: an event alone may come to more than may wait.
func (b *builder) fit(payload []byte, more int) ([]byte, error) {
	bytes, was := len(payload)+more, b.written
	if bytes <= was {
		return payload, nil
	}
	b.written = max(bytes, 2*was)
	if most := b.in.Most; most > 0 {
		if bytes > most {
			return payload, fmt.Errorf("%w: event %d alone, counted from 0, takes more than %d bytes", event.ErrTooLarge, b.Total(), most)
		}
		b.written = min(b.written, most)
	}
	err := b.hold(b.written - was)
	if err == nil {
		payload = slices.Grow(payload, b.written-len(payload))
	}
	return payload, err
}

// quoted appends text to a payload as a JSON string, once there is room for it.
func (b *builder) quoted(payload, text []byte) ([]byte, error) {
	const quotes = len(`""`)
	if len(payload)+6*len(text)+quotes > b.written { // it may not fit
		var err error
		if payload, err = b.fit(payload, quotedBytes(text)+quotes); err != nil {
			return payload, err
		}
	}
	return event.AppendQuoted(payload, text), nil
}

// quotedBytes is what a text takes as a JSON string, without its quotes: up to six times its
// length.
func quotedBytes(text []byte) (n int) {
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(text[i:])
			i += size
			n += utf8.RuneLen(r) // of U+FFFD for a byte that is not UTF-8
			continue
		case c == '"', c == '\\', c == '\b', c == '\f', c == '\n', c == '\r', c == '\t':
			n += len(`\n`)
		case c < 0x20:
			n += len(`\u0000`)
		default:
			n++
		}
		i++
	}
	return n
}

// fits asks for the room that the body takes once decoded, before it is. records says that an
// element of an array takes what an object does, whatever it is: null is a record, too.
func (in *Input) fits(records bool) error {
	s := measure(in.Body)
	containers := s.containers
	if records {
		containers = max(containers, s.listed)
	}
	if containers > MaxContainers || s.values > MaxValues {
		return fmt.Errorf("%w: %d objects and arrays, %d values in one request; %d and %d are the most",
			event.ErrTooLarge, containers, s.values, MaxContainers, MaxValues)
	}
	more := containerBytes*containers - 4*len(in.Body)
	if !records {
		more += listedBytes*s.listed + pairBytes*s.members
	}
	if !utf8.Valid(in.Body) { // a byte that is none becomes three
		more += rewritings * (quotedBytes(in.Body) - len(in.Body))
	}
	if more <= 0 || in.Grow == nil {
		return nil
	}
	in.decoded = more
	return in.Grow(more)
}
