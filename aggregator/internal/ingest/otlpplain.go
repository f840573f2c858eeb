package ingest

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"sekali/aggregator/event"
)

// plainLogs writes a request in JSON as protobuf in one pass, as SDKs and the Collector send it:
// each name once and as it is defined, names before values, resource and scope before what is of
// them. It knows no errors: whatever else it meets, and be it right, is left to jsonWire, to which
// it comes to the same bytes; TestPlainWire holds it to that.
type plainLogs struct {
	event.Plain
	wire   []byte
	beside []byte // what is written for the current record before its place comes
	ids    []byte // of the current record
}

// plainWireDepth is how deep its values may be nested.
const plainWireDepth = 16

func plainWire(body []byte) (wire []byte, ok bool) {
	l := plainLogs{Plain: event.NewPlain(body), wire: make([]byte, 0, len(body)/2)}
	ok = l.object(requestNames, func(int, uint) bool { return l.Elements(l.resourceLogs) }) && l.End()
	return l.wire, ok
}

// The names of the messages' members, in the order in which they have to come, but for a record's.
var (
	requestNames   = []string{"resourceLogs"}
	resourcesNames = []string{"resource", "scopeLogs"}
	resourceNames  = []string{"attributes"}
	scopesNames    = []string{"scope", "logRecords"}
	scopeNames     = []string{"name", "version", "attributes"}
	keyValueNames  = []string{"key", "value"}
	listNames      = []string{"values"}
	anyValueNames  = []string{"stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue"}
	recordNames    = []string{
		"timeUnixNano", "observedTimeUnixNano", "severityNumber", "severityText", "body", "attributes",
		"droppedAttributesCount", "flags", "traceId", "spanId", "eventName",
	}
)

// object reads an object. It calls do for each member of such a name, with the name's place among
// them, and the places of those before as bits; it passes over the others, as encoding/json does.
func (l *plainLogs) object(names []string, do func(n int, before uint) bool) bool {
	var before uint
	return l.Members(func(member []byte) bool {
		for n, name := range names {
			if string(member) == name {
				was := before
				before |= 1 << n
				return was>>n&1 == 0 && do(n, was)
			}
		}
		for _, name := range names {
			if strings.EqualFold(name, string(member)) { // which encoding/json takes for the same
				return false
			}
		}
		_, ok := l.Value()
		return ok
	})
}

// inOrder is object of what has to come in the order of its names.
func (l *plainLogs) inOrder(names []string, do func(n int) bool) bool {
	return l.object(names, func(n int, before uint) bool { return before>>n == 0 && do(n) })
}

// open begins a field that is a message, for whose length there is one byte; end gives it more if
// it needs more.
func (l *plainLogs) open(number protowire.Number) (at int) {
	l.wire = append(protowire.AppendTag(l.wire, number, protowire.BytesType), 0)
	return len(l.wire)
}

func (l *plainLogs) end(at int) {
	n := len(l.wire) - at
	if n < 0x80 {
		l.wire[at-1] = byte(n)
		return
	}
	var length [10]byte
	prefix := protowire.AppendVarint(length[:0], uint64(n))
	l.wire = append(l.wire, prefix[1:]...) // room
	copy(l.wire[at-1+len(prefix):], l.wire[at:at+n])
	copy(l.wire[at-1:], prefix)
}

// message is a field that is one: read writes what is in it.
func (l *plainLogs) message(number protowire.Number, read func() bool) bool {
	at := l.open(number)
	ok := read()
	l.end(at)
	return ok
}

// headed is a message whose first field is head, which is there even if it is not in the JSON; rest
// reads each of the others.
func (l *plainLogs) headed(number protowire.Number, names []string, head, rest func() bool) bool {
	nothing := func() bool { return true }
	return l.message(number, func() bool {
		headless := true
		ok := l.inOrder(names, func(n int) bool {
			if n == 0 {
				headless = false
				return l.message(1, head)
			}
			if headless {
				headless = false
				l.message(1, nothing)
			}
			return l.Elements(rest)
		})
		if headless {
			l.message(1, nothing)
		}
		return ok
	})
}

func (l *plainLogs) resourceLogs() bool { return l.headed(1, resourcesNames, l.resource, l.scopeLogs) }

func (l *plainLogs) resource() bool {
	return l.inOrder(resourceNames, func(int) bool { return l.keyValues(1, 0) })
}

func (l *plainLogs) scopeLogs() bool { return l.headed(2, scopesNames, l.scope, l.logRecord) }

func (l *plainLogs) scope() bool {
	return l.inOrder(scopeNames, func(n int) bool {
		if n == 2 {
			return l.keyValues(3, 0)
		}
		text, ok := l.Text()
		l.wire = nonempty(l.wire, protowire.Number(1+n), text)
		return ok
	})
}

func (l *plainLogs) logRecord() bool {
	var r wireRecord
	var body, attributes [2]int // where they are beside
	l.beside, l.ids = l.beside[:0], l.ids[:0]
	aside := func(read func() bool) (place [2]int, ok bool) {
		wire := l.wire
		l.wire = l.beside
		from := len(l.wire)
		ok = read()
		l.wire, l.beside = wire, l.wire
		return [2]int{from, len(l.beside)}, ok
	}
	ok := l.object(recordNames, func(n int, _ uint) (ok bool) {
		switch recordNames[n] {
		case "timeUnixNano":
			return l.unsigned(&r.time)
		case "observedTimeUnixNano":
			return l.unsigned(&r.observed)
		case "severityNumber":
			return l.unsigned(&r.severity)
		case "droppedAttributesCount":
			return l.unsigned(&r.dropped)
		case "flags":
			return l.unsigned(&r.flags)
		case "severityText":
			r.severityText, ok = l.Text()
		case "eventName":
			r.eventName, ok = l.Text()
		case "traceId":
			r.traceID, ok = l.id()
		case "spanId":
			r.spanID, ok = l.id()
		case "body":
			r.hasBody = true
			body, ok = aside(func() bool { return l.anyValue(0) })
		case "attributes":
			attributes, ok = aside(func() bool { return l.keyValues(6, 0) })
		}
		return ok
	})
	r.body, r.attributes = l.beside[body[0]:body[1]], l.beside[attributes[0]:attributes[1]]
	return l.message(2, func() bool {
		l.wire = r.append(l.wire)
		return ok
	})
}

// digits reads a number, which may be a string, and returns its text.
func (l *plainLogs) digits() ([]byte, bool) {
	value, ok := l.Value()
	if !ok {
		return nil, false
	}
	if value[0] == '"' {
		return plainText(value)
	}
	return value, value[0] == '-' || value[0]-'0' <= 9
}

func (l *plainLogs) unsigned(to *uint64) bool {
	digits, ok := l.digits()
	if !ok {
		return false
	}
	var err error
	*to, err = strconv.ParseUint(string(digits), 10, 64)
	return err == nil
}

// id reads bytes in hexadecimal.
func (l *plainLogs) id() ([]byte, bool) {
	text, ok := l.Text()
	if !ok {
		return nil, false
	}
	from := len(l.ids)
	ids, err := hex.AppendDecode(l.ids, text)
	l.ids = ids
	return l.ids[from:], err == nil
}

func (l *plainLogs) keyValues(number protowire.Number, depth int) bool {
	return l.Elements(func() bool {
		return l.message(number, func() bool {
			return l.inOrder(keyValueNames, func(n int) bool {
				if n == 1 {
					return l.message(2, func() bool { return l.anyValue(depth) })
				}
				key, ok := l.Text()
				l.wire = nonempty(l.wire, 1, key)
				return ok
			})
		})
	})
}

func (l *plainLogs) anyValue(depth int) bool {
	if depth > plainWireDepth {
		return false
	}
	return l.object(anyValueNames, func(n int, before uint) bool {
		if before != 0 { // which of two counts is not for here
			return false
		}
		switch number := 1 + n; number {
		case anyArray:
			return l.message(anyArray, func() bool {
				return l.inOrder(listNames, func(int) bool {
					return l.Elements(func() bool {
						return l.message(1, func() bool { return l.anyValue(depth + 1) })
					})
				})
			})
		case anyList:
			return l.message(anyList, func() bool {
				return l.inOrder(listNames, func(int) bool { return l.keyValues(1, depth+1) })
			})
		default:
			return l.scalar(number)
		}
	})
}

// scalar reads the value of a member of an AnyValue that is no message.
func (l *plainLogs) scalar(number int) bool {
	switch number {
	case anyString:
		text, ok := l.Text()
		l.wire = message(l.wire, anyString, text)
		return ok
	case anyBytes:
		text, ok := l.Text()
		decoded, err := base64.StdEncoding.AppendDecode(nil, text)
		l.wire = message(l.wire, anyBytes, decoded)
		return ok && err == nil
	case anyBool:
		value, ok := l.Value()
		set := string(value) == "true"
		l.wire = protowire.AppendVarint(protowire.AppendTag(l.wire, anyBool, protowire.VarintType), protowire.EncodeBool(set))
		return ok && (set || string(value) == "false")
	}
	digits, ok := l.digits()
	if !ok {
		return false
	}
	if number == anyInt {
		i, err := strconv.ParseInt(string(digits), 10, 64)
		l.wire = protowire.AppendVarint(protowire.AppendTag(l.wire, anyInt, protowire.VarintType), uint64(i))
		return err == nil
	}
	f, err := strconv.ParseFloat(string(digits), 64) // knows NaN and Infinity
	l.wire = protowire.AppendFixed64(protowire.AppendTag(l.wire, anyDouble, protowire.Fixed64Type), math.Float64bits(f))
	return err == nil
}
