package event

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// The fields of an event, in the order of the compact form.
const (
	topicField = iota
	idField
	timestampField
	sourceField
	payloadField
	fieldCount
)

var fieldNames = [fieldCount]string{"topic", "event_id", "timestamp", "source", "payload"}

// passedOver are the names that an export adds to what was published: it can be published as it is.
var passedOver = map[string]bool{"seq": true, "received_at": true}

// ErrTooMany is returned for a request of more than MaxEventsPerRequest events.
var ErrTooMany = fmt.Errorf("more than %d events in one request", MaxEventsPerRequest)

// ErrTooLarge is returned for a request whose events come to more than may wait.
var ErrTooLarge = errors.New("the events of the request come to more than may wait")

// strict is RFC 8259 to the letter, UTF-8 included. Repeated names are checked
// by the event decoder itself, for the event's own members only.
var strict = jsontext.AllowDuplicateNames(true)

// lenient is added to strict to leave the bytes inside strings to the event decoder, which refuses
// the event that holds what strict does not take: half of a surrogate pair, or what is not UTF-8.
var lenient = jsontext.AllowInvalidUTF8(true)

// decoder reads the events of one request; its buffers are reused.
type decoder struct {
	json    *jsontext.Decoder
	body    []byte // that source reads
	source  bytes.Buffer
	scratch []byte // texts of the current event
	fields  [fieldCount][]byte
	lenient bool
	refusals
}

// Grow is asked before what is refused of a body takes n bytes. Its error ends the reading; nil:
// nobody counts them.
type Grow func(n int) error

const (
	// refusedBytes is what a refusal takes beside its detail, twice, as they are moved.
	refusedBytes = 2 * int(unsafe.Sizeof(Rejection{}))
	// refusedFirst is what they take without asking: some 500.
	refusedFirst = 64 << 10
)

// refusals counts what the refusals of a request take: each two bytes of a body may be one.
type refusals struct {
	grow  Grow
	taken int
	asked int
	err   error // there was no room
}

// count counts the refusals from the one with this index on, and asks for their room, twice as much
// each time.
func (f *refusals) count(r *Request, before int) error {
	for _, one := range r.Rejections[before:] {
		f.taken += refusedBytes + len(one.Detail)
	}
	if f.taken <= f.asked || f.grow == nil {
		return nil
	}
	f.asked = max(f.taken, 2*f.asked)
	f.err = f.grow(f.asked)
	return f.err
}

var decoders = sync.Pool{New: func() any { return &decoder{json: new(jsontext.Decoder)} }}

func (d *decoder) reset(body []byte) {
	d.body = body
	d.source = *bytes.NewBuffer(body) // the decoder reads a bytes.Buffer in place
	d.json.Reset(&d.source, strict)
	d.lenient = false
}

// resetLenient is reset for a body that has a fault, and maybe in one event alone.
func (d *decoder) resetLenient(body []byte) {
	d.reset(body)
	d.json.Reset(&d.source, strict, lenient)
	d.lenient = true
}

func (d *decoder) release() {
	d.body = nil
	d.refusals = refusals{}
	d.source = bytes.Buffer{}
	d.json.Reset(&d.source, strict) // forget the caller's body
	d.fields = [fieldCount][]byte{}
	decoders.Put(d)
}

// ParseJSON reads a body that is one event, an array of events, or an object
// whose only member is "events". An error means that the whole body is refused:
// it is not JSON, not one of the three shapes, or ErrTooMany. Nothing of body is
// kept but in the rejections' Raw.
func ParseJSON(body []byte, grow Grow) (*Request, error) {
	r := newRequest(len(body))
	if (&plain{body: body}).request(r) {
		return r, nil
	}
	r.Data, r.Events = r.Data[:0], 0
	return parseJSON(r, body, grow)
}

// parseJSON is ParseJSON into an empty request, by the decoder. A string that is not text spoils
// its event and no more: so a body that is refused is read again, each event held to the letter on
// its own.
func parseJSON(r *Request, body []byte, grow Grow) (*Request, error) {
	d := decoders.Get().(*decoder)
	defer d.release()
	d.refusals = refusals{grow: grow, asked: refusedFirst}
	d.reset(body)
	err := d.request(r)
	if err != nil && err != ErrTooMany && d.err == nil {
		r.Data, r.Events, r.Rejections = r.Data[:0], 0, nil
		d.taken = 0
		d.resetLenient(body)
		if d.request(r) == nil {
			return r, nil
		}
		err = cmp.Or(d.err, err)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// request reads a whole body.
func (d *decoder) request(r *Request) error {
	var err error
	switch d.json.PeekKind() {
	case '[':
		err = d.array(r)
	case '{':
		if err = d.object(r); err == nil {
			d.setRaw(r, 0, 0)
		}
	default:
		if _, err = d.json.ReadValue(); err == nil {
			err = errors.New("the body must be an event, an array of events, or {\"events\":[…]}")
		} else if errors.Is(err, io.EOF) {
			err = errors.New("the body is empty")
		}
	}
	if err != nil {
		return err
	}
	if _, err := d.json.ReadToken(); err != io.EOF {
		if err == nil {
			err = errors.New("more than one JSON value in the body")
		}
		return err
	}
	return nil
}

// ParseNDJSON reads one event a line; blank lines are skipped and not counted.
// A line that is not JSON is refused alone, as InvalidJSON.
func ParseNDJSON(body []byte, grow Grow) (*Request, error) {
	d := decoders.Get().(*decoder)
	defer d.release()
	d.refusals = refusals{grow: grow, asked: refusedFirst}
	r := newRequest(len(body))
	for len(body) > 0 {
		line := body
		if end := bytes.IndexByte(body, '\n'); end >= 0 {
			line, body = body[:end], body[end+1:]
		} else {
			body = nil
		}
		if line = bytes.TrimRight(line, " \t\r"); len(line) == 0 {
			continue
		}
		size := len(r.Data)
		events, rejections := r.Events, len(r.Rejections)
		if p := (plain{body: line}); p.event(r) && p.end() {
			continue
		}
		r.Data, r.Events = r.Data[:size], events
		d.reset(line)
		err := d.event(r)
		if err == ErrTooMany {
			return nil, err
		}
		if err == nil {
			if _, err = d.json.ReadToken(); err == nil {
				err = errors.New("more than one JSON value on the line")
			}
		}
		if err != io.EOF {
			r.Data, r.Events, r.Rejections = r.Data[:size], events, r.Rejections[:rejections]
			r.reject(InvalidJSON, err.Error())
		}
		if n := len(r.Rejections); n > rejections {
			r.Rejections[n-1].Raw = line
			if err := d.count(r, rejections); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

func (r *Request) reject(code Code, detail string) {
	r.Rejections = append(r.Rejections, Rejection{Index: r.Total(), Code: code, Detail: detail})
}

// array reads events up to the end of the array that comes next.
func (d *decoder) array(r *Request) error {
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for d.json.PeekKind() != ']' {
		from, before := d.json.InputOffset(), len(r.Rejections)
		if err := d.event(r); err != nil {
			return err
		}
		d.setRaw(r, from, before)
		if err := d.count(r, before); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

// setRaw says where a refusal that came after the first so many has its event, which begins in the
// body at from, and ends where the decoder is.
func (d *decoder) setRaw(r *Request, from int64, before int) {
	if n := len(r.Rejections); n > before && r.Rejections[n-1].Raw == nil {
		r.Rejections[n-1].Raw = bytes.Trim(d.body[from:d.json.InputOffset()], ", \t\r\n")
	}
}

// object reads {"events":[…]} or, if its first name is another, one event.
func (d *decoder) object(r *Request) error {
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	if d.json.PeekKind() == '}' {
		return d.members(r)
	}
	name, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	if string(unquoted(name)) != "events" {
		return d.membersFrom(r, name)
	}
	if d.json.PeekKind() != '[' {
		if _, err := d.json.ReadValue(); err != nil {
			return err
		}
		return errors.New(`"events" must be an array`)
	}
	if err := d.array(r); err != nil {
		return err
	}
	if d.json.PeekKind() != '}' {
		if _, err := d.json.ReadToken(); err != nil {
			return err
		}
		return errors.New(`a body with "events" has no other member`)
	}
	_, err = d.json.ReadToken()
	return err
}

// event reads one value of an array or a line: an event, or a refusal of it.
func (d *decoder) event(r *Request) error {
	if d.json.PeekKind() == '{' {
		if _, err := d.json.ReadToken(); err != nil {
			return err
		}
		return d.members(r)
	}
	if r.Total() == MaxEventsPerRequest {
		return ErrTooMany
	}
	if _, err := d.json.ReadValue(); err != nil {
		return noEOF(err)
	}
	r.reject(InvalidType, "not an object")
	return nil
}

// noEOF turns the end of the input inside a value into a syntax error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (d *decoder) members(r *Request) error { return d.membersFrom(r, nil) }

// membersFrom reads the members of an event whose '{' is read, and whose first
// name too unless it is nil. The first fault of an event is the one reported; the
// rest of the event is read all the same, since its neighbours follow.
func (d *decoder) membersFrom(r *Request, name jsontext.Value) error {
	if r.Total() == MaxEventsPerRequest {
		return ErrTooMany
	}
	d.fields = [fieldCount][]byte{}
	d.scratch = d.scratch[:0]
	var seen [fieldCount]bool
	var code Code
	var detail string
	for {
		if name == nil {
			if d.json.PeekKind() == '}' {
				break
			}
			var err error
			if name, err = d.json.ReadValue(); err != nil {
				return noEOF(err)
			}
		}
		if passedOver[string(unquoted(name))] {
			if _, err := d.json.ReadValue(); err != nil {
				return noEOF(err)
			}
			name = nil
			continue
		}
		field := d.field(name)
		if code == "" {
			switch {
			case !d.isText(name):
				code, detail = InvalidJSON, "a name "+notText
			case field < 0:
				code, detail = UnknownField, fmt.Sprintf("%.40s is not a field", name)
			case seen[field]:
				code, detail = RepeatedField, fieldNames[field]+" is given twice"
			default:
				seen[field] = true
			}
		}
		name = nil
		value, err := d.json.ReadValue()
		if err != nil {
			return noEOF(err)
		}
		if code == "" && !d.isText(value) {
			code, detail = InvalidJSON, fieldNames[field]+" "+notText
		}
		if code == "" {
			if d.fields[field], code, detail = d.value(field, value); code != "" {
				detail = fieldNames[field] + " " + detail
			}
		}
	}
	if _, err := d.json.ReadToken(); err != nil {
		return noEOF(err)
	}
	for _, field := range [...]int{topicField, idField, timestampField} {
		if code == "" && !seen[field] {
			code, detail = MissingField, fieldNames[field]+" is missing"
		}
	}
	if code != "" {
		r.reject(code, detail)
		return nil
	}
	r.Data = appendEvent(r.Data, &d.fields)
	r.Events++
	return nil
}

const notText = "holds bytes that are not UTF-8, or half of a surrogate pair"

// isText reports whether all strings of a name or a value are text. The strict decoder has seen to
// it itself.
func (d *decoder) isText(v jsontext.Value) bool { return !d.lenient || v.IsValid(strict) }

// field finds the field of a JSON name, or -1.
func (d *decoder) field(name jsontext.Value) int {
	text := unquoted(name)
	for i, known := range fieldNames {
		if string(text) == known {
			return i
		}
	}
	return -1
}

// unquoted is the text of a JSON name.
func unquoted(name jsontext.Value) []byte {
	text := []byte(name[1 : len(name)-1])
	if bytes.IndexByte(text, '\\') >= 0 {
		if plain, err := jsontext.AppendUnquote(nil, name); err == nil {
			return plain
		}
	}
	return text
}

// value checks one field and returns its text, which lives until the next event.
func (d *decoder) value(field int, value jsontext.Value) ([]byte, Code, string) {
	if field == payloadField {
		return d.keep(value), "", ""
	}
	if value.Kind() != '"' {
		return nil, InvalidType, "must be a string"
	}
	text := []byte(value[1 : len(value)-1])
	if bytes.IndexByte(text, '\\') >= 0 {
		start := len(d.scratch)
		unquoted, err := jsontext.AppendUnquote(d.scratch, value)
		if err != nil {
			return nil, InvalidText, "is not valid text"
		}
		d.scratch = unquoted
		text = unquoted[start:]
	} else {
		text = d.keep(text)
	}
	if field == timestampField {
		if wrong := checkTimestamp(text); wrong != "" {
			return nil, InvalidTimestamp, wrong
		}
		return text, "", ""
	}
	code, detail := checkText(text, field)
	return text, code, detail
}

// checkText says what is wrong with a topic, an event_id or a source.
func checkText(text []byte, field int) (Code, string) {
	switch {
	case len(text) > MaxTextBytes:
		return InvalidLength, fmt.Sprintf("has %d bytes, %d is the most", len(text), MaxTextBytes)
	case len(text) == 0 && field != sourceField:
		return InvalidLength, "is empty"
	case hasControl(text):
		return InvalidText, "holds a control character"
	}
	return "", ""
}

// CheckTopic reports why no event can have such a topic.
func CheckTopic(topic string) error {
	_, detail := checkText([]byte(topic), topicField)
	if !utf8.ValidString(topic) {
		detail = "is not UTF-8"
	}
	if detail != "" {
		return errors.New("topic " + detail)
	}
	return nil
}

// keep copies what must outlive the decoder's next read.
func (d *decoder) keep(b []byte) []byte {
	start := len(d.scratch)
	d.scratch = append(d.scratch, b...)
	return d.scratch[start:]
}

// hasControl reports control characters, those beyond ASCII included.
func hasControl(text []byte) bool {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c < 0x20 || c == 0x7f:
			return true
		case c >= utf8.RuneSelf:
			return bytes.ContainsFunc(text[i:], unicode.IsControl)
		}
	}
	return false
}
