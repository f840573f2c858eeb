// Package ingest maps what other programs' senders speak to events: bytes in, the events of a
// request out. It knows nothing of HTTP but the values of a few headers.
//
// Senders do not read the body of a 2xx, so a mapper refuses no event that it can save: a topic or
// an id that is too long is cut and hashed, what is not UTF-8 is replaced, an event without a time
// has the time of receipt. What cannot be saved at all is a rejection, or an error of the body.
//
// An event_id is what the sender calls the event's identity, else a hash of the event's content. It
// never depends on the request: after a restart a sender cuts its batches anew. Events of one
// request that are equal are told apart by an ordinal.
package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"sekali/aggregator/event"
)

// Input is a request as far as a mapper needs it.
type Input struct {
	Body     []byte
	Received time.Time
	Header   func(name string) string          // nil: there are none
	Each     func(do func(name, value string)) // every header; nil: there are none

	// PathTopic is the topic that the path of a CloudEvent names, in the place of its type; "": none.
	PathTopic string

	// Where an event's fields are to be found, as the request says: a JSON pointer into the event
	// ("/a/b"), a header ("header:X-Id"), or else the value itself. "" leaves it to the protocol.
	Topic, ID, Time, Source string

	// Most bounds the bytes of the events, which repeat what they share in the body: a small body
	// may come to any number of them. Beyond it is event.ErrTooLarge; 0: there is no bound.
	Most int
	// Grow is asked before the events, and what is kept beside them meanwhile, take n bytes more than
	// is usual for such a body. Its error ends the mapping; nil: nobody counts them.
	Grow func(n int) error

	decoded int // bytes that fits has asked for
}

func (in *Input) header(name string) string {
	if in.Header == nil {
		return ""
	}
	return in.Header(name)
}

// Malformed says that a body as a whole is not what its protocol asks for.
type Malformed struct{ Reason string }

func (m *Malformed) Error() string { return m.Reason }

func malformed(format string, values ...any) error {
	// Which library reads JSON is nothing to a sender.
	return &Malformed{strings.ReplaceAll(fmt.Sprintf(format, values...), "jsontext: ", "")}
}

// IsMalformed reports an error that the same body would meet for ever.
func IsMalformed(err error) bool {
	var m *Malformed
	return errors.As(err, &m)
}

// Codes of what cannot be saved, beside those of package event.
const (
	NotSupported event.Code = "not_supported" // an operation that a store of events does not have
	BadBody      event.Code = "malformed"     // a body as a whole
)

// digest is the first half of a SHA-256, which is enough for an identity.
type digest [16]byte

// hash is over parts of known lengths, so that no two lists of parts are the same bytes.
func hash(parts ...[]byte) digest {
	h := sha256.New()
	for _, part := range parts {
		h.Write(lengthOf(part))
		h.Write(part)
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return digest(sum[:])
}

func lengthOf(part []byte) []byte {
	n := uint64(len(part))
	return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), byte(n >> 32)}
}

// prefix is the state of a SHA-256 behind bytes with which many hashes begin.
type prefix []byte

func newPrefix(parts ...[]byte) prefix {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	state, _ := h.(encoding.BinaryMarshaler).MarshalBinary() // a SHA-256 never fails
	return state
}

// sum appends the hash of the prefix and the parts behind it.
func (p prefix) sum(dst []byte, parts ...[]byte) []byte {
	h := sha256.New()
	_ = h.(encoding.BinaryUnmarshaler).UnmarshalBinary(p) // it is newPrefix's
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(dst)
}

// same is what equal events without an id of their own have in common.
type same struct {
	content digest
	topic   uint32 // its number among the request's topics
}

// sameBytes is what one of them takes in the maps, but for its topic.
const sameBytes = 120

// builder makes the events of one request. Its owner calls done at the end.
type builder struct {
	*event.Request
	in       *Input
	usual    int // bytes for which there is room without asking
	counted  int // bytes for which there is room
	beside   int // bytes that are kept beside the events
	looked   int // of them, those for one value that is decoded
	written  int // of them, those for one payload: as long as it may get without asking
	fields   event.Fields
	received []byte // time of receipt, RFC 3339
	clock    clock
	seen     map[same]uint32   // how often a topic has a content, in this request
	topics   map[string]uint32 // the numbers of the topics in seen
	topic    []byte            // the last one in seen …
	number   uint32            // … and its number
	expected int               // about how many events there are
	content  digest            // of the current event, if its id is made of it …
	hashed   bool              // … which it is
	named    bool              // the request, and not the event, gives the current id
	names    int               // how many events of the request had such an id
	fallback string            // the topic of an event that names none
	scratch  []byte            // texts that were made for the current event
	payload  []byte            // the current event's, if it is made and not sent
	sorter   event.Sorter

	givenTopic, givenID, givenSource given

	rightTopic, rightSource righted

	long      prefix // of the hash of an id that the request gives, and that is too long …
	longBytes int    // … which has so many bytes with an ordinal
}

// newBuilder returns the builder of a request whose events usually take about so many bytes.
func newBuilder(in *Input, fallback string, bytes int) *builder {
	b := &builder{
		Request:  &event.Request{Data: dataBuffer(bytes)},
		in:       in,
		usual:    bytes,
		counted:  bytes + in.decoded,
		beside:   in.decoded,
		written:  writtenFirst,
		fallback: fallback,
	}
	b.received = b.clock.append(nil, in.Received)
	return b
}

// dataBytes is the largest buffer that is kept for another request's events.
const dataBytes = 1 << 20

var dataBuffers sync.Pool // of *[]byte

// dataBuffer is where a request's events are made, as nobody knows yet how long they will be.
func dataBuffer(bytes int) []byte {
	if bytes <= dataBytes {
		if kept, ok := dataBuffers.Get().(*[]byte); ok {
			return (*kept)[:0]
		}
	}
	return make([]byte, 0, bytes)
}

// done ends the request. Its events leave the buffer for a place of their length, in which they may
// wait.
func (b *builder) done() *event.Request {
	if cap(b.Data) <= dataBytes {
		buffer := b.Data
		b.Data = append(event.NewRequest(len(buffer)).Data, buffer...)
		dataBuffers.Put(&buffer)
	}
	return b.Request
}

// begin forgets the event before.
func (b *builder) begin() {
	b.fields = event.Fields{}
	b.hashed, b.named = false, false
	b.scratch = b.scratch[:0]
}

// contentID makes the event's id of its content.
func (b *builder) contentID(content digest) { b.content, b.hashed = content, true }

// setID ends an id that is made of the content, or that the request gives to all of its events:
// from the second of equal ones on it has an ordinal.
func (b *builder) setID() error {
	from, n := len(b.scratch), 0
	switch {
	case b.hashed:
		var err error
		if n, err = b.repeats(b.fields.Topic); err != nil {
			return err
		}
		b.scratch = hex.AppendEncode(b.scratch, b.content[:])
	case b.named:
		b.names++
		n = b.names
		b.scratch = append(b.scratch, b.fields.ID...)
	default:
		return nil
	}
	given := len(b.scratch)
	if n > 1 {
		b.scratch = strconv.AppendInt(append(b.scratch, '-'), int64(n), 10)
	}
	b.fields.ID = b.scratch[from:]
	if b.named && given-from > event.MaxTextBytes {
		b.fields.ID = b.longID(b.fields.ID, b.scratch[given:])
	}
	return nil
}

// longID is identity of an id with an ordinal at its end: what is before that is hashed once for
// all ordinals of a length.
func (b *builder) longID(id, ordinal []byte) []byte {
	if len(id) != b.longBytes {
		b.long, b.longBytes = newPrefix(lengthOf(id), id[:len(id)-len(ordinal)]), len(id)
	}
	return withHash(id, digest(b.long.sum(nil, ordinal)))
}

// seenFirst bounds the events for which there is place in seen before they are there.
const seenFirst = 1 << 10

// repeats counts the current content of a topic, and returns how often the request has it by now.
func (b *builder) repeats(topic []byte) (int, error) {
	if b.seen == nil {
		b.seen, b.topics = make(map[same]uint32, min(b.expected, seenFirst)), map[string]uint32{}
	}
	if len(b.topics) == 0 || string(b.topic) != string(topic) {
		number, ok := b.topics[string(topic)]
		if !ok {
			number = uint32(len(b.topics))
			b.topics[string(topic)] = number
		}
		b.topic, b.number = append(b.topic[:0], topic...), number
	}
	one, before := same{b.content, b.number}, len(b.seen)
	b.seen[one]++
	if len(b.seen) > before {
		return 1, b.hold(sameBytes + len(topic))
	}
	return int(b.seen[one]), nil
}

// add ends an event: what a sender may not know of the rules is put right.
func (b *builder) add() error {
	f := &b.fields
	if len(f.Topic) == 0 {
		f.Topic = []byte(b.fallback)
	}
	if f.Timestamp == nil {
		f.Timestamp = b.received
	}
	if err := b.setID(); err != nil {
		return err
	}
	f.Topic, f.Source = b.rightTopic.of(f.Topic), b.rightSource.of(f.Source)
	if !b.hashed { // else it is hexadecimal
		f.ID = identity(f.ID)
	}
	if err := b.room(len(f.Topic) + len(f.ID) + len(f.Timestamp) + len(f.Source) + len(f.Payload)); err != nil {
		return err
	}
	return b.Add(f)
}

// hold asks for the room of n bytes that are kept beside the events.
func (b *builder) hold(n int) error {
	b.beside += n
	return b.room(0)
}

// room asks for the room of so many bytes of events more, twice as much each time.
func (b *builder) room(bytes int) error {
	need := len(b.Data) + bytes
	if most := b.in.Most; most > 0 && need > most {
		return event.ErrTooLarge
	}
	if need += b.beside; need <= b.counted || b.in.Grow == nil {
		return nil
	}
	b.counted = max(need, 2*b.counted-b.in.decoded)
	return b.in.Grow(b.counted - b.usual)
}

// hashMark stands between what is left of a text and the hash of what it was.
const hashMark = "~"

// identity is text if it may stand in an event. Else it is put right, and ends with the hash of
// what it was, so that what was different stays so.
func identity(text []byte) []byte {
	if event.IsText(text) {
		return text
	}
	return withHash(text, hash(text))
}

// withHash is what there is room for of a text, put right, and its hash.
func withHash(text []byte, sum digest) []byte {
	const most = event.MaxTextBytes - len(hashMark) - 2*len(digest{})
	out := make([]byte, 0, event.MaxTextBytes)
	for len(text) > 0 {
		c, size := utf8.DecodeRune(text)
		if unicode.IsControl(c) {
			c = utf8.RuneError
		}
		if len(out)+utf8.RuneLen(c) > most {
			break
		}
		out, text = utf8.AppendRune(out, c), text[size:]
	}
	return hex.AppendEncode(append(out, hashMark...), sum[:])
}

// righted is the last text that identity put right: the events of a request often share it.
type righted struct{ text, out []byte }

func (r *righted) of(text []byte) []byte {
	if event.IsText(text) {
		return text
	}
	if r.out == nil || !bytes.Equal(r.text, text) {
		r.text, r.out = append(r.text[:0], text...), identity(text)
	}
	return r.out
}

func hexOf(sum digest) []byte { return hex.AppendEncode(nil, sum[:]) }
