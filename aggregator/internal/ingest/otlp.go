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
	m := otlp{builder: newBuilder(in, otlpTopic, len(in.Body)*2), in: in}
	err := eachField(in.Body, func(f field) error {
		if f.number == 1 {
			return m.resourceLogs(f.bytes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.Request, nil
}

// otlp maps one request. Of what records share, the JSON is made once.
type otlp struct {
	*builder
	in *Input

	topic, source []byte        // of the resource
	resource      []byte        // as it is sent
	resourceJSON  []byte        // `{"resource":{…}`
	head          []byte        // the same with the scope
	origin        hashPrefix    // of resource and scope
	payload       []byte        // of the current record
	shared        []byte        // what origin is the digest of
	scopes        [][]byte      // of the resource, as they are sent
	records       [][]byte      // of the scope, as they are sent
	record        otlpLogRecord // the current one
	attributes    attributes    // of the current one
}

// hashPrefix is the digest of what comes before the record in its hash.
type hashPrefix [sha256.Size]byte

// otlpLogRecord is what identifies a record and when it was; the rest is in its payload.
type otlpLogRecord struct {
	time, observed uint64
	body           []byte
	severityText   []byte
	eventName      []byte
	traceID        []byte
	spanID         []byte
	severity       uint64
	flags          uint32
	dropped        uint64
	attributes     [][]byte
}

// attributes are those of a record that name it.
type attributes struct{ uid, path, offset []byte }

func (m *otlp) resourceLogs(b []byte) error {
	m.resource, m.scopes = nil, m.scopes[:0]
	if err := eachField(b, func(f field) error {
		switch f.number {
		case 1:
			m.resource = f.bytes
		case 2:
			m.scopes = append(m.scopes, f.bytes)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := m.setResource(); err != nil {
		return err
	}
	for _, scope := range m.scopes {
		if err := m.scopeLogs(scope); err != nil {
			return err
		}
	}
	return nil
}

func (m *otlp) setResource() error {
	m.topic, m.source = nil, nil
	var host []byte
	members := object{dst: append(m.resourceJSON[:0], `{"resource":{`...)}
	err := eachField(m.resource, func(f field) (err error) {
		if f.number != 1 {
			return nil
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
		members.name(key)
		members.dst, err = appendAnyValue(members.dst, value, 0)
		return err
	})
	m.resourceJSON = append(members.dst, '}')
	if len(m.source) == 0 {
		m.source = host
	}
	return err
}

func (m *otlp) scopeLogs(b []byte) error {
	var scope []byte
	m.records = m.records[:0]
	if err := eachField(b, func(f field) error {
		switch f.number {
		case 1:
			scope = f.bytes
		case 2:
			m.records = append(m.records, f.bytes)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := m.setScope(scope); err != nil {
		return err
	}
	for _, record := range m.records {
		if err := m.logRecord(record); err != nil {
			return err
		}
	}
	return nil
}

func (m *otlp) setScope(scope []byte) error {
	m.shared = protowire.AppendBytes(protowire.AppendBytes(m.shared[:0], m.resource), scope)
	m.origin = sha256.Sum256(m.shared)
	m.head = append(m.head[:0], m.resourceJSON...)
	if len(scope) == 0 {
		return nil
	}
	members := object{dst: append(m.head, `,"scope":{`...)}
	attributes := object{}
	err := eachField(scope, func(f field) error {
		switch f.number {
		case 1:
			members.text("name", f.bytes)
		case 2:
			members.text("version", f.bytes)
		case 3:
			return attributes.attribute(f.bytes)
		}
		return nil
	})
	members.object("attributes", &attributes)
	m.head = append(members.dst, '}')
	return err
}

// logRecord appends the event of one record.
func (m *otlp) logRecord(b []byte) error {
	m.begin()
	m.record = otlpLogRecord{attributes: m.record.attributes[:0]}
	r := &m.record
	if err := r.read(b); err != nil {
		return err
	}
	m.attributes = attributes{}
	if err := m.appendPayload(); err != nil {
		return err
	}
	f := &m.fields
	f.Topic, f.Source, f.Payload = m.topic, m.source, m.payload
	switch a := &m.attributes; {
	case len(a.uid) > 0:
		f.ID = a.uid
	case len(a.path) > 0 && len(a.offset) > 0:
		f.ID = m.place()
	default:
		m.contentID(m.origin.with(b))
	}
	if at := max(r.time, 0); at > 0 && at <= math.MaxInt64 {
		m.setTime(time.Unix(0, int64(at)))
	} else if r.observed > 0 && r.observed <= math.MaxInt64 {
		m.setTime(time.Unix(0, int64(r.observed)))
	}
	m.override(m.in)
	return m.add()
}

// place is the id of a record that says where it was read: path@offset~hash. Other hosts have the
// same paths, and a file that was rotated has the same offsets: so the hash is of the resource, the
// scope, the time and the body. Not of the observed time, which is another one when the line is
// read again.
func (m *otlp) place() []byte {
	a, r := &m.attributes, &m.record
	sum := hash(m.origin[:], binary.LittleEndian.AppendUint64(nil, r.time), r.body)
	return fmt.Appendf(nil, "%s@%s~%x", a.path, a.offset, sum[:8])
}

// with is the digest of a record behind what it shares with others.
func (p hashPrefix) with(record []byte) digest {
	var stack [1 << 10]byte
	sum := sha256.Sum256(append(append(stack[:0], p[:]...), record...))
	return digest(sum[:])
}

// read takes a record's fields from the wire.
func (r *otlpLogRecord) read(b []byte) error {
	return eachField(b, func(f field) error {
		switch f.number {
		case 1:
			r.time = f.value
		case 2:
			r.severity = f.value
		case 3:
			r.severityText = f.bytes
		case 5:
			r.body = f.bytes
		case 6:
			r.attributes = append(r.attributes, f.bytes)
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
		return nil
	})
}

// appendPayload makes the payload of the current record, and notes the attributes that name it.
func (m *otlp) appendPayload() (err error) {
	r := &m.record
	o := object{dst: append(m.payload[:0], m.head...), members: 1}
	if r.severity != 0 {
		o.number("severity_number", int64(int32(r.severity)))
	}
	o.text("severity_text", r.severityText)
	o.text("event_name", r.eventName)
	if len(r.body) > 0 {
		o.name([]byte("body"))
		if o.dst, err = appendAnyValue(o.dst, r.body, 0); err != nil {
			return err
		}
	}
	if len(r.attributes) > 0 {
		o.name([]byte("attributes"))
		inner := object{dst: append(o.dst, '{')}
		for _, b := range r.attributes {
			key, value, err := keyValue(b)
			if err != nil {
				return err
			}
			m.attributes.note(key, value)
			inner.name(key)
			if inner.dst, err = appendAnyValue(inner.dst, value, 0); err != nil {
				return err
			}
		}
		o.dst = append(inner.dst, '}')
	}
	if r.dropped > 0 {
		o.number("dropped_attributes_count", int64(uint32(r.dropped)))
	}
	o.hex("trace_id", r.traceID)
	o.hex("span_id", r.spanID)
	if r.flags != 0 {
		o.number("flags", int64(r.flags))
	}
	if r.observed > 0 && r.observed <= math.MaxInt64 && r.time > 0 { // else it is the event's time
		o.name([]byte("observed_time"))
		o.dst = append(appendTime(append(o.dst, '"'), time.Unix(0, int64(r.observed))), '"')
	}
	m.payload = append(o.dst, '}')
	return nil
}

func (a *attributes) note(key, value []byte) {
	if len(key) < len(filePath) || key[0] != 'l' {
		return
	}
	switch string(key) {
	case recordUID:
		a.uid = scalar(value)
	case filePath:
		a.path = scalar(value)
	case fileOffset:
		a.offset = scalar(value)
	}
}

// object writes the members of a JSON object.
type object struct {
	dst     []byte
	members int
}

func (o *object) name(name []byte) {
	if o.members > 0 {
		o.dst = append(o.dst, ',')
	}
	o.members++
	o.dst = append(event.AppendQuoted(o.dst, name), ':')
}

// text writes a member unless it is empty; so does hex.
func (o *object) text(name string, value []byte) {
	if len(value) > 0 {
		o.name([]byte(name))
		o.dst = event.AppendQuoted(o.dst, value)
	}
}

func (o *object) hex(name string, value []byte) {
	if len(value) > 0 {
		o.name([]byte(name))
		o.dst = append(hex.AppendEncode(append(o.dst, '"'), value), '"')
	}
}

func (o *object) number(name string, value int64) {
	o.name([]byte(name))
	o.dst = appendInt(o.dst, value)
}

// object writes an object as a member, unless it is empty.
func (o *object) object(name string, inner *object) {
	if inner.members > 0 {
		o.name([]byte(name))
		o.dst = append(append(append(o.dst, '{'), inner.dst...), '}')
	}
}

// attribute writes a KeyValue as a member.
func (o *object) attribute(b []byte) error {
	key, value, err := keyValue(b)
	if err != nil {
		return err
	}
	o.name(key)
	o.dst, err = appendAnyValue(o.dst, value, 0)
	return err
}
