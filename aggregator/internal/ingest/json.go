package ingest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"sekali/aggregator/event"
)

// asPayload is value as it may be stored: as it is if it is JSON to the letter, else put right,
// else as a JSON string.
func (b *builder) asPayload(value []byte) ([]byte, error) {
	value = bytes.TrimSpace(value)
	if event.IsPayload(value) {
		return value, nil
	}
	if again, err := reencode(value); err == nil {
		return again, nil
	}
	return b.quoted(nil, value)
}

func (b *builder) setPayload(value []byte) (err error) {
	b.fields.Payload, err = b.asPayload(value)
	return err
}

// reencode writes a value anew, with sorted names, exact numbers, and U+FFFD for what is not UTF-8.
// It refuses one that would take too much memory.
func reencode(value []byte) ([]byte, error) {
	if n := measure(value).values; n > MaxValues/4 {
		return nil, fmt.Errorf("%d values, %d are the most", n, MaxValues/4)
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("more than one value")
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// contentHash is a value's, whatever the order of its names: some senders change it at every print.
// Of what is no JSON to the letter, has a name twice or a million values, the bytes themselves
// count.
func (b *builder) contentHash(value []byte) digest {
	value = bytes.TrimSpace(value)
	if len(value) <= smallBytes {
		if sorted, ok := b.sorter.Sort(value); ok {
			return hash(sorted)
		}
	}
	if measure(value).values <= MaxValues/4 && jsontext.Value(value).IsValid() {
		if sorted, err := reencode(value); err == nil {
			return hash(sorted)
		}
	}
	return hash(value)
}

// values splits a body into the values of its events: an array's elements, or one object after
// another, or else a line each. A line that is not JSON is a value all the same.
func values(body []byte) ([][]byte, error) {
	body = bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf"))
	if len(body) == 0 {
		return nil, nil
	}
	if all, ok := plainValues(body); ok {
		return all, nil
	}
	var elements []json.RawMessage
	if body[0] == '[' && json.Valid(body) {
		if measure(body).elements > event.MaxEventsPerRequest {
			return nil, event.ErrTooMany
		}
		if err := json.Unmarshal(body, &elements); err != nil {
			return nil, malformed("not an array: %v", err)
		}
		return rawValues(elements)
	}
	if elements = objects(body); elements != nil {
		return rawValues(elements)
	}
	return lines(body, event.MaxEventsPerRequest)
}

// plainValues are the elements of an array, or objects one behind the other, of a body that is
// nothing else. It knows what event.Plain knows, and no more of them than an event may have.
func plainValues(body []byte) (all [][]byte, ok bool) {
	p := event.NewPlain(body)
	next := func() bool {
		value, ok := p.Value()
		all = append(all, value)
		return ok && len(all) <= event.MaxEventsPerRequest
	}
	if body[0] == '[' {
		return all, p.Elements(next) && p.End()
	}
	for !p.End() {
		if !next() || all[len(all)-1][0] != '{' {
			return nil, false
		}
	}
	return all, true
}

// objects are those of a body that is nothing but objects; nil: it is not.
func objects(body []byte) (all []json.RawMessage) {
	d := json.NewDecoder(bytes.NewReader(body))
	for len(all) <= event.MaxEventsPerRequest {
		var one json.RawMessage
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil || one[0] != '{' {
			return nil
		}
		all = append(all, one)
	}
	return all
}

func rawValues(elements []json.RawMessage) ([][]byte, error) {
	if len(elements) > event.MaxEventsPerRequest {
		return nil, event.ErrTooMany
	}
	all := make([][]byte, len(elements))
	for i, e := range elements {
		all[i] = e
	}
	return all, nil
}

// splitBytes is what each part of a body takes that is split: a slice, and the one that it was
// moved from as their number grew.
const splitBytes = 48

// lines are those of a text that are not blank; more than most are event.ErrTooMany.
func lines(text []byte, most int) ([][]byte, error) {
	var all [][]byte
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(all) == most {
			return nil, event.ErrTooMany
		}
		all = append(all, line)
	}
	return all, nil
}

// idHeaders name a request's only event, the first that is there.
var idHeaders = []string{"Ce-Id", "X-Github-Delivery", "Webhook-Id", "Idempotency-Key", "Svix-Id"}

// JSON maps any JSON: each value is an event's payload. The id is what in.ID says, else of a
// request with one event a webhook's header, else the payload's hash.
func JSON(in *Input, topic string) (*event.Request, error) {
	body := in.Body
	if kind, _, _ := strings.Cut(in.header("Content-Type"), ";"); strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		if form, err := url.ParseQuery(string(body)); err == nil && form.Has("payload") {
			body = []byte(form.Get("payload"))
		}
	}
	all, err := values(body)
	if err != nil {
		return nil, err
	}
	b := newBuilder(in, topic, len(body)+len(body)/4)
	b.expected = len(all)
	if err := b.hold(splitBytes * len(all)); err != nil {
		return nil, err
	}
	for _, value := range all {
		b.begin()
		if err := b.look(value); err != nil {
			return nil, err
		}
		if err := b.setPayload(value); err != nil {
			return nil, err
		}
		b.override(in)
		if len(b.fields.ID) == 0 && len(all) == 1 {
			for _, name := range idHeaders {
				if id := in.header(name); id != "" {
					b.fields.ID = []byte(id)
					break
				}
			}
		}
		if len(b.fields.ID) == 0 {
			b.contentID(b.contentHash(value))
		}
		if err := b.add(); err != nil {
			return nil, err
		}
	}
	return b.done(), nil
}

// override sets what the request says of the event's fields.
func (b *builder) override(in *Input) {
	if in.Topic == "" && in.ID == "" && in.Source == "" && in.Time == "" {
		return
	}
	if v := b.givenTopic.of(in, in.Topic, b.fields.Payload); len(v) > 0 {
		b.fields.Topic = v
	}
	if v := b.givenID.of(in, in.ID, b.fields.Payload); len(v) > 0 {
		b.fields.ID, b.hashed = v, false
		b.named = !strings.HasPrefix(in.ID, "/")
	}
	if v := b.givenSource.of(in, in.Source, b.fields.Payload); len(v) > 0 {
		b.fields.Source = v
	}
	if t, ok := parseTime(in.lookUp(in.Time, b.fields.Payload)); ok {
		b.setTime(t)
	}
}

// given is what the request says of a field. It is read once, if it is not in the events.
type given struct {
	text []byte
	read bool
}

func (g *given) of(in *Input, name string, payload []byte) []byte {
	if strings.HasPrefix(name, "/") {
		return []byte(pointer(payload, name))
	}
	if !g.read {
		g.text, g.read = []byte(in.named(name)), true
	}
	return g.text
}

// lookUp is the value that a request names for a field: by a JSON pointer into the payload, by a
// header, or itself; "" if there is none.
func (in *Input) lookUp(name string, payload []byte) string {
	if strings.HasPrefix(name, "/") {
		return pointer(payload, name)
	}
	return in.named(name)
}

// named is a header's value, or name itself.
func (in *Input) named(name string) string {
	if header, ok := strings.CutPrefix(name, "header:"); ok {
		return in.header(header)
	}
	return name
}

// pointer is the text of what an RFC 6901 pointer leads to: a string's, a number's or a bool's.
func pointer(value []byte, path string) string {
	for step := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		var next []byte
		if bytes.HasPrefix(bytes.TrimSpace(value), []byte("[")) {
			at, err := strconv.Atoi(step)
			if err != nil {
				return ""
			}
			next = element(value, at)
		} else if members(value, func(name, member []byte) {
			if string(name) == step {
				next = member
			}
		}) != nil {
			return ""
		}
		value = next
	}
	return text(value)
}

// lenient is JSON as other programs write it: what is not UTF-8 becomes U+FFFD later.
var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

var (
	errNoObject = errors.New("not an object")
	errMore     = errors.New("more than one value")
)

// members calls do for each member of an object, of which it keeps nothing: there may be millions.
// Its name is lost with the next. The first members may come once more from the beginning, so do
// has to go by the last of a name.
func members(object []byte, do func(name, value []byte)) error {
	if plainMembers(object, do) {
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(object), lenient...)
	if kind := d.PeekKind(); kind != '{' {
		if _, err := d.ReadValue(); err != nil {
			return err
		}
		return errNoObject
	}
	_, err := d.ReadToken()
	var name []byte
	for err == nil && d.PeekKind() == '"' {
		var quoted, value jsontext.Value
		if quoted, err = d.ReadValue(); err == nil {
			name, _ = jsontext.AppendUnquote(name[:0], quoted) // the error tells of U+FFFD
			value, err = d.ReadValue()
		}
		if err == nil {
			end := int(d.InputOffset())
			do(name, object[end-len(value):end])
		}
	}
	if err == nil {
		_, err = d.ReadToken() // its end
	}
	if err == nil {
		if _, err = d.ReadToken(); err == io.EOF {
			return nil
		}
		err = cmp.Or(err, errMore)
	}
	return err
}

// plainMembers is members of what event.Plain knows, and reports whether all of it is.
func plainMembers(object []byte, do func(name, value []byte)) bool {
	p := event.NewPlain(object)
	return p.Members(func(name []byte) bool {
		value, ok := p.Value()
		if ok {
			do(name, value)
		}
		return ok
	}) && p.End()
}

// element is the one at a place of an array; nil: there is none.
func element(array []byte, at int) (found []byte) {
	d := jsontext.NewDecoder(bytes.NewBuffer(array), lenient...)
	_, err := d.ReadToken()
	for i := 0; err == nil && i <= at && d.PeekKind() != ']'; i++ {
		var value jsontext.Value
		if value, err = d.ReadValue(); err == nil && i == at {
			end := int(d.InputOffset())
			return array[end-len(value) : end]
		}
	}
	return nil
}

// text is a JSON string's, number's or bool's text; "" for what is no such value.
func text(value []byte) string {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return ""
	}
	switch value[0] {
	case '"':
		if plain, ok := plainText(value); ok {
			return string(plain)
		}
		var s string
		if json.Unmarshal(value, &s) != nil {
			return ""
		}
		return s
	case '{', '[', 'n':
		return ""
	}
	if !utf8.Valid(value) {
		return ""
	}
	return string(value)
}

// plainText is a string's text, if it is short and has no escapes.
func plainText(value []byte) ([]byte, bool) {
	if len(value) < len(`""`) || value[0] != '"' || value[len(value)-1] != '"' {
		return nil, false
	}
	inner := value[1 : len(value)-1]
	return inner, bytes.IndexByte(inner, '"') < 0 && bytes.IndexByte(inner, '\\') < 0 && event.IsText(inner)
}
