package ingest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"

	"sekali/aggregator/event"
)

// splunkTopic is for an event without index and sourcetype.
const splunkTopic = "splunk"

// Splunk maps a body of Splunk's HTTP Event Collector: objects one behind the other. The topic is
// the index, else the sourcetype; the id is fields.event_id, else the object's hash. At what is no
// object it ends, as the collector does: the events before are taken, the rest is one rejection.
func Splunk(in *Input) (*event.Request, error) {
	b := newBuilder(in, splunkTopic, len(in.Body))
	for rest := in.Body; ; {
		one, to, err := splunkObject(rest)
		if errors.Is(err, io.EOF) {
			return b.done(), nil
		}
		if err != nil || one[0] != '{' {
			err := b.Reject(BadBody, "not a JSON object", rest)
			return b.done(), err
		}
		rest = rest[to:]
		b.begin()
		if err := b.look(one); err != nil {
			return nil, err
		}
		if err := b.setPayload(one); err != nil {
			return nil, err
		}
		b.splunkMembers(one)
		b.override(in)
		if len(b.fields.ID) == 0 {
			b.contentID(b.contentHash(one))
		}
		if err := b.add(); err != nil {
			return nil, err
		}
	}
}

// splunkObject is the value that a body begins with, and where it ends; io.EOF: there is none.
func splunkObject(body []byte) (value []byte, to int, err error) {
	p := event.NewPlain(body)
	if value, ok := p.Value(); ok && value[0] == '{' {
		return value, p.Offset(), nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	var one json.RawMessage
	err = d.Decode(&one)
	return one, int(d.InputOffset()), err
}

// splunkMembers reads an object's fields.
func (b *builder) splunkMembers(object []byte) {
	var index, sourcetype, host, source, id, at string
	_ = members(object, func(name, value []byte) { // it is an object
		switch string(name) {
		case "index":
			index = text(value)
		case "sourcetype":
			sourcetype = text(value)
		case "host":
			host = text(value)
		case "source":
			source = text(value)
		case "time":
			at = text(value)
		case "fields":
			id = member(value, "event_id")
		}
	})
	b.fields.Topic, b.fields.Source = []byte(cmp.Or(index, sourcetype)), []byte(cmp.Or(host, source))
	b.fields.ID = []byte(id)
	if t, ok := parseTime(at); ok {
		b.setTime(t)
	}
}

// SplunkRaw maps lines of text, an event each. What the request says of topic and source is meant
// as it stands: a source is often a path. Equal lines of two sources are two events.
func SplunkRaw(in *Input) (*event.Request, error) {
	all, err := lines(in.Body, event.MaxEventsPerRequest)
	if err != nil {
		return nil, err
	}
	topic, source := []byte(in.named(in.Topic)), []byte(in.named(in.Source))
	rest := *in
	rest.Topic, rest.Source = "", ""
	b := newBuilder(in, splunkTopic, len(in.Body))
	b.expected = len(all)
	if err := b.hold(splitBytes * len(all)); err != nil {
		return nil, err
	}
	ofSource := newPrefix(lengthOf(source), source)
	for _, line := range all {
		b.begin()
		if b.payload, err = b.quoted(b.payload[:0], line); err != nil {
			return nil, err
		}
		b.fields.Topic, b.fields.Source, b.fields.Payload = topic, source, b.payload
		b.override(&rest)
		switch {
		case len(b.fields.ID) > 0:
		case len(source) > 0:
			var sum [sha256.Size]byte
			b.contentID(digest(ofSource.sum(sum[:0], lengthOf(line), line)))
		default:
			b.contentID(hash(line))
		}
		if err := b.add(); err != nil {
			return nil, err
		}
	}
	return b.done(), nil
}
