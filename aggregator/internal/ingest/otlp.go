package ingest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"sekali/aggregator/event"
)

// The topic of a log record whose resource has no service.name.
const otlpTopic = "otlp"

// The attributes that name an event, its topic and its source.
const (
	serviceName     = "service.name"
	serviceInstance = "service.instance.id"
	hostName        = "host.name"
	recordUID       = "log.record.uid"
	filePath        = "log.file.path"
	fileOffset      = "log.file.record_offset"
)

// OTLP maps an ExportLogsServiceRequest in protobuf. The payload of an event is the record with its
// resource and scope; its id is log.record.uid, else its place in a file, else a hash of (resource,
// scope, record).
//
// It reads the wire by protowire: the official types would add 10 MB to the binary.
func OTLP(in *Input) (*event.Request, error) {
	m := otlp{builder: newBuilder(in, otlpTopic, len(in.Body)*2)}
	f := fields{rest: in.Body}
	for f.next() {
		if f.number != 1 {
			continue
		}
		if err := m.resourceLogs(f.bytes); err != nil {
			return nil, err
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	return m.done(), nil
}

// otlp maps one request. Of what records share, the JSON is made once.
type otlp struct {
	*builder
	topic, source []byte     // of the resource
	resource      []byte     // as it is sent
	origin        prefix     // of what is hashed of the resource, once a record asks for it
	head          []byte     // `{"resource":{…}`, and the scope
	resourceBytes int        // of head, without the scope
	hashed        []byte     // originBytes of the digest of both, and the current record behind it
	record        otlpRecord // the current one
	ids           otlpIDs    // of the current one
}

// originBytes is the length of the digest that comes before the record in its hash.
const originBytes = sha256.Size

// otlpRecord is a record as it is sent.
type otlpRecord struct {
	time, observed uint64
	body           []byte
	severityText   []byte
	eventName      []byte
	traceID        []byte
	spanID         []byte
	severity       uint64
	flags          uint32
	dropped        uint64
}

// otlpIDs are the attributes that name a record.
type otlpIDs struct{ uid, path, offset []byte }

func (m *otlp) resourceLogs(b []byte) error {
	m.resource, m.origin = nil, nil
	f := fields{rest: b}
	for f.next() {
		if f.number == 1 {
			m.resource = f.bytes
		}
	}
	if f.err != nil {
		return f.err
	}
	if err := m.setResource(); err != nil {
		return err
	}
	f = fields{rest: b} // once more: the resource may stand behind
	for f.next() {
		if f.number != 2 {
			continue
		}
		if err := m.scopeLogs(f.bytes); err != nil {
			return err
		}
	}
	return nil
}

func (m *otlp) setResource() error {
	m.topic, m.source = nil, nil
	var host []byte
	f := fields{rest: m.resource}
	for f.next() {
		if f.number != 1 {
			continue
		}
		key, value, err := keyValue(f.bytes)
		if err != nil {
			return err
		}
		switch string(key) {
		case serviceName:
			m.topic = scalar(value)
		case serviceInstance:
			m.source = scalar(value)
		case hostName:
			host = scalar(value)
		}
	}
	if len(m.source) == 0 {
		m.source = host
	}
	dst, err := m.appendAttributes(append(m.head[:0], `{"resource":{`...), m.resource, 1, 0)
	m.head = append(dst, '}')
	m.resourceBytes = len(m.head)
	return err
}

func (m *otlp) scopeLogs(b []byte) error {
	var scope []byte
	records := 0
	f := fields{rest: b}
	for f.next() {
		switch f.number {
		case 1:
			scope = f.bytes
		case 2:
			records++
		}
	}
	if f.err != nil {
		return f.err
	}
	if err := m.setScope(scope); err != nil || records == 0 {
		return err
	}
	m.setOrigin(scope)
	m.expected = max(m.expected, records)
	f = fields{rest: b} // once more: the scope may stand behind
	for f.next() {
		if f.number != 2 {
			continue
		}
		if err := m.logRecord(f.bytes); err != nil {
			return err
		}
	}
	return nil
}

// setOrigin hashes resource and scope. The resource may be far longer than the scope, and have
// millions: so it is hashed once.
func (m *otlp) setOrigin(scope []byte) {
	var length [binary.MaxVarintLen64]byte
	if m.origin == nil {
		m.origin = newPrefix(protowire.AppendVarint(length[:0], uint64(len(m.resource))), m.resource)
	}
	m.hashed = m.origin.sum(m.hashed[:0], protowire.AppendVarint(length[:0], uint64(len(scope))), scope)
}

// setScope costs what the scope takes, whatever the resource does.
func (m *otlp) setScope(scope []byte) error {
	m.head = m.head[:m.resourceBytes]
	if len(scope) == 0 {
		return nil
	}
	o := object{of: m.builder, dst: append(m.head, `,"scope":{`...)}
	attributes := false
	f := fields{rest: scope}
	for f.next() {
		switch f.number {
		case 1:
			o.text("name", f.bytes)
		case 2:
			o.text("version", f.bytes)
		case 3:
			attributes = true
		}
	}
	if f.err != nil {
		return f.err
	}
	if attributes && o.err == nil {
		o.name([]byte("attributes"))
		o.dst, o.err = m.appendAttributes(append(o.dst, '{'), scope, 3, 0)
		o.dst = append(o.dst, '}')
	}
	m.head = append(o.dst, '}')
	return o.err
}

// logRecord appends the event of one record.
func (m *otlp) logRecord(b []byte) error {
	m.begin()
	if err := m.record.read(b); err != nil {
		return err
	}
	if err := m.appendPayload(b); err != nil {
		return err
	}
	f := &m.fields
	f.Topic, f.Source, f.Payload = m.topic, m.source, m.payload
	switch n := &m.ids; {
	case len(n.uid) > 0:
		f.ID = n.uid
	case len(n.path) > 0 && len(n.offset) > 0:
		f.ID = m.place()
	default:
		m.hashed = append(m.hashed[:originBytes], b...)
		sum := sha256.Sum256(m.hashed)
		m.contentID(digest(sum[:]))
	}
	const second = uint64(time.Second)
	if at := m.record.time; at > 0 && at <= math.MaxInt64 {
		m.setUnix(int64(at/second), int(at%second))
	} else if at := m.record.observed; at > 0 && at <= math.MaxInt64 {
		m.setUnix(int64(at/second), int(at%second))
	}
	m.override(m.in)
	return m.add()
}

// place is the id of a record that says where it was read: path@offset~hash. Other hosts have the
// same paths, and a file that was rotated has the same offsets: so the hash is of the resource, the
// scope, the time and the body. Not of the observed time, which is another one when the line is
// read again.
func (m *otlp) place() []byte {
	n, r := &m.ids, &m.record
	sum := hash(m.hashed[:originBytes], binary.LittleEndian.AppendUint64(nil, r.time), r.body)
	return fmt.Appendf(nil, "%s@%s~%x", n.path, n.offset, sum[:8])
}

// read takes a record's fields from the wire, but for its attributes: there may be millions.
func (r *otlpRecord) read(b []byte) error {
	*r = otlpRecord{}
	f := fields{rest: b}
	for f.next() {
		switch f.number {
		case 1:
			r.time = f.value
		case 2:
			r.severity = f.value
		case 3:
			r.severityText = f.bytes
		case 5:
			r.body = f.bytes
		case 7:
			r.dropped = f.value
		case 8:
			r.flags = uint32(f.value)
		case 9:
			r.traceID = f.bytes
		case 10:
			r.spanID = f.bytes
		case 11:
			r.observed = f.value
		case 12:
			r.eventName = f.bytes
		}
	}
	return f.err
}

// appendPayload makes the payload of the current record, which is b on the wire, and notes the
// attributes that name it.
func (m *otlp) appendPayload(b []byte) (err error) {
	r := &m.record
	dst := append(m.payload[:0], m.head...)
	if r.severity != 0 {
		dst = appendInt(append(dst, `,"severity_number":`...), int64(int32(r.severity)))
	}
	if len(r.severityText) > 0 {
		if dst, err = m.quoted(append(dst, `,"severity_text":`...), r.severityText); err != nil {
			return err
		}
	}
	if len(r.eventName) > 0 {
		if dst, err = m.quoted(append(dst, `,"event_name":`...), r.eventName); err != nil {
			return err
		}
	}
	if len(r.body) > 0 {
		if dst, err = m.appendAnyValue(append(dst, `,"body":`...), r.body, 0); err != nil {
			return err
		}
	}
	if dst, err = m.appendRecordAttributes(dst, b); err != nil {
		return err
	}
	if r.dropped > 0 {
		dst = appendInt(append(dst, `,"dropped_attributes_count":`...), int64(uint32(r.dropped)))
	}
	if len(r.traceID) > 0 {
		dst = append(hex.AppendEncode(append(dst, `,"trace_id":"`...), r.traceID), '"')
	}
	if len(r.spanID) > 0 {
		dst = append(hex.AppendEncode(append(dst, `,"span_id":"`...), r.spanID), '"')
	}
	if r.flags != 0 {
		dst = appendInt(append(dst, `,"flags":`...), int64(r.flags))
	}
	if r.observed > 0 && r.observed <= math.MaxInt64 && r.time > 0 { // else it is the event's time
		const second = uint64(time.Second)
		dst = append(dst, `,"observed_time":"`...)
		dst = append(m.clock.appendUnix(dst, int64(r.observed/second), int(r.observed%second)), '"')
	}
	m.payload = append(dst, '}')
	return nil
}

func (m *otlp) appendRecordAttributes(dst, record []byte) ([]byte, error) {
	m.ids = otlpIDs{}
	first := true
	f := fields{rest: record}
	for f.next() {
		if f.number != 6 {
			continue
		}
		key, value, err := keyValue(f.bytes)
		if err != nil {
			return dst, err
		}
		m.ids.note(key, value)
		if first {
			dst = append(dst, `,"attributes":{`...)
		} else {
			dst = append(dst, ',')
		}
		first = false
		if dst, err = m.quoted(dst, key); err != nil {
			return dst, err
		}
		if dst, err = m.appendAnyValue(append(dst, ':'), value, 0); err != nil {
			return dst, err
		}
	}
	if !first {
		dst = append(dst, '}')
	}
	return dst, f.err
}

func (n *otlpIDs) note(key, value []byte) {
	if len(key) < len(filePath) || key[0] != 'l' {
		return
	}
	switch string(key) {
	case recordUID:
		n.uid = scalar(value)
	case filePath:
		n.path = scalar(value)
	case fileOffset:
		n.offset = scalar(value)
	}
}

// object writes the members of a JSON object.
type object struct {
	of      *builder
	dst     []byte
	members int
	err     error // the first; nothing is written behind it
}

func (o *object) name(name []byte) {
	if o.members > 0 {
		o.dst = append(o.dst, ',')
	}
	o.members++
	o.quoted(name)
	o.dst = append(o.dst, ':')
}

func (o *object) quoted(text []byte) {
	if o.err == nil {
		o.dst, o.err = o.of.quoted(o.dst, text)
	}
}

// text writes a member unless it is empty.
func (o *object) text(name string, value []byte) {
	if len(value) > 0 {
		o.name([]byte(name))
		o.quoted(value)
	}
}
