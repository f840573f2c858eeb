package ingest

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"sekali/aggregator/event"
)

// anyValueDepth is how deep the values of an attribute or a body may be nested: as deep as the
// official decoder lets them.
const anyValueDepth = 10_000 / 4

// field is one field on the wire: of a length-delimited one the bytes, of any other the value.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64
	bytes  []byte
}

// eachField calls do with every field of a message, in its order.
func eachField(b []byte, do func(field) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return malformed("not protobuf: %v", protowire.ParseError(n))
		}
		b = b[n:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.value = uint64(v)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return malformed("not protobuf: field %d: %v", number, protowire.ParseError(n))
		}
		b = b[n:]
		if err := do(f); err != nil {
			return err
		}
	}
	return nil
}

// keyValue reads a KeyValue: the key, and the AnyValue as it is on the wire.
func keyValue(b []byte) (key, value []byte, err error) {
	err = eachField(b, func(f field) error {
		switch f.number {
		case 1:
			key = f.bytes
		case 2:
			value = f.bytes
		}
		return nil
	})
	return key, value, err
}

// The fields of an AnyValue, which has one of them at most.
const (
	anyString = 1 + iota
	anyBool
	anyInt
	anyDouble
	anyArray
	anyList
	anyBytes
)

// anyOf is the field of an AnyValue that counts, which is the last; its number is 0 if the value is
// empty.
func anyOf(b []byte) (last field, err error) {
	err = eachField(b, func(f field) error {
		if f.number >= anyString && f.number <= anyBytes {
			last = f
		}
		return nil
	})
	return last, err
}

// scalar is a value's text if it is a string or a whole number, else nil.
func scalar(b []byte) []byte {
	switch f, err := anyOf(b); {
	case err != nil:
	case f.number == anyString:
		return f.bytes
	case f.number == anyInt:
		return appendInt(nil, int64(f.value))
	}
	return nil
}

// appendAnyValue appends an AnyValue as JSON. What JSON has no number for is a string, as
// protobuf's own JSON has it.
func appendAnyValue(dst, b []byte, depth int) ([]byte, error) {
	if depth > anyValueDepth {
		return dst, malformed("a value is nested deeper than %d", anyValueDepth)
	}
	f, err := anyOf(b)
	if err != nil {
		return dst, err
	}
	switch f.number {
	case anyString:
		return event.AppendQuoted(dst, f.bytes), nil
	case anyBool:
		return strconv.AppendBool(dst, f.value != 0), nil
	case anyInt:
		return appendInt(dst, int64(f.value)), nil
	case anyDouble:
		return appendDouble(dst, math.Float64frombits(f.value)), nil
	case anyArray:
		return appendArray(dst, f.bytes, depth)
	case anyList:
		return appendList(dst, f.bytes, depth)
	case anyBytes:
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), f.bytes)
		return append(dst, '"'), nil
	}
	return append(dst, "null"...), nil
}

func appendArray(dst, b []byte, depth int) ([]byte, error) {
	dst = append(dst, '[')
	n := 0
	err := eachField(b, func(f field) (err error) {
		if f.number != 1 {
			return nil
		}
		if n++; n > 1 {
			dst = append(dst, ',')
		}
		dst, err = appendAnyValue(dst, f.bytes, depth+1)
		return err
	})
	return append(dst, ']'), err
}

func appendList(dst, b []byte, depth int) ([]byte, error) {
	o := object{dst: append(dst, '{')}
	err := eachField(b, func(f field) error {
		if f.number != 1 {
			return nil
		}
		key, value, err := keyValue(f.bytes)
		if err != nil {
			return err
		}
		o.name(key)
		o.dst, err = appendAnyValue(o.dst, value, depth+1)
		return err
	})
	return append(o.dst, '}'), err
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

func appendDouble(dst []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 0):
		return fmt.Appendf(dst, `"%sInfinity"`, map[bool]string{true: "-"}[v < 0])
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64)
}
