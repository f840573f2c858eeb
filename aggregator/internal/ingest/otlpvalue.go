package ingest

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// anyValueDepth is how deep the values of an attribute or a body may be nested: as deep as the
// official decoder lets them.
const anyValueDepth = 10_000 / 4

// fields reads the fields of a message, in their order, as long as next reports one. Then err says
// whether that was the end.
type fields struct {
	rest   []byte // of the message
	number protowire.Number
	value  uint64 // of a number
	bytes  []byte // of what has a length
	err    error
}

func (f *fields) next() bool {
	b := f.rest
	if len(b) == 0 {
		return false
	}
	var kind protowire.Type
	n := 1
	if tag := b[0]; tag < 0x80 && tag >= 1<<3 { // of one byte, as those of OTLP are
		f.number, kind = protowire.Number(tag>>3), protowire.Type(tag&7)
	} else if f.number, kind, n = protowire.ConsumeTag(b); n < 0 {
		return f.fail(malformed("not protobuf: %v", protowire.ParseError(n)))
	}
	b = b[n:]
	f.value, f.bytes = 0, nil
	switch kind {
	case protowire.BytesType:
		if len(b) > 0 && b[0] < 0x80 && int(b[0]) < len(b) { // a length of one byte
			n = 1 + int(b[0])
			f.bytes = b[1:n]
		} else {
			f.bytes, n = protowire.ConsumeBytes(b)
		}
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		f.value = uint64(v)
	default:
		n = protowire.ConsumeFieldValue(f.number, kind, b)
	}
	if n < 0 {
		return f.fail(malformed("not protobuf: field %d: %v", f.number, protowire.ParseError(n)))
	}
	f.rest = b[n:]
	return true
}

func (f *fields) fail(err error) bool {
	f.rest, f.err = nil, err
	return false
}

// keyValue reads a KeyValue: the key, and the AnyValue as it is on the wire.
func keyValue(b []byte) (key, value []byte, err error) {
	f := fields{rest: b}
	for f.next() {
		switch f.number {
		case 1:
			key = f.bytes
		case 2:
			value = f.bytes
		}
	}
	return key, value, f.err
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
func anyOf(b []byte) (number protowire.Number, value uint64, bytes []byte, err error) {
	f := fields{rest: b}
	for f.next() {
		if f.number >= anyString && f.number <= anyBytes {
			number, value, bytes = f.number, f.value, f.bytes
		}
	}
	return number, value, bytes, f.err
}

// scalar is a value's text if it is a string or a whole number, else nil.
func scalar(b []byte) []byte {
	switch number, value, bytes, err := anyOf(b); {
	case err != nil:
	case number == anyString:
		return bytes
	case number == anyInt:
		return appendInt(nil, int64(value))
	}
	return nil
}

// appendAnyValue appends an AnyValue as JSON. What JSON has no number for is a string, as
// protobuf's own JSON has it.
func (b *builder) appendAnyValue(dst, value []byte, depth int) ([]byte, error) {
	if depth > anyValueDepth {
		return dst, malformed("a value is nested deeper than %d", anyValueDepth)
	}
	number, bits, bytes, err := anyOf(value)
	if err != nil {
		return dst, err
	}
	if number == anyString {
		return b.quoted(dst, bytes)
	}
	more := 0
	if number == anyBytes {
		more = base64.StdEncoding.EncodedLen(len(bytes))
	}
	if dst, err = b.fit(dst, more); err != nil {
		return dst, err
	}
	switch number {
	case anyBool:
		return strconv.AppendBool(dst, bits != 0), nil
	case anyInt:
		return appendInt(dst, int64(bits)), nil
	case anyDouble:
		return appendDouble(dst, math.Float64frombits(bits)), nil
	case anyArray:
		return b.appendArray(dst, bytes, depth)
	case anyList:
		dst, err = b.appendAttributes(append(dst, '{'), bytes, 1, depth+1)
		return append(dst, '}'), err
	case anyBytes:
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), bytes)
		return append(dst, '"'), nil
	}
	return append(dst, "null"...), nil
}

func (b *builder) appendArray(dst, array []byte, depth int) ([]byte, error) {
	dst = append(dst, '[')
	first := true
	f := fields{rest: array}
	for f.next() {
		if f.number != 1 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		var err error
		if dst, err = b.appendAnyValue(dst, f.bytes, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), f.err
}

// appendAttributes appends the KeyValues of a message, which are its fields of a number, as members
// of a JSON object.
func (b *builder) appendAttributes(dst, message []byte, number protowire.Number, depth int) ([]byte, error) {
	first := true
	f := fields{rest: message}
	for f.next() {
		if f.number != number {
			continue
		}
		key, value, err := keyValue(f.bytes)
		if err != nil {
			return dst, err
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if dst, err = b.quoted(dst, key); err != nil {
			return dst, err
		}
		if dst, err = b.appendAnyValue(append(dst, ':'), value, depth); err != nil {
			return dst, err
		}
	}
	return dst, f.err
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
