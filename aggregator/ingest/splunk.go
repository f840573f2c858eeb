package ingest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"

	"sekali/aggregator/event"
)

// splunkTopic is for an event without index and sourcetype.
const splunkTopic = "splunk"

// NotAnEvent says which of a body's events Splunk's collector would not take.
type NotAnEvent struct {
	Number int // from 0
	Reason string
}

func (n *NotAnEvent) Error() string { return n.Reason }

// splunkEvent is what an event of the HTTP Event Collector says of itself.
type splunkEvent struct {
	Time       json.RawMessage `json:"time"`
	Host       string          `json:"host"`
	Source     string          `json:"source"`
	SourceType string          `json:"sourcetype"`
	Index      string          `json:"index"`
	Fields     struct {
		EventID json.RawMessage `json:"event_id"`
	} `json:"fields"`
}

// Splunk maps a body of Splunk's HTTP Event Collector: objects one behind the other. The topic is
// the index, else the sourcetype; the id is fields.event_id, else the object's hash.
func Splunk(in *Input) (*event.Request, error) {
	b := newBuilder(in, splunkTopic, len(in.Body))
	d := json.NewDecoder(bytes.NewReader(in.Body))
	for {
		var one json.RawMessage
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return b.Request, nil
		}
		if err != nil || len(one) == 0 || one[0] != '{' {
			return nil, &NotAnEvent{b.Total(), "not a JSON object"}
		}
		b.begin()
		var e splunkEvent
		if json.Unmarshal(one, &e) != nil {
			e = splunkEvent{} // a member of another type: saved as it is
		}
		b.fields.Payload = payload(one)
		b.fields.Topic = []byte(cmp.Or(e.Index, e.SourceType))
		b.fields.Source = []byte(cmp.Or(e.Host, e.Source))
		b.fields.ID = []byte(text(e.Fields.EventID))
		if t, ok := parseTime(text(e.Time)); ok {
			b.setTime(t)
		}
		b.override(in)
		if len(b.fields.ID) == 0 {
			b.contentID(contentHash(b.fields.Payload))
		}
		if err := b.add(); err != nil {
			return nil, err
		}
	}
}

// SplunkRaw maps lines of text, an event each.
func SplunkRaw(in *Input) (*event.Request, error) {
	b := newBuilder(in, splunkTopic, len(in.Body))
	for _, line := range lines(in.Body) {
		b.begin()
		b.fields.Payload = event.AppendQuoted(nil, line)
		b.override(in)
		if len(b.fields.ID) == 0 {
			b.contentID(hash(line))
		}
		if err := b.add(); err != nil {
			return nil, err
		}
	}
	return b.Request, nil
}
