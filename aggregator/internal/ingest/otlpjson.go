package ingest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"sekali/aggregator/event"
)

// OTLPJSON maps an ExportLogsServiceRequest in JSON: it is written as protobuf and mapped as that,
// so that both encodings have one set of rules.
func OTLPJSON(in *Input) (*event.Request, error) {
	if err := in.fits(); err != nil {
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
	return request.wire()
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

func (l *jsonLogs) wire() (wire []byte, err error) {
	for _, r := range l.ResourceLogs {
		resource, err := keyValues(nil, 1, r.Resource.Attributes)
		if err != nil {
			return nil, err
		}
		resourceLogs := message(nil, 1, resource)
		for _, s := range r.ScopeLogs {
			scope := nonempty(nonempty(nil, 1, []byte(s.Scope.Name)), 2, []byte(s.Scope.Version))
			if scope, err = keyValues(scope, 3, s.Scope.Attributes); err != nil {
				return nil, err
			}
			scopeLogs := message(nil, 1, scope)
			for i := range s.LogRecords {
				record, err := s.LogRecords[i].wire()
				if err != nil {
					return nil, err
				}
				scopeLogs = message(scopeLogs, 2, record)
			}
			resourceLogs = message(resourceLogs, 2, scopeLogs)
		}
		wire = message(wire, 1, resourceLogs)
	}
	return wire, nil
}

func (r *jsonLogRecord) wire() ([]byte, error) {
	w := wireRecord{severityText: []byte(r.SeverityText), eventName: []byte(r.EventName)}
	for _, f := range []struct {
		to    *uint64
		value json.RawMessage
	}{
		{&w.time, r.TimeUnixNano}, {&w.severity, r.SeverityNumber}, {&w.dropped, r.DroppedAttributes}, {&w.flags, r.Flags}, {&w.observed, r.ObservedTimeUnixNano},
	} {
		number := text(f.value)
		if number == "" {
			continue
		}
		var err error
		if *f.to, err = strconv.ParseUint(number, 10, 64); err != nil {
			return nil, malformed("%.40q is not a whole number", f.value)
		}
	}
	var err error
	if r.Body != nil {
		w.hasBody = true
		if w.body, err = r.Body.wire(); err != nil {
			return nil, err
		}
	}
	if w.attributes, err = keyValues(nil, 6, r.Attributes); err != nil {
		return nil, err
	}
	if w.traceID, err = hex.DecodeString(r.TraceID); err != nil {
		return nil, malformed("%.40q is not hexadecimal", r.TraceID)
	}
	if w.spanID, err = hex.DecodeString(r.SpanID); err != nil {
		return nil, malformed("%.40q is not hexadecimal", r.SpanID)
	}
	return w.append(nil), nil
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

func keyValues(wire []byte, number protowire.Number, all []jsonKeyValue) ([]byte, error) {
	for _, kv := range all {
		one := nonempty(nil, 1, []byte(kv.Key))
		if kv.Value != nil {
			value, err := kv.Value.wire()
			if err != nil {
				return nil, err
			}
			one = message(one, 2, value)
		}
		wire = message(wire, number, one)
	}
	return wire, nil
}

func (v *jsonAnyValue) wire() ([]byte, error) {
	switch {
	case v.StringValue != nil:
		return message(nil, anyString, []byte(*v.StringValue)), nil
	case v.BoolValue != nil:
		return protowire.AppendVarint(protowire.AppendTag(nil, anyBool, protowire.VarintType), protowire.EncodeBool(*v.BoolValue)), nil
	case v.IntValue != nil:
		n, err := strconv.ParseInt(text(v.IntValue), 10, 64)
		if err != nil {
			return nil, malformed("%.40q is not an integer of 64 bits", v.IntValue)
		}
		return protowire.AppendVarint(protowire.AppendTag(nil, anyInt, protowire.VarintType), uint64(n)), nil
	case v.DoubleValue != nil:
		f, err := strconv.ParseFloat(text(v.DoubleValue), 64) // knows NaN and Infinity
		if err != nil {
			return nil, malformed("%.40q is not a number", v.DoubleValue)
		}
		return protowire.AppendFixed64(protowire.AppendTag(nil, anyDouble, protowire.Fixed64Type), math.Float64bits(f)), nil
	case v.ArrayValue != nil:
		var array []byte
		for i := range v.ArrayValue.Values {
			one, err := v.ArrayValue.Values[i].wire()
			if err != nil {
				return nil, err
			}
			array = message(array, 1, one)
		}
		return message(nil, anyArray, array), nil
	case v.KvlistValue != nil:
		list, err := keyValues(nil, 1, v.KvlistValue.Values)
		return message(nil, anyList, list), err
	case v.BytesValue != nil:
		decoded, err := base64.StdEncoding.DecodeString(*v.BytesValue)
		if err != nil {
			return nil, malformed("bytesValue is not base64: %v", err)
		}
		return message(nil, anyBytes, decoded), nil
	}
	return nil, nil
}
