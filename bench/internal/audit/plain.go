package audit

import (
	"bytes"
	"strconv"
)

// An event is read at once where its line has the members in the aggregator's order and no text
// that JSON would write another way; any other is left to the decoder, which takes five times as
// long. What is read here and is wrong all the same, inside a payload, is found when the payload is
// compared with what was sent.

// null is the payload of an event that has none: NDJSON leaves it out, where a page says null.
var null = []byte("null")

// readPlain reads the event of such a line; not ok: it is not one, and e has anything.
func (e *Event) readPlain(line []byte) (ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	if !ok {
		return false
	}
	digits := bytes.IndexByte(rest, ',')
	if digits < 1 || rest[0] < '1' || rest[0] > '9' {
		return false
	}
	var err error
	if e.Seq, err = strconv.ParseInt(string(rest[:digits]), 10, 64); err != nil {
		return false
	}
	rest = rest[digits:]
	for _, member := range [...]struct {
		name string
		text *[]byte
	}{{`,"topic":"`, &e.Topic}, {`,"event_id":"`, &e.EventID}, {`,"timestamp":"`, &e.Timestamp}, {`,"source":"`, &e.Source}} {
		if *member.text, rest, ok = cutText(rest, member.name); !ok {
			return false
		}
	}
	e.Payload = null
	if behind, found := bytes.CutPrefix(rest, []byte(`,"payload":`)); found {
		n := plainValue(behind)
		if n == 0 {
			return false
		}
		e.Payload, rest = behind[:n], behind[n:]
	}
	e.ReceivedAt, rest, ok = cutText(rest, `,"received_at":"`)
	return ok && string(rest) == "}"
}

// cutText cuts a member off: its name with the quote that follows, and a text without escapes.
func cutText(line []byte, name string) (text, rest []byte, ok bool) {
	if len(line) < len(name) || string(line[:len(name)]) != name {
		return nil, nil, false
	}
	line = line[len(name):]
	for i, c := range line {
		switch {
		case c == '"':
			return line[:i], line[i+1:], true
		case c < ' ' || c >= 0x7f || c == '\\':
			return nil, nil, false
		}
	}
	return nil, nil, false
}

// plainValue returns the length of the JSON value that a text begins with, by its brackets and
// quotes alone; 0: it is none, or not of ASCII.
func plainValue(text []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c < ' ' || c >= 0x7f:
			return 0
		case quoted && c == '\\':
			i++
		case c == '"':
			if quoted = !quoted; !quoted && depth == 0 {
				return i + 1
			}
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			switch depth--; {
			case depth == 0:
				return i + 1
			case depth < 0:
				return 0
			}
		case c == ',' && depth == 0:
			return i
		case c == ' ' && depth == 0:
			return 0
		}
	}
	return 0
}
