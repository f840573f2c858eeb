package ingest

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"sekali/aggregator/event"
)

// cloudTopic is for a CloudEvent without a type.
const cloudTopic = "cloudevents"

// The media types of CloudEvents' structured and batch modes.
const (
	cloudStructured = "application/cloudevents+json"
	cloudBatch      = "application/cloudevents-batch+json"
)

// IsCloudEvent reports whether a request is a CloudEvent, in any mode.
func IsCloudEvent(in *Input) bool {
	kind, _, _ := mime.ParseMediaType(in.header("Content-Type"))
	return in.header("Ce-Specversion") != "" || kind == cloudStructured || kind == cloudBatch
}

// CloudEvents maps CloudEvents in the structured, batch and binary mode. The identity is (source,
// id): event_id is source#id. The topic is the type, the payload the event in its structured form.
func CloudEvents(in *Input) (*event.Request, error) {
	b := newBuilder(in, cloudTopic, 2*len(in.Body))
	if in.header("Ce-Specversion") != "" { // decides before the media type
		event, err := b.binaryMode(in)
		if err != nil {
			return nil, err
		}
		if err := b.need(rewritings * (len(event) - len(in.Body))); err != nil {
			return nil, err
		}
		err = b.cloudEvent(in, event, event)
		return b.done(), err
	}
	all, err := values(in.Body)
	if err != nil {
		return nil, err
	}
	if err := b.hold(splitBytes * len(all)); err != nil {
		return nil, err
	}
	for _, value := range all {
		if err := b.look(value); err != nil {
			return nil, err
		}
		structured, err := b.asPayload(value)
		if err != nil {
			return nil, err
		}
		if err := b.cloudEvent(in, structured, value); err != nil {
			return nil, err
		}
	}
	return b.done(), nil
}

// cloudEvent appends an event in its structured form, which was sent as raw.
func (b *builder) cloudEvent(in *Input, structured, raw []byte) error {
	b.begin()
	var attributes struct{ ID, Source, Type, Time json.RawMessage }
	_ = json.Unmarshal(structured, &attributes) // what is no object has no attributes, and is saved all the same
	f := &b.fields
	f.Payload, f.Topic, f.Source = structured, []byte(cmp.Or(in.PathTopic, text(attributes.Type))), []byte(text(attributes.Source))
	if id := text(attributes.ID); id != "" {
		f.ID = []byte(string(f.Source) + "#" + id)
		if strings.Contains(id, "#") { // which # stands between the two would not be known
			sum := hash(f.Source, []byte(id))
			f.ID = append(append(f.ID, hashMark...), hexOf(sum)...)
		}
	}
	if t, ok := parseTime(text(attributes.Time)); ok {
		b.setTime(t)
	}
	b.override(in)
	if len(f.ID) == 0 {
		b.contentID(b.contentHash(raw))
	}
	return b.add()
}

// binaryAttributes are the attributes that may stand in headers.
var binaryAttributes = []string{"specversion", "id", "source", "type", "time", "subject", "dataschema"}

// notInHeaders are the names of what the body is.
var notInHeaders = []string{"data", "data_base64", "datacontenttype"}

// binaryMode writes the structured form of an event whose attributes are headers and whose data is
// the body.
func (b *builder) binaryMode(in *Input) ([]byte, error) {
	o := object{of: b, dst: []byte{'{'}}
	for _, name := range binaryAttributes {
		value := in.header("Ce-" + name)
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		o.text(name, []byte(value))
	}
	if in.Each != nil { // what extends the attributes
		in.Each(func(name, value string) {
			name, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
			if !ok || slices.Contains(binaryAttributes, name) || slices.Contains(notInHeaders, name) {
				return
			}
			if plain, err := url.PathUnescape(value); err == nil {
				value = plain
			}
			o.text(name, []byte(value))
		})
	}
	kind := in.header("Content-Type")
	o.text("datacontenttype", []byte(kind))
	media, _, _ := mime.ParseMediaType(kind)
	switch {
	case len(in.Body) == 0:
	case media == "" || media == "application/json" || strings.HasSuffix(media, "+json"):
		if err := b.look(in.Body); err != nil {
			return nil, err
		}
		data, err := b.asPayload(in.Body)
		if err != nil {
			return nil, err
		}
		o.name([]byte("data"))
		o.dst = append(o.dst, data...)
	case utf8.Valid(in.Body):
		o.text("data", in.Body)
	default:
		o.text("data_base64", []byte(base64.StdEncoding.EncodeToString(in.Body)))
	}
	return append(o.dst, '}'), o.err
}
