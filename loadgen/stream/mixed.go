package stream

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// ShapeMixed is odd events: what an aggregator might take for the same
// and must not, or must give back as it was and might tidy up. Originals come in
// pairs that differ in as little as their kind allows: the topic, the case of a
// letter, a form of Unicode, the last of 255 bytes, a space. Half of the repeats
// write their names with an escape.
//
// One repeat in conflictEvery says something else than its original: a conflict.
const ShapeMixed = "mixed"

// ShapePlain is what a stream has without a shape.
const ShapePlain = "plain"

const (
	pairKinds     = 8
	conflictEvery = 16
	// largeEvery payloads one is large, of up to maxLarge bytes: 64 a payload on
	// the average.
	largeEvery   = 512
	maxLarge     = 64 << 10
	longestText  = 255
	numberMark   = "#"
	variantStart = `{"conflict": `
)

// Variant says that the n-th event is a repeat that says something else.
func (s *Stream) Variant(n uint64) bool {
	return s.config.Shape == ShapeMixed && s.Originals(n+1) == s.Originals(n) && mix(s.keys.variant, n)%conflictEvery == 0
}

// VariantPayload is what such a repeat of an original has as its payload.
func (s *Stream) VariantPayload(original uint64) string {
	return variantStart + strconv.FormatUint(original, 10) + "}"
}

// OriginalOf is the number of the original that a stored event belongs to;
// false if it is none of the stream's. Of a plain stream it proves nothing about
// the rest of the event: compare that with Event.
func (s *Stream) OriginalOf(topic, id, payload []byte) (uint64, bool) {
	if s.config.Shape != ShapeMixed {
		return OriginalOf(payload)
	}
	_, rest, _ := bytes.Cut(id, []byte(numberMark))
	digits, _, found := bytes.Cut(rest, []byte(numberMark))
	pair, err := strconv.ParseUint(string(digits), 10, 62)
	if !found || err != nil {
		return 0, false
	}
	for original := 2 * pair; original < 2*pair+2; original++ {
		if ofTopic, ofID := s.mixedName(original); ofTopic == string(topic) && ofID == string(id) {
			return original, true
		}
	}
	return 0, false
}

// mixedName is the identity of an original: that of its pair, and what keeps
// the two apart.
func (s *Stream) mixedName(original uint64) (topic, id string) {
	pair, second := original/2, original%2 == 1
	topic = s.topics[pair%uint64(len(s.topics))]
	id = numberMark + strconv.FormatUint(pair, 10) + numberMark
	either := func(first, other string) string {
		if second {
			return other
		}
		return first
	}
	switch pair % pairKinds {
	case 0: // the same id on two topics
		if second {
			topic = s.topics[(pair+1)%uint64(len(s.topics))]
		}
		return topic, "Pair" + id
	case 1:
		return topic, either("Case", "case") + id
	case 2:
		return either(topic, strings.ToUpper(topic)), "Topic" + id
	case 3: // é, in one character and in two
		return topic, either("caf\u00e9", "cafe\u0301") + `"\/日本` + id
	case 4:
		id = strings.Repeat("l", longestText-1-len(id)) + id
		return strings.Repeat("t", longestText), id + either("A", "B")
	case 5:
		return topic, "Space" + id + either("", " ")
	}
	return topic, either("One", "Two") + id
}

// mixedEvent is an original of the odd events.
func (s *Stream) mixedEvent(original uint64) Event {
	fields := mix(s.keys.fields, original)
	e := Event{Payload: mixedPayload(original, fields>>32)}
	e.Topic, e.EventID = s.mixedName(original)
	second, fraction := original/originalsPerSecond%60, original%originalsPerSecond
	switch fields % 6 {
	case 0:
		e.Timestamp = fmt.Sprintf("2026-05-31T23:59:%02d.%04d+07:00", second, fraction)
	case 1:
		e.Timestamp = fmt.Sprintf("2026-05-31t23:59:%02d.%09dz", second, fraction)
	case 2:
		e.Timestamp = fmt.Sprintf("2026-05-31T00:00:%02d-23:59", second)
	case 3:
		e.Timestamp = fmt.Sprintf("2024-02-29T12:00:%02d.500+00:00", second)
	default:
		e.Timestamp = string(appendTimestamp(nil, original))
	}
	switch fields >> 8 % 4 {
	case 0: // none
	case 1:
		e.Source = "Köln \\ \"Büro\" 日本"
	case 2:
		e.Source = strings.Repeat("s", longestText)
	default:
		e.Source = string(appendSource(nil, fields))
	}
	return e
}

// mixedPayload is JSON that a tidy program would write otherwise. An event
// without a payload comes back with null.
func mixedPayload(original, draw uint64) string {
	if draw%largeEvery == 0 {
		return `"` + strings.Repeat("x", int(draw/largeEvery%maxLarge)) + `"`
	}
	switch draw % 8 {
	case 0, 1:
		return "null"
	case 2:
		return fmt.Sprintf("{ \"n\" : %d ,\t\"b\":[ ],\"a\":{ } }", original)
	case 3:
		return fmt.Sprintf(`[1.50,-0.0,1E+10,%d,123456789012345678901234567890]`, original)
	case 4:
		return fmt.Sprintf(`{"z":"\u00e9\/\ud83d\ude00","a":"é😀","n":%d}`, original)
	case 5:
		return `""`
	}
	return fmt.Sprintf(`{"n":%d,"level":"INFO"}`, original)
}

// escaped says that the n-th event is a repeat whose names are written in
// another way than its original's: the first letter is an escape.
func (s *Stream) escaped(n uint64) bool {
	return s.Originals(n+1) == s.Originals(n) && mix(s.keys.variant, n)/conflictEvery%2 == 0
}

// appendMixed appends the JSON object of an original, with another payload if
// it is to be a conflict.
func (s *Stream) appendMixed(dst []byte, original uint64, conflict, escaped bool) []byte {
	e := s.mixedEvent(original)
	if conflict {
		e.Payload = s.VariantPayload(original)
	}
	text := func(name, value string) {
		dst = append(dst, name...)
		if first, size := utf8.DecodeRuneInString(value); escaped && first < 1<<16 {
			dst = fmt.Appendf(dst, `"\u%04x`, first)
			rest, _ := jsontext.AppendQuote(nil, value[size:]) // valid UTF-8
			dst = append(dst, rest[1:]...)
			return
		}
		dst, _ = jsontext.AppendQuote(dst, value) // valid UTF-8
	}
	text(`{"topic":`, e.Topic)
	text(`,"event_id":`, e.EventID)
	text(`,"timestamp":`, e.Timestamp)
	if e.Source != "" {
		text(`,"source":`, e.Source)
	}
	if e.Payload != "null" || original%2 == 0 {
		dst = append(append(dst, `,"payload":`...), e.Payload...)
	}
	return append(dst, '}')
}
