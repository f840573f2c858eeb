package event

import (
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Fields are an event that another protocol's mapper has made, as Event has them. Its texts belong
// to the caller.
type Fields struct {
	Topic, ID, Timestamp, Source []byte
	Payload                      []byte // nil: none
}

// NewRequest returns an empty request with room for about so many bytes of events.
func NewRequest(bytes int) *Request { return newRequest(bytes) }

// Add appends an event. It obeys the rules of a published one, but for the payload, which the
// caller knows to be JSON: FuzzMappers holds every mapper to that.
func (r *Request) Add(f *Fields) error {
	if r.Total() == MaxEventsPerRequest {
		return ErrTooMany
	}
	r.Data = appendEvent(r.Data, &[fieldCount][]byte{f.Topic, f.ID, f.Timestamp, f.Source, f.Payload})
	r.Events++
	return nil
}

// Reject notes what cannot be stored at all, which is raw in the body.
func (r *Request) Reject(code Code, detail string, raw []byte) error {
	if r.Total() == MaxEventsPerRequest {
		return ErrTooMany
	}
	r.reject(code, detail)
	r.Rejections[len(r.Rejections)-1].Raw = raw
	return nil
}

// IsText reports whether text may stand in an event's topic, event_id or source: of at most
// MaxTextBytes, valid UTF-8, and without control characters.
func IsText(text []byte) bool {
	if len(text) > MaxTextBytes {
		return false
	}
	i := special(text, 0)
	for i < len(text) && (text[i] == '"' || text[i] == '\\') {
		i = special(text, i+1)
	}
	return i == len(text) || !hasControl(text[i:]) && utf8.Valid(text[i:])
}

// IsPayload reports whether value may be an event's payload: one JSON value to the letter, in which
// a name may be given twice.
func IsPayload(value []byte) bool {
	p := plain{body: value}
	return p.value() && p.end() || jsontext.Value(value).IsValid(strict)
}

// AppendQuoted appends text as a JSON string; what is not UTF-8 becomes U+FFFD.
func AppendQuoted(dst, text []byte) []byte {
	if special(text, 0) == len(text) {
		dst = append(dst, '"')
		dst = append(dst, text...)
		return append(dst, '"')
	}
	dst, _ = jsontext.AppendQuote(dst, text) // the error tells of the U+FFFD
	return dst
}
