package ingest_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"
)

// odd makes requests as no sender should make them, or, if it is calm, as they do. The same seed
// makes the same requests.
type odd struct {
	*rand.Rand
	calm bool
}

func newOdd(seed uint64, calm bool) odd { return odd{rand.New(rand.NewPCG(seed, seed)), calm} }

func (o odd) oneIn(n int) bool { return o.IntN(n) == 0 }

// rarely is oneIn of what no sender does.
func (o odd) rarely(n int) bool { return !o.calm && o.oneIn(n) }

// strange is what no sender sends, or what it sends instead.
func strange[T any](o odd, usual T, from ...T) T {
	if o.calm {
		return usual
	}
	return pick(o, append(from, usual)...)
}

func pick[T any](o odd, from ...T) T { return from[o.IntN(len(from))] }

// text is a text of a log, or one that is none.
func (o odd) text() string {
	var b strings.Builder
	for o.calm && o.IntN(4) > 0 {
		b.WriteString(pick(o, "GET /orders/7 200", "a", "é", "日本", "\"", "\\", "\n", " ", "{", strings.Repeat("x", o.IntN(200))))
	}
	for range o.IntN(6) {
		if o.calm {
			break
		}
		b.WriteString(pick(o, "GET /orders/7 200", "a", "b", "é", "日本", "\U0001f600", "\u2028", "\u2029", "\ufffd", "\"", "\\", "\n", "\t", "\r", "\b", "\f",
			"\x00", "\x1f", "\x7f", "\u0085", "\xff", "\xc3", "\xed\xa0\x80", "<&>", "{", "}", "[", "]", ",", ":", " ", strings.Repeat("x", o.IntN(200))))
	}
	return b.String()
}

// integer is a number of 64 bits of any size.
func (o odd) integer() uint64 {
	return pick(o, 0, 1, 2, 9, 17, 127, 128, 1<<31, 1<<32, 1<<63-1, 1<<63, math.MaxUint64, o.Uint64()>>o.IntN(64), o.Uint64())
}

// nanoseconds is a time since 1970, or what is none.
func (o odd) nanoseconds() uint64 {
	const at = 1764295200_000000000
	return pick(o, at, at, at+uint64(o.IntN(1e9)), at+uint64(o.IntN(1e6))*1000, at+1e9*uint64(o.IntN(1e6)), at+500_000_000, uint64(o.Int64()), o.integer())
}

func (o odd) float() float64 {
	return pick(o, 0, math.Copysign(0, -1), 1, 0.1, 1e21, 1e-7, 123456789, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.NaN(),
		math.Float64frombits(o.Uint64()), float64(o.IntN(1e6))/1000)
}

// attribute is the name of one, which may mean something.
func (o odd) attribute() string {
	return pick(o, "service.name", "service.instance.id", "host.name", "log.record.uid", "log.file.path", "log.file.record_offset", "http.method", "k", "k", "", o.text())
}

// wireVarint and the others are fields on the wire.
func wireVarint(n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

func wireFixed64(n protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, n, protowire.Fixed64Type), v)
}

func wireFixed32(n protowire.Number, v uint32) []byte {
	return protowire.AppendFixed32(protowire.AppendTag(nil, n, protowire.Fixed32Type), v)
}

// stray is a field that no message has, or one of another type than it should have.
func (o odd) stray() []byte {
	n := protowire.Number(1 + o.IntN(20))
	switch o.IntN(7) {
	case 0:
		return wireVarint(n, o.integer())
	case 1:
		return wireFixed64(n, o.integer())
	case 2:
		return wireFixed32(n, o.Uint32())
	case 3:
		return wireVarint(protowire.Number(1+o.IntN(1<<28)), 1)
	case 4:
		group := append(protowire.AppendTag(nil, n, protowire.StartGroupType), wireVarint(3, 1)...)
		return protowire.AppendTag(group, n, protowire.EndGroupType)
	case 5: // a tag that is longer than it need be
		return []byte{byte(n)<<3 | byte(protowire.VarintType) | 0x80, 0x80, 0x00, 0x01}
	}
	return otlpField(n, []byte(o.text()))
}

// message joins fields, most times in order.
func (o odd) message(fields ...[]byte) []byte {
	for i := range fields {
		if o.rarely(40) {
			fields[i] = append(slices.Clone(fields[i]), o.stray()...)
		}
	}
	if o.rarely(8) {
		o.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	}
	return slices.Concat(fields...)
}

func (o odd) wireValue(depth int) []byte {
	kinds := 9
	if depth == 0 {
		kinds = 6
	}
	switch o.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return wireVarint(2, pick(o, 0, 1, o.integer()))
	case 2:
		return wireVarint(3, o.integer())
	case 3:
		return wireFixed64(4, math.Float64bits(o.float()))
	case 4:
		return otlpField(7, []byte(o.text()))
	case 6:
		var all [][]byte
		for range o.IntN(4) {
			all = append(all, otlpField(1, o.wireValue(depth-1)))
		}
		return otlpField(5, o.message(all...))
	case 7:
		return otlpField(6, o.message(o.wireAttributes(1, depth-1)...))
	case 8: // two of them: the last counts
		return append(o.wireValue(depth-1), o.wireValue(depth-1)...)
	}
	return otlpField(1, []byte(o.text()))
}

func (o odd) wireAttributes(n protowire.Number, depth int) (all [][]byte) {
	for range o.IntN(4) {
		var key, value []byte
		if !o.oneIn(10) {
			key = otlpField(1, []byte(o.attribute()))
		}
		if !o.oneIn(10) {
			value = otlpField(2, o.wireValue(depth))
		}
		all = append(all, otlpField(n, o.message(key, value)))
	}
	if len(all) > 0 && o.oneIn(10) { // the same once more
		all = append(all, all[0])
	}
	return all
}

// maybe is a field, one time in two.
func (o odd) maybe(field []byte) []byte {
	if o.oneIn(2) {
		return nil
	}
	return field
}

func (o odd) wireRecord() []byte {
	fields := [][]byte{
		o.maybe(wireFixed64(1, o.nanoseconds())), o.maybe(wireVarint(2, pick(o, 9, o.integer()))), o.maybe(otlpField(3, []byte(o.text()))),
		o.maybe(otlpField(5, o.wireValue(3))),
	}
	fields = append(fields, o.wireAttributes(6, 2)...)
	fields = append(fields, o.maybe(o.maybe(wireVarint(7, o.integer()))), o.maybe(wireFixed32(8, o.Uint32()>>o.IntN(32))),
		o.maybe(otlpField(9, []byte(o.text()))), o.maybe(otlpField(10, []byte("12345678"))), o.maybe(wireFixed64(11, o.nanoseconds())),
		o.maybe(o.maybe(otlpField(12, []byte(o.text())))))
	return o.message(fields...)
}

func (o odd) wireRequest() []byte {
	var all [][]byte
	for range 1 + o.IntN(2) {
		var logs [][]byte
		logs = append(logs, o.maybe(otlpField(1, o.message(append(o.wireAttributes(1, 2), o.maybe(wireVarint(2, 1)))...))))
		for range 1 + o.IntN(2) {
			var records [][]byte
			scope := append([][]byte{o.maybe(otlpField(1, []byte(o.text()))), o.maybe(otlpField(2, []byte("1.0")))}, o.wireAttributes(3, 1)...)
			records = append(records, o.maybe(otlpField(1, o.message(scope...))))
			for range o.IntN(4) {
				one := otlpField(2, o.wireRecord())
				records = append(records, one)
				if o.oneIn(6) {
					records = append(records, one)
				}
			}
			logs = append(logs, otlpField(2, o.message(records...)))
		}
		all = append(all, otlpField(1, o.message(logs...)))
	}
	return o.damaged(o.message(all...))
}

// damaged is what may come of bytes on their way.
func (o odd) damaged(b []byte) []byte {
	if len(b) == 0 || !o.rarely(6) {
		return b
	}
	b = slices.Clone(b)
	switch at := o.IntN(len(b)); o.IntN(3) {
	case 0:
		b[at] = byte(o.Uint32())
	case 1:
		b = b[:at]
	default:
		b = slices.Insert(b, at, byte(o.Uint32()))
	}
	return b
}

// lokiPush is a push to Loki in protobuf.
func (o odd) lokiPush() []byte {
	var streams [][]byte
	for range 1 + o.IntN(2) {
		labels := pick(o, `{job="a", host="h"}`, `{}`, ``, `{app="x",instance="i",k="\n\"é"}`, `{service_name="é`, `job=a`, `{job="a", job="b"}`, o.text())
		fields := [][]byte{otlpField(1, []byte(labels))}
		for range o.IntN(4) {
			at := o.message(wireVarint(1, uint64(1764295200+o.IntN(3))), o.maybe(wireVarint(2, pick(o, uint64(o.IntN(1e9)), o.integer()))))
			entry := [][]byte{o.maybe(otlpField(1, at)), otlpField(2, []byte(o.text()))}
			for range o.IntN(3) {
				entry = append(entry, otlpField(3, o.message(otlpField(1, []byte(o.attribute())), otlpField(2, []byte(o.text())))))
			}
			fields = append(fields, otlpField(2, o.message(entry...)))
		}
		streams = append(streams, otlpField(1, o.message(fields...)))
	}
	return s2.EncodeSnappy(nil, o.damaged(o.message(streams...)))
}

// journal is an upload of journald's.
func (o odd) journal() []byte {
	var b strings.Builder
	for n := range 1 + o.IntN(4) {
		for _, name := range []string{"__CURSOR", "__REALTIME_TIMESTAMP", "_HOSTNAME", "_MACHINE_ID", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "MESSAGE", "A", "A", "é"} {
			if o.oneIn(2) {
				continue
			}
			value := pick(o, "x", strconv.Itoa(n), strconv.FormatUint(o.nanoseconds()/1000, 10), o.text())
			if strings.Contains(value, "\n") || o.oneIn(4) {
				b.WriteString(name + "\n" + string(protowire.AppendFixed64(nil, uint64(len(value)))) + value + "\n")
			} else {
				b.WriteString(name + "=" + value + "\n")
			}
		}
		b.WriteString("\n")
	}
	return o.damaged([]byte(b.String()))
}

func (o odd) space() string {
	if !o.oneIn(8) {
		return ""
	}
	return pick(o, " ", "\n", "\t", "\r\n", "  ")
}

// quoted is a JSON string, of which not all are to the letter.
func (o odd) quoted(text string) string {
	kind := o.IntN(12)
	if o.calm {
		kind = 11
	}
	switch kind {
	case 0:
		return `"` + text + `"`
	case 1:
		return strconv.QuoteToASCII(strings.ToValidUTF8(text, ""))
	case 2:
		return pick(o, `"\u0041"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\/"`, `"\b\f\n\r\t\"\\"`, `"\u2028"`, `"\u000a"`, `"\x"`, "\"\xff\"", "\"\u2028\"", `"\u00e9"`)
	case 3, 4:
		return pick(o, `"a"`, `"b"`, `"é"`, `""`)
	}
	var b strings.Builder
	for _, c := range strings.ToValidUTF8(text, "?") {
		switch {
		case c == '"', c == '\\':
			b.WriteString(`\` + string(c))
		case c == '\n':
			b.WriteString(`\n`)
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return `"` + b.String() + `"`
}

func (o odd) number() string {
	if o.calm {
		return pick(o, "0", "-1", "12.50", strconv.Itoa(o.IntN(1e9)))
	}
	return pick(o, "0", "-0", "1", "-1", "12.50", "1e3", "1E+3", "1e-07", "1e400", "123456789012345678901234567890", "0.1", "01", "1.", "-", "+1", "NaN",
		strconv.FormatUint(o.integer(), 10), strconv.FormatUint(o.nanoseconds(), 10), strconv.FormatFloat(o.float(), 'g', -1, 64))
}

// members is a JSON object of names and values in turn.
func (o odd) members(pairs ...string) string {
	var all []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" && !o.rarely(10) {
			all = append(all, o.space()+pairs[i]+o.space()+":"+o.space()+pairs[i+1]+o.space())
		}
	}
	if o.rarely(6) {
		o.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	if len(all) > 0 && o.rarely(12) {
		all = append(all, all[0])
	}
	return "{" + strings.Join(all, ",") + "}"
}

func (o odd) array(all ...string) string {
	return "[" + o.space() + strings.Join(all, o.space()+","+o.space()) + o.space() + "]"
}

// value is any JSON value.
func (o odd) value(depth int) string {
	kinds := 8
	if depth == 0 {
		kinds = 5
	}
	switch o.IntN(kinds) {
	case 0:
		return o.number()
	case 1:
		return strange(o, pick(o, "true", "false", "null"), "nul")
	case 2:
		return pick(o, "{}", "[]", "0", `""`)
	case 5:
		var all []string
		for range o.IntN(4) {
			all = append(all, o.value(depth-1))
		}
		return o.array(all...)
	case 6, 7:
		var pairs []string
		for range o.IntN(5) {
			pairs = append(pairs, o.quoted(pick(o, "a", "b", "c", "@timestamp", "id", "time", o.text())), o.value(depth-1))
		}
		return o.members(pairs...)
	}
	return o.quoted(o.text())
}

// time is a JSON value that may be one.
func (o odd) time() string {
	return pick(o, `"2026-11-28T02:00:00Z"`, `"2026-11-28T02:00:00.125+01:00"`, `"2016-12-31T23:59:60Z"`, "1764295200", "1764295200.250", `"1764295200000"`, `"x"`, "null", o.number())
}

// documents are values one behind the other, or in an array.
func (o odd) documents() []byte {
	var all []string
	for range o.IntN(5) {
		one := o.value(3)
		if o.oneIn(2) {
			one = o.members(`"id"`, o.quoted(o.text()), `"time"`, o.time(), `"topic"`, pick(o, `"t"`, o.quoted(o.text())), `"message"`, o.quoted(o.text()), `"a"`, o.value(2))
		}
		all = append(all, one)
		if o.oneIn(6) {
			all = append(all, one)
		}
	}
	if o.oneIn(2) {
		return o.damaged([]byte(o.space() + o.array(all...) + o.space()))
	}
	return o.damaged([]byte(strings.Join(all, pick(o, "\n", "", " ", "\r\n\n"))))
}

func (o odd) bulkBody() []byte {
	var b strings.Builder
	for range 1 + o.IntN(4) {
		action := pick(o, `"create"`, `"create"`, `"index"`, `"delete"`, `"update"`, `"other"`)
		named := o.members(`"_index"`, pick(o, `"shop"`, `"logs"`, "null", o.quoted(o.text())), `"_id"`, pick(o, `"7"`, "7", "", "null", o.quoted(o.text()), o.value(1)),
			pick(o, `"_INDEX"`, `"routing"`, `"_Id"`), pick(o, "", "", "", `"x"`))
		b.WriteString(o.members(action, pick(o, named, named, named, "{}", "null", o.value(1))) + "\n")
		b.WriteString(pick(o, o.value(3), o.members(`"@timestamp"`, o.time(), `"message"`, o.quoted(o.text()))) + pick(o, "\n", "\n", "\n", "\r\n", ""))
	}
	return o.damaged([]byte(b.String()))
}

func (o odd) splunkBody() []byte {
	var b strings.Builder
	for range 1 + o.IntN(4) {
		b.WriteString(o.members(`"time"`, o.time(), `"host"`, pick(o, `"h"`, o.value(1)), `"source"`, o.quoted(o.text()), `"sourcetype"`, pick(o, `"st"`, ""), `"index"`, pick(o, `"main"`, ""),
			`"event"`, o.value(3), `"fields"`, pick(o, "", `{"event_id":"e1"}`, `{"event_id":7}`, o.value(1))) + pick(o, "", "\n", " "))
	}
	return o.damaged([]byte(b.String()))
}

func (o odd) cloudBody() []byte {
	var all []string
	for range 1 + o.IntN(3) {
		all = append(all, o.members(`"specversion"`, `"1.0"`, pick(o, `"id"`, `"ID"`), pick(o, `"7"`, `"a#b"`, "7", o.quoted(o.text())), `"source"`, pick(o, `"/till/3"`, o.quoted(o.text())),
			`"type"`, pick(o, `"sale"`, o.value(1)), `"time"`, o.time(), `"data"`, o.value(3)))
	}
	if len(all) > 1 || o.oneIn(2) {
		return o.damaged([]byte(o.array(all...)))
	}
	return o.damaged([]byte(all[0]))
}

func (o odd) lokiBody() []byte {
	var streams []string
	for range 1 + o.IntN(2) {
		var entries []string
		for range o.IntN(4) {
			entry := []string{pick(o, `"1764295200000000001"`, `"`+strconv.FormatUint(o.nanoseconds(), 10)+`"`, o.number()), pick(o, o.quoted(o.text()), o.quoted(o.text()), o.value(1))}
			if o.oneIn(3) {
				entry = append(entry, pick(o, o.members(`"trace"`, o.quoted(o.text()), `"a"`, o.quoted(o.text())), o.value(1)))
			}
			entries = append(entries, o.array(entry...))
		}
		labels := o.members(pick(o, `"job"`, `"app"`, `"service_name"`), o.quoted(o.text()), pick(o, `"host"`, `"node_name"`), `"h"`, o.quoted(o.text()), o.quoted(o.text()))
		streams = append(streams, o.members(`"stream"`, labels, `"values"`, o.array(entries...)))
	}
	return o.damaged([]byte(o.members(`"streams"`, o.array(streams...))))
}

// cased is a name, one time in twenty in capitals: encoding/json takes it as the same.
func (o odd) cased(name string) string {
	if o.rarely(20) {
		name = strings.ToUpper(name)
	}
	return `"` + name + `"`
}

func (o odd) otlpValue(depth int) string {
	kinds := 10
	if depth == 0 {
		kinds = 7
	}
	switch o.IntN(kinds) {
	case 0:
		return strange(o, "{}", "null", o.value(1))
	case 1:
		return o.members(o.cased("boolValue"), strange(o, pick(o, "true", "false"), "null", `"true"`))
	case 2:
		return o.members(o.cased("intValue"), strange(o, pick(o, `"7"`, "7", `"-9223372036854775808"`), o.number(), `"`+o.number()+`"`))
	case 3:
		return o.members(o.cased("doubleValue"), strange(o, pick(o, "0.5", `"NaN"`, `"Infinity"`, `"-Infinity"`, "7"), o.number()))
	case 4:
		return o.members(o.cased("bytesValue"), strange(o, pick(o, `""`, `"aGVsbG8="`), `"aGVsbG8"`, o.quoted(o.text())))
	case 7:
		var all []string
		for range o.IntN(3) {
			all = append(all, o.otlpValue(depth-1))
		}
		return o.members(o.cased("arrayValue"), o.members(`"values"`, strange(o, o.array(all...), o.array(all...), "null")))
	case 8:
		return o.members(o.cased("kvlistValue"), o.members(`"values"`, o.otlpAttributes(depth-1)))
	case 9: // two of them
		if o.calm {
			return "{}"
		}
		return o.members(o.cased("stringValue"), o.quoted(o.text()), o.cased("intValue"), `"7"`, o.cased("boolValue"), "true")
	}
	return o.members(o.cased("stringValue"), o.quoted(o.text()))
}

func (o odd) otlpAttributes(depth int) string {
	var all []string
	for range o.IntN(4) {
		all = append(all, o.members(o.cased("key"), o.quoted(o.attribute()), o.cased("value"), o.otlpValue(depth)))
	}
	return strange(o, o.array(all...), o.array(all...), o.array(all...), "null")
}

func (o odd) otlpJSONRecord() string {
	at := func() string {
		n := strconv.FormatUint(o.nanoseconds(), 10)
		return strange(o, pick(o, `"`+n+`"`, `"`+n+`"`, n, `"0"`), "null", `""`, o.number())
	}
	return o.members(o.cased("timeUnixNano"), at(), o.cased("observedTimeUnixNano"), pick(o, "", at()), o.cased("severityNumber"), strange(o, pick(o, "9", `"9"`, ""), "null", o.number()),
		o.cased("severityText"), strange(o, pick(o, `"INFO"`, "", o.quoted(o.text())), "null"), o.cased("body"), o.otlpValue(3), o.cased("attributes"), o.otlpAttributes(2),
		o.cased("droppedAttributesCount"), strange(o, pick(o, "", "1"), o.number()), o.cased("flags"), strange(o, pick(o, "", "1"), o.number()),
		o.cased("traceId"), strange(o, pick(o, "", `"5b8efff798038103d269b633813fc60c"`, `"5B8E"`), `"x"`),
		o.cased("spanId"), pick(o, "", `"eee19b7ec3c1b174"`), o.cased("eventName"), pick(o, "", o.quoted(o.text())), `"unknown"`, pick(o, "", o.value(2)))
}

func (o odd) otlpJSONBody() []byte {
	var resources []string
	for range 1 + o.IntN(2) {
		var scopes []string
		for range 1 + o.IntN(2) {
			var records []string
			for range o.IntN(4) {
				one := o.otlpJSONRecord()
				records = append(records, one)
				if o.oneIn(6) {
					records = append(records, one)
				}
			}
			scope := o.members(o.cased("name"), o.quoted(o.text()), o.cased("version"), `"1.0"`, o.cased("attributes"), o.otlpAttributes(1))
			scopes = append(scopes, o.members(o.cased("scope"), strange(o, pick(o, scope, scope, "", "{}"), "null"), o.cased("logRecords"), o.array(records...)))
		}
		resources = append(resources, o.members(o.cased("resource"), o.members(o.cased("attributes"), o.otlpAttributes(2)), o.cased("scopeLogs"), o.array(scopes...), `"schemaUrl"`, pick(o, "", `"x"`)))
	}
	return o.damaged([]byte(o.space() + o.members(o.cased("resourceLogs"), o.array(resources...)) + o.space()))
}
