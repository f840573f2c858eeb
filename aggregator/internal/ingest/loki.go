package ingest

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/klauspost/compress/s2"

	"sekali/aggregator/event"
)

// lokiTopic is for a stream none of whose labels is one of lokiTopics.
const lokiTopic = "loki"

// The labels that name a stream's topic and source, the first that is there.
var (
	lokiTopics  = []string{"service_name", "job", "app", "container"}
	lokiSources = []string{"instance", "host", "hostname", "node_name"}
)

// Loki maps a push to Loki in JSON. The id is the hash of (labels, time, line), which is Loki's own
// identity: what is equal in all three is one event.
func Loki(in *Input) (*event.Request, error) {
	var push struct {
		Streams []struct {
			Stream map[string]string   `json:"stream"`
			Values [][]json.RawMessage `json:"values"`
		} `json:"streams"`
	}
	if err := in.fits(false); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(in.Body, &push); err != nil {
		return nil, malformed("not a push request: %v", err)
	}
	b := newBuilder(in, lokiTopic, 2*len(in.Body))
	for _, s := range push.Streams {
		stream, err := b.newLokiStream(s.Stream)
		if err != nil {
			return nil, err
		}
		for _, v := range s.Values {
			at, line, metadata := lokiValue(v)
			if err := b.lokiEntry(in, stream, at, line, metadata); err != nil {
				return nil, err
			}
		}
	}
	return b.done(), nil
}

// lokiValue reads time, line and structured metadata, of which the last may be missing, and what
// comes from a sender's mistake the others too.
func lokiValue(v []json.RawMessage) (at lokiTime, line []byte, metadata map[string]string) {
	part := func(i int) json.RawMessage {
		if i < len(v) {
			return v[i]
		}
		return nil
	}
	ns, err := strconv.ParseInt(text(part(0)), 10, 64)
	if at.Time = time.Unix(0, ns); err != nil {
		at.unread = append([]byte{}, part(0)...)
	}
	if line = []byte(text(part(1))); len(line) == 0 && string(part(1)) != `""` {
		line = part(1) // no string: kept as it is
	}
	_ = json.Unmarshal(part(2), &metadata) // it identifies nothing
	return at, line, metadata
}

// lokiTime is an entry's time. One that cannot be read identifies the entry as it was sent, and the
// entry has the time of receipt.
type lokiTime struct {
	time.Time
	unread []byte // nil: it was read
}

// LokiProtoBytes is what the body of such a push takes when it is decompressed; -1: it cannot be.
func LokiProtoBytes(body []byte) int {
	n, err := s2.DecodedLen(body)
	if err != nil {
		return -1
	}
	return n
}

// LokiProto maps a push in protobuf within a snappy block. limit bounds what it decompresses to.
func LokiProto(in *Input, limit int) (*event.Request, error) {
	if n := LokiProtoBytes(in.Body); n < 0 || n > limit {
		return nil, malformed("not a snappy block of %d bytes at most", limit)
	}
	plain, err := s2.Decode(nil, in.Body)
	if err != nil {
		return nil, malformed("not a snappy block: %v", err)
	}
	b := newBuilder(in, lokiTopic, 2*len(plain))
	f := fields{rest: plain}
	for f.next() {
		if f.number != 1 {
			continue
		}
		if err := b.lokiProtoStream(in, f.bytes); err != nil {
			return b.done(), err
		}
	}
	return b.done(), f.err
}

func (b *builder) lokiProtoStream(in *Input, message []byte) error {
	var labels []byte
	f := fields{rest: message}
	for f.next() {
		if f.number == 1 {
			labels = f.bytes
		}
	}
	if f.err != nil {
		return f.err
	}
	all, err := b.parseLabels(string(labels))
	if err != nil {
		return err
	}
	stream, err := b.newLokiStream(all)
	if err != nil {
		return err
	}
	f = fields{rest: message} // once more: the labels may stand behind
	for f.next() {
		if f.number != 2 {
			continue
		}
		at, line, metadata, err := b.lokiProtoEntry(f.bytes)
		if err != nil {
			return err
		}
		if err := b.lokiEntry(in, stream, lokiTime{Time: at}, line, metadata); err != nil {
			return err
		}
	}
	return nil
}

// lokiProtoEntry reads an EntryAdapter: timestamp, line, structured metadata.
func (b *builder) lokiProtoEntry(message []byte) (at time.Time, line []byte, metadata map[string]string, err error) {
	var seconds, nanoseconds int64
	f := fields{rest: message}
	for f.next() {
		switch f.number {
		case 1:
			t := fields{rest: f.bytes}
			for t.next() {
				switch t.number {
				case 1:
					seconds = int64(t.value)
				case 2:
					nanoseconds = int64(t.value)
				}
			}
			if t.err != nil {
				return at, line, metadata, t.err
			}
		case 2:
			line = f.bytes
		case 3:
			key, value, err := keyValue(f.bytes) // a pair is as a KeyValue, but for the value's type
			if err != nil {
				return at, line, metadata, err
			}
			if metadata == nil {
				metadata = map[string]string{}
			}
			metadata[string(key)] = string(value)
			if err := b.need(pairBytes * len(metadata)); err != nil {
				return at, line, metadata, err
			}
		}
	}
	return time.Unix(seconds, nanoseconds), line, metadata, f.err
}

// lokiStream is what a stream's entries share.
type lokiStream struct {
	topic, source []byte
	labels        []byte // a JSON object with sorted names
}

func (b *builder) newLokiStream(labels map[string]string) (lokiStream, error) {
	first := func(names []string) []byte {
		for _, name := range names {
			if labels[name] != "" {
				return []byte(labels[name])
			}
		}
		return nil
	}
	object, err := b.appendSorted(nil, labels)
	return lokiStream{topic: first(lokiTopics), source: first(lokiSources), labels: object}, err
}

// appendSorted appends a map to a payload as a JSON object.
func (b *builder) appendSorted(payload []byte, members map[string]string) ([]byte, error) {
	o := object{of: b, dst: append(payload, '{')}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		o.name([]byte(name))
		o.quoted([]byte(members[name]))
	}
	return append(o.dst, '}'), o.err
}

func (b *builder) lokiEntry(in *Input, s lokiStream, at lokiTime, line []byte, metadata map[string]string) error {
	b.begin()
	dst := append(append(b.payload[:0], `{"labels":`...), s.labels...)
	dst, err := b.quoted(append(dst, `,"line":`...), line)
	if err != nil {
		return err
	}
	if len(metadata) > 0 {
		if dst, err = b.appendSorted(append(dst, `,"metadata":`...), metadata); err != nil {
			return err
		}
	}
	b.payload = append(dst, '}')
	b.fields.Topic, b.fields.Source, b.fields.Payload = s.topic, s.source, b.payload
	var sum digest
	if at.unread != nil {
		sum = hash(s.labels, nil, at.unread, line)
	} else {
		b.setTime(at.Time)
		var seconds, nanoseconds [20]byte
		sum = hash(s.labels, appendInt(seconds[:0], at.Unix()), appendInt(nanoseconds[:0], int64(at.Nanosecond())), line)
	}
	from := len(b.scratch)
	b.scratch = hex.AppendEncode(b.scratch, sum[:])
	b.fields.ID = b.scratch[from:]
	b.override(in)
	return b.add()
}

// malformedLabels is the label for what cannot be read of a stream's labels: two streams stay two.
const malformedLabels = "malformed_labels"

// parseLabels reads a stream's labels as Prometheus writes them: {job="a", host="b"}.
func (b *builder) parseLabels(text string) (map[string]string, error) {
	labels := map[string]string{}
	text = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "{"), "}")
	for text != "" {
		name, rest, ok := strings.Cut(text, "=")
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
		quoted, err := strconv.QuotedPrefix(rest)
		if !ok || err != nil {
			labels[malformedLabels] = text
			break
		}
		value, _ := strconv.Unquote(quoted) // QuotedPrefix has read it
		labels[strings.TrimSpace(name)] = value
		text = strings.TrimLeft(rest[len(quoted):], ", ")
		if err := b.need(pairBytes * len(labels)); err != nil {
			return nil, err
		}
	}
	return labels, nil
}
