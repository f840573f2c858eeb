package ingest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"sekali/aggregator/event"
)

// OTLPJSON maps an ExportLogsServiceRequest in JSON: it is written as protobuf and mapped as that,
// so that both encodings have one set of rules.
func OTLPJSON(in *Input) (*event.Request, error) {
	if err := in.fits(true); err != nil {
		return nil, err
	}
	wire, ok := plainWire(in.Body)
	if !ok {
		var err error
		if wire, err = jsonWire(in.Body); err != nil {
			return nil, err
		}
	}
	asProtobuf := *in
	asProtobuf.Body = wire
	return OTLP(&asProtobuf)
}

// jsonWire is a request in JSON as protobuf.
func jsonWire(body []byte) ([]byte, error) {
	var request jsonLogs
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, malformed("not an ExportLogsServiceRequest: %v", err)
	}
	return request.wire(), nil
}

// The messages of OTLP in their JSON form. Numbers of 64 bits may be strings; ids are hexadecimal.
type (
	jsonLogs struct {
		ResourceLogs []struct {
			Resource struct {
				Attributes []jsonKeyValue `json:"attributes"`
			} `json:"resource"`
			ScopeLogs []struct {
				Scope struct {
					Name       string         `json:"name"`
					Version    string         `json:"version"`
					Attributes []jsonKeyValue `json:"attributes"`
				} `json:"scope"`
				LogRecords []jsonLogRecord `json:"logRecords"`
			} `json:"scopeLogs"`
		} `json:"resourceLogs"`
	}
	jsonLogRecord struct {
		TimeUnixNano         json.RawMessage `json:"timeUnixNano"`
		ObservedTimeUnixNano json.RawMessage `json:"observedTimeUnixNano"`
		SeverityNumber       json.RawMessage `json:"severityNumber"`
		SeverityText         string          `json:"severityText"`
		Body                 *jsonAnyValue   `json:"body"`
		Attributes           []jsonKeyValue  `json:"attributes"`
		DroppedAttributes    json.RawMessage `json:"droppedAttributesCount"`
		Flags                json.RawMessage `json:"flags"`
		TraceID              string          `json:"traceId"`
		SpanID               string          `json:"spanId"`
		EventName            string          `json:"eventName"`
	}
	jsonKeyValue struct {
		Key   string        `json:"key"`
		Value *jsonAnyValue `json:"value"`
	}
	jsonAnyValue struct {
		StringValue *string         `json:"stringValue"`
		BoolValue   *bool           `json:"boolValue"`
		IntValue    json.RawMessage `json:"intValue"`
		DoubleValue json.RawMessage `json:"doubleValue"`
		ArrayValue  *struct {
			Values []jsonAnyValue `json:"values"`
		} `json:"arrayValue"`
		KvlistValue *struct {
			Values []jsonKeyValue `json:"values"`
		} `json:"kvlistValue"`
		BytesValue *string `json:"bytesValue"`
	}
)

// message appends a field that is a message, a string or bytes.
func message(dst []byte, number protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, number, protowire.BytesType), content)
}

// nonempty is message, unless there is nothing to say.
func nonempty(dst []byte, number protowire.Number, content []byte) []byte {
	if len(content) == 0 {
		return dst
	}
	return message(dst, number, content)
}

func (l *jsonLogs) wire() (wire []byte) {
	for _, r := range l.ResourceLogs {
		resourceLogs := message(nil, 1, keyValues(1, r.Resource.Attributes))
		for _, s := range r.ScopeLogs {
			scope := nonempty(nonempty(nil, 1, []byte(s.Scope.Name)), 2, []byte(s.Scope.Version))
			scopeLogs := message(nil, 1, append(scope, keyValues(3, s.Scope.Attributes)...))
			for i := range s.LogRecords {
				scopeLogs = message(scopeLogs, 2, s.LogRecords[i].wire())
			}
			resourceLogs = message(resourceLogs, 2, scopeLogs)
		}
		wire = message(wire, 1, resourceLogs)
	}
	return wire
}

func (r *jsonLogRecord) wire() []byte {
	w := wireRecord{
		time: unsigned(r.TimeUnixNano), observed: unsigned(r.ObservedTimeUnixNano), severity: severity(r.SeverityNumber),
		dropped: unsigned(r.DroppedAttributes), flags: unsigned(r.Flags),
		severityText: []byte(r.SeverityText), eventName: []byte(r.EventName),
		attributes: keyValues(6, r.Attributes), traceID: traceBytes(r.TraceID), spanID: traceBytes(r.SpanID),
	}
	if r.Body != nil {
		var body backward
		r.Body.wire(&body)
		w.hasBody, w.body = true, body.written()
	}
	return w.append(nil)
}

// unsigned is a whole number; 0: it is none, or cannot be read.
func unsigned(value json.RawMessage) uint64 {
	n, err := strconv.ParseUint(text(value), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Severities are numbered from 1, four of each kind: TRACE, TRACE2, TRACE3, TRACE4, DEBUG, …
var severityKinds = []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

// severity is a number, or the name by which protobuf's own JSON has it.
func severity(value json.RawMessage) uint64 {
	name, named := strings.CutPrefix(text(value), "SEVERITY_NUMBER_")
	if !named {
		return unsigned(value)
	}
	kind, nth := strings.TrimRight(name, "234"), uint64(1)
	if digits := name[len(kind):]; digits != "" {
		nth = uint64(digits[0] - '0')
	}
	at := slices.Index(severityKinds, kind)
	if at < 0 {
		return 0
	}
	return 4*uint64(at) + nth
}

// traceBytes are those of an id: in hexadecimal, in base64 as protobuf's own JSON has it, or else
// its text.
func traceBytes(id string) []byte {
	if decoded, err := hex.DecodeString(id); err == nil {
		return decoded
	}
	if decoded, err := base64.StdEncoding.DecodeString(id); err == nil {
		return decoded
	}
	return []byte(id)
}

// wireRecord is a record in JSON whose parts are read. An id is a hash of the record on the wire,
// so the order of its fields there may never change.
type wireRecord struct {
	time, severity, dropped, flags, observed uint64

	severityText, eventName []byte
	hasBody                 bool
	body                    []byte // as a message
	attributes              []byte // as fields
	traceID, spanID         []byte
}

func (r *wireRecord) append(wire []byte) []byte {
	if r.time > 0 {
		wire = protowire.AppendFixed64(protowire.AppendTag(wire, 1, protowire.Fixed64Type), r.time)
	}
	if r.severity > 0 {
		wire = protowire.AppendVarint(protowire.AppendTag(wire, 2, protowire.VarintType), r.severity)
	}
	if r.dropped > 0 {
		wire = protowire.AppendVarint(protowire.AppendTag(wire, 7, protowire.VarintType), r.dropped)
	}
	if r.flags > 0 {
		wire = protowire.AppendFixed32(protowire.AppendTag(wire, 8, protowire.Fixed32Type), uint32(r.flags))
	}
	if r.observed > 0 {
		wire = protowire.AppendFixed64(protowire.AppendTag(wire, 11, protowire.Fixed64Type), r.observed)
	}
	wire = nonempty(nonempty(wire, 3, r.severityText), 12, r.eventName)
	if r.hasBody {
		wire = message(wire, 5, r.body)
	}
	wire = append(wire, r.attributes...)
	return nonempty(nonempty(wire, 9, r.traceID), 10, r.spanID)
}

// backward writes protobuf from its end to its beginning: so the length of a message is known when
// its turn comes, and nothing of what is nested is moved at each level.
type backward struct {
	buffer []byte
	free   int // bytes at its beginning
}

func (w *backward) written() []byte { return w.buffer[w.free:] }

func (w *backward) prepend(bytes []byte) {
	if len(bytes) > w.free {
		next := make([]byte, 2*len(w.buffer)+len(bytes))
		free := len(next) - len(w.written())
		copy(next[free:], w.written())
		w.buffer, w.free = next, free
	}
	w.free -= len(bytes)
	copy(w.buffer[w.free:], bytes)
}

// message makes a field of what is written, without the last bytes of it, which lie behind the
// field.
func (w *backward) message(number protowire.Number, behind int) {
	var head [2 * binary.MaxVarintLen64]byte
	tag := protowire.AppendTag(head[:0], number, protowire.BytesType)
	w.prepend(protowire.AppendVarint(tag, uint64(len(w.written())-behind)))
}

func (w *backward) bytes(number protowire.Number, content []byte) {
	behind := len(w.written())
	w.prepend(content)
	w.message(number, behind)
}

func (w *backward) keyValues(number protowire.Number, all []jsonKeyValue) {
	for _, kv := range slices.Backward(all) {
		behind := len(w.written())
		if kv.Value != nil {
			kv.Value.wire(w)
			w.message(2, behind)
		}
		if kv.Key != "" {
			w.bytes(1, []byte(kv.Key))
		}
		w.message(number, behind)
	}
}

// keyValues are fields of a number.
func keyValues(number protowire.Number, all []jsonKeyValue) []byte {
	var w backward
	w.keyValues(number, all)
	return w.written()
}

// wire writes the value as a message. What is not what its name says is a string.
func (v *jsonAnyValue) wire(w *backward) {
	behind := len(w.written())
	switch {
	case v.StringValue != nil:
		w.bytes(anyString, []byte(*v.StringValue))
	case v.BoolValue != nil:
		w.prepend(protowire.AppendVarint(protowire.AppendTag(nil, anyBool, protowire.VarintType), protowire.EncodeBool(*v.BoolValue)))
	case v.IntValue != nil:
		n, err := strconv.ParseInt(text(v.IntValue), 10, 64)
		if err != nil {
			w.bytes(anyString, textOrJSON(v.IntValue))
			return
		}
		w.prepend(protowire.AppendVarint(protowire.AppendTag(nil, anyInt, protowire.VarintType), uint64(n)))
	case v.DoubleValue != nil:
		f, err := strconv.ParseFloat(text(v.DoubleValue), 64) // knows NaN and Infinity
		if err != nil {
			w.bytes(anyString, textOrJSON(v.DoubleValue))
			return
		}
		w.prepend(protowire.AppendFixed64(protowire.AppendTag(nil, anyDouble, protowire.Fixed64Type), math.Float64bits(f)))
	case v.ArrayValue != nil:
		for i := range slices.Backward(v.ArrayValue.Values) {
			behind := len(w.written())
			v.ArrayValue.Values[i].wire(w)
			w.message(1, behind)
		}
		w.message(anyArray, behind)
	case v.KvlistValue != nil:
		w.keyValues(1, v.KvlistValue.Values)
		w.message(anyList, behind)
	case v.BytesValue != nil:
		decoded, err := base64.StdEncoding.DecodeString(*v.BytesValue)
		if err != nil {
			w.bytes(anyString, []byte(*v.BytesValue))
			return
		}
		w.bytes(anyBytes, decoded)
	}
}

// textOrJSON is the text of a value, or the JSON of one that has none.
func textOrJSON(value json.RawMessage) []byte {
	if t := text(value); t != "" {
		return []byte(t)
	}
	return value
}
