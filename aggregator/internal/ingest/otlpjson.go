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
	var request jsonLogs
	if err := json.Unmarshal(in.Body, &request); err != nil {
		return nil, malformed("not an ExportLogsServiceRequest: %v", err)
	}
	wire, err := request.wire()
	if err != nil {
		return nil, err
	}
	asProtobuf := *in
	asProtobuf.Body = wire
	return OTLP(&asProtobuf)
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
func nonempty(dst []byte, number protowire.Number, content string) []byte {
	if content == "" {
		return dst
	}
	return message(dst, number, []byte(content))
}

func (l *jsonLogs) wire() (wire []byte, err error) {
	for _, r := range l.ResourceLogs {
		resource, err := keyValues(nil, 1, r.Resource.Attributes)
		if err != nil {
			return nil, err
		}
		resourceLogs := message(nil, 1, resource)
		for _, s := range r.ScopeLogs {
			scope := nonempty(nonempty(nil, 1, s.Scope.Name), 2, s.Scope.Version)
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

func (r *jsonLogRecord) wire() (wire []byte, err error) {
	for _, f := range []struct {
		number protowire.Number
		kind   protowire.Type
		value  json.RawMessage
	}{
		{1, protowire.Fixed64Type, r.TimeUnixNano}, {2, protowire.VarintType, r.SeverityNumber}, {7, protowire.VarintType, r.DroppedAttributes},
		{8, protowire.Fixed32Type, r.Flags}, {11, protowire.Fixed64Type, r.ObservedTimeUnixNano},
	} {
		n, err := strconv.ParseUint(text(f.value), 10, 64)
		if text(f.value) == "" || n == 0 && err == nil {
			continue
		}
		if err != nil {
			return nil, malformed("%.40q is not a whole number", f.value)
		}
		wire = protowire.AppendTag(wire, f.number, f.kind)
		switch f.kind {
		case protowire.Fixed64Type:
			wire = protowire.AppendFixed64(wire, n)
		case protowire.Fixed32Type:
			wire = protowire.AppendFixed32(wire, uint32(n))
		default:
			wire = protowire.AppendVarint(wire, n)
		}
	}
	wire = nonempty(nonempty(wire, 3, r.SeverityText), 12, r.EventName)
	if r.Body != nil {
		body, err := r.Body.wire()
		if err != nil {
			return nil, err
		}
		wire = message(wire, 5, body)
	}
	if wire, err = keyValues(wire, 6, r.Attributes); err != nil {
		return nil, err
	}
	for i, id := range []string{r.TraceID, r.SpanID} {
		decoded, err := hex.DecodeString(id)
		if err != nil {
			return nil, malformed("%.40q is not hexadecimal", id)
		}
		wire = nonempty(wire, protowire.Number(9+i), string(decoded))
	}
	return wire, nil
}

func keyValues(wire []byte, number protowire.Number, all []jsonKeyValue) ([]byte, error) {
	for _, kv := range all {
		one := nonempty(nil, 1, kv.Key)
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
