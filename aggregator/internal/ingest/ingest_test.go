package ingest_test

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
)

var received = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)

// input is a request with headers, given as name and value in turn.
func input(body string, headers ...string) *ingest.Input {
	return &ingest.Input{Body: []byte(body), Received: received, Header: func(name string) string {
		for i := 0; i+1 < len(headers); i += 2 {
			if strings.EqualFold(headers[i], name) {
				return headers[i+1]
			}
		}
		return ""
	}}
}

// described are a request's events, a line each: topic, id, time, source, payload.
func described(t *testing.T, r *event.Request, err error) []string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	events, err := event.Decode(string(r.Data))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%s %s %s %s %s", e.Topic, e.ID, e.Timestamp, e.Source, e.Payload))
	}
	return all
}

func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(lines, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

const now = "2026-11-28T03:00:00Z"

func TestBulk(t *testing.T) {
	r, items, err := ingest.Bulk(input(`{"create":{"_index":"logs","_id":"a1"}}
{"@timestamp":"2026-11-28T02:00:00Z","message":"one"}
{"index":{}}
{"@timestamp":1764295200000,"message":"two"}
{"delete":{"_index":"logs","_id":"a1"}}
{"update":{"_id":"a1"}}
{"doc":{}}
{"create":{"_id":"a3"}}
not JSON
`), "fallback")
	got := described(t, r, err)
	if len(got) != 3 || len(items) != 5 || len(r.Rejections) != 2 {
		t.Fatalf("%q, %+v, %+v", got, items, r.Rejections)
	}
	want(t, got[:1], `logs a1 2026-11-28T02:00:00Z  {"@timestamp":"2026-11-28T02:00:00Z","message":"one"}`)
	want(t, got[2:], `fallback a3 `+now+`  "not JSON"`)
	if !strings.HasPrefix(got[1], "fallback ") || !strings.Contains(got[1], " 2025-11-28T02:00:00Z ") {
		t.Error(got[1])
	}
	if r.Rejections[0].Index != 2 || r.Rejections[1].Index != 3 {
		t.Errorf("%+v", r.Rejections)
	}
	for _, body := range []string{`{"create":{}}`, `{"other":{}}` + "\n{}", "not JSON\n{}"} {
		if _, _, err := ingest.Bulk(input(body), ""); !ingest.IsMalformed(err) || strings.Contains(err.Error(), "jsontext") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestJSON(t *testing.T) {
	object := `{"id":"x7","at":1764295200.5,"who":{"name":"n"}}`
	in := input(object)
	in.ID, in.Time, in.Source = "/id", "/at", "/who/name"
	r, err := ingest.JSON(in, "hooks")
	want(t, described(t, r, err), "hooks x7 2025-11-28T02:00:00.5Z n "+object)

	// A leap second is a time as any other.
	for at, kept := range map[string]string{"2016-12-31T23:59:60Z": "2017-01-01T00:00:00Z", "2016-12-31t18:59:60.5-05:00": "2017-01-01T00:00:00.5Z", "2016-12-30T23:59:60Z": now} {
		in = input(`{"id":"x7","at":"` + at + `"}`)
		in.ID, in.Time = "/id", "/at"
		r, err = ingest.JSON(in, "hooks")
		want(t, described(t, r, err), `hooks x7 `+kept+`  {"id":"x7","at":"`+at+`"}`)
	}

	r, err = ingest.JSON(input(object, "X-GitHub-Delivery", "d-1"), "hooks")
	want(t, described(t, r, err), "hooks d-1 "+now+"  "+object)

	r, err = ingest.JSON(input("payload=%7B%22a%22%3A1%7D", "Content-Type", "application/x-www-form-urlencoded", "Webhook-Id", "w"), "hooks")
	want(t, described(t, r, err), `hooks w `+now+`  {"a":1}`)

	// The order of names does not matter to an id; equal values of one request are told apart, and
	// stay so.
	first := described(t, must(ingest.JSON(input(`[{"a":1,"b":2},{"b":2,"a":1},{"a":2}]`), "t")), nil)
	again := described(t, must(ingest.JSON(input("{\"b\":2, \"a\":1}\n{\"a\":1,\"b\":2}\n"), "t")), nil)
	if idOf(first[0]) != idOf(again[0]) || idOf(first[1]) != idOf(first[0])+"-2" || idOf(first[1]) != idOf(again[1]) || idOf(first[2]) == idOf(first[0]) {
		t.Errorf("%q, %q", first, again)
	}
	// A repeat with an id for each of several events does not take the header for all.
	several := described(t, must(ingest.JSON(input(`[1,2]`, "Webhook-Id", "w"), "t")), nil)
	if idOf(several[0]) == "w" || idOf(several[0]) == idOf(several[1]) {
		t.Errorf("%q", several)
	}
}

func must(r *event.Request, err error) *event.Request {
	if err != nil {
		panic(err)
	}
	return r
}

func idOf(described string) string { return strings.Fields(described)[1] }

func TestCloudEvents(t *testing.T) {
	structured := `{"specversion":"1.0","id":"7","source":"/till/3","type":"sale","time":"2026-11-28T01:00:00Z","data":{"n":1}}`
	line := "sale /till/3#7 2026-11-28T01:00:00Z /till/3 " + structured
	r, err := ingest.CloudEvents(input(structured, "Content-Type", "application/cloudevents+json"))
	want(t, described(t, r, err), line)
	r, err = ingest.CloudEvents(input("["+structured+","+structured+"]", "Content-Type", "application/cloudevents-batch+json"))
	want(t, described(t, r, err), line, line)
	r, err = ingest.CloudEvents(input(`{"n":1}`, "ce-specversion", "1.0", "ce-id", "7", "ce-source", "/till/3", "ce-type", "sal%65",
		"ce-time", "2026-11-28T01:00:00Z", "Content-Type", "application/json"))
	want(t, described(t, r, err), `sale /till/3#7 2026-11-28T01:00:00Z /till/3 `+
		`{"specversion":"1.0","id":"7","source":"/till/3","type":"sale","time":"2026-11-28T01:00:00Z","datacontenttype":"application/json","data":{"n":1}}`)
	// No header is the data, or its type: the name would be there twice.
	in := input(`{"n":1}`, "ce-specversion", "1.0", "ce-id", "7", "ce-source", "s", "ce-type", "t", "Content-Type", "application/json")
	in.Each = func(do func(name, value string)) {
		for _, name := range []string{"Ce-Data", "Ce-Data_base64", "Ce-Datacontenttype", "Ce-Other"} {
			do(name, "x")
		}
	}
	r, err = ingest.CloudEvents(in)
	if text := described(t, r, err); len(text) != 1 || !strings.HasSuffix(text[0], `"type":"t","other":"x","datacontenttype":"application/json","data":{"n":1}}`) {
		t.Error(text)
	}
}

func TestSplunk(t *testing.T) {
	body := `{"time":"1764295200.250","host":"h","index":"main","event":"a","fields":{"event_id":"e1"}}{"event":{"b":1}}` + `{"event":{"b":1}}`
	got := described(t, must(ingest.Splunk(input(body))), nil)
	want(t, got[:1], `main e1 2025-11-28T02:00:00.25Z h {"time":"1764295200.250","host":"h","index":"main","event":"a","fields":{"event_id":"e1"}}`)
	if len(got) != 3 || idOf(got[2]) != idOf(got[1])+"-2" {
		t.Errorf("%q", got)
	}
	r, err := ingest.Splunk(input(`{"event":1} {"event":2} x {"event":3}`))
	if err != nil || r.Events != 2 || len(r.Rejections) != 1 || r.Rejections[0].Index != 2 || string(r.Rejections[0].Raw) != ` x {"event":3}` {
		t.Errorf("what is no object is taken, or those before it are not: %+v, %v", r, err)
	}
}

func TestLoki(t *testing.T) {
	r, err := ingest.Loki(input(`{"streams":[{"stream":{"job":"j","host":"h"},"values":[["1764295200000000001","line"],["1764295200000000001","line"]]}]}`))
	got := described(t, r, err)
	if len(got) != 2 || got[0] != got[1] || !strings.HasPrefix(got[0], "j ") || !strings.Contains(got[0], "2025-11-28T02:00:00.000000001Z h ") {
		t.Errorf("%q", got)
	}
}

// TestLokiKeepsOddValues: a time that cannot be read, or a part that is missing, costs neither the
// entry nor its neighbours.
func TestLokiKeepsOddValues(t *testing.T) {
	r, err := ingest.Loki(input(`{"streams":[{"stream":{"job":"j"},"values":[["soon","a"],["later","a"],["1764295200000000001","b"],["1764295200000000002"],[]]}]}`))
	got := described(t, r, err)
	ids := map[string]bool{}
	for _, line := range got {
		ids[idOf(line)] = true
	}
	now := received.UTC().Format(time.RFC3339Nano)
	if len(got) != 5 || len(ids) != 5 || !strings.Contains(got[0], now) || !strings.Contains(got[2], "2025-11-28T02:00:00.000000001Z") || !strings.Contains(got[4], now) {
		t.Errorf("%q", got)
	}
}

// TestOTLPJSONKeepsOddValues: protobuf's own JSON, with names of severities and ids in base64, is
// the same event as OTLP's. What cannot be read costs neither the record nor its neighbours.
func TestOTLPJSONKeepsOddValues(t *testing.T) {
	mapped := func(record string) []string {
		r, err := ingest.OTLPJSON(input(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + record + `]}]}]}`))
		return described(t, r, err)
	}
	for own, otlp := range map[string]string{
		`{"severityNumber":"SEVERITY_NUMBER_INFO"}`:        `{"severityNumber":9}`,
		`{"severityNumber":"SEVERITY_NUMBER_TRACE"}`:       `{"severityNumber":1}`,
		`{"severityNumber":"SEVERITY_NUMBER_FATAL4"}`:      `{"severityNumber":24}`,
		`{"severityNumber":"SEVERITY_NUMBER_UNSPECIFIED"}`: `{}`,
		`{"severityNumber":"SEVERITY_NUMBER_"}`:            `{}`,
		`{"traceId":"MDEyMzQ1Njc4OWFiY2RlZg=="}`:           `{"traceId":"30313233343536373839616263646566"}`,
		`{"spanId":"MDEyMzQ1Njc="}`:                        `{"spanId":"3031323334353637"}`,
		`{"spanId":"no id"}`:                               `{"spanId":"6e6f206964"}`,
		`{"timeUnixNano":"soon","flags":-1}`:               `{}`,
		`{"body":{"intValue":"many"}}`:                     `{"body":{"stringValue":"many"}}`,
		`{"body":{"intValue":[1]}}`:                        `{"body":{"stringValue":"[1]"}}`,
		`{"body":{"doubleValue":"half"}}`:                  `{"body":{"stringValue":"half"}}`,
		`{"body":{"bytesValue":"*"}}`:                      `{"body":{"stringValue":"*"}}`,
	} {
		want(t, mapped(own), mapped(otlp)...)
	}
}

// otlpRecord is a request with one record in protobuf, by hand.
func otlpRecord(service, text string, at uint64, attribute ...string) string {
	return otlpRequest(service, otlpLog(text, at, attribute...))
}

func otlpField(n protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), content)
}

func otlpKeyValue(key, value string) []byte {
	return append(otlpField(1, []byte(key)), otlpField(2, otlpField(1, []byte(value)))...)
}

// otlpLog is a record as a field of its scope.
func otlpLog(text string, at uint64, attribute ...string) []byte {
	record := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), at)
	record = append(record, otlpField(5, otlpField(1, []byte(text)))...)
	if attribute != nil {
		record = append(record, otlpField(6, otlpKeyValue(attribute[0], attribute[1]))...)
	}
	return otlpField(2, record)
}

// otlpRequest is a request with records of one resource and scope.
func otlpRequest(service string, logs []byte) string {
	resource := otlpField(1, otlpField(1, otlpKeyValue("service.name", service)))
	return string(otlpField(1, append(resource, otlpField(2, logs)...)))
}

func TestOTLP(t *testing.T) {
	r, err := ingest.OTLP(input(otlpRecord("shop", "hello", 1764295200000000001, "log.record.uid", "u1")))
	line := `shop u1 2025-11-28T02:00:00.000000001Z  {"resource":{"service.name":"shop"},"body":"hello","attributes":{"log.record.uid":"u1"}}`
	want(t, described(t, r, err), line)

	r, err = ingest.OTLPJSON(input(`{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeLogs":[{"logRecords":[
		{"timeUnixNano":"1764295200000000001","body":{"stringValue":"hello"},"attributes":[{"key":"log.record.uid","value":{"stringValue":"u1"}}]}]}]}]}`))
	want(t, described(t, r, err), line)

	// Two equal records of a request are two events; the same cut into two requests are one event and
	// its repeat.
	one := otlpRecord("shop", "hello", 1764295200000000001)
	both := described(t, must(ingest.OTLP(input(one+one))), nil)
	alone := described(t, must(ingest.OTLP(input(one))), nil)
	if idOf(both[0]) != idOf(alone[0]) || idOf(both[1]) != idOf(alone[0])+"-2" {
		t.Errorf("%q, %q", both, alone)
	}
	if _, err := hex.DecodeString(idOf(alone[0])); err != nil {
		t.Error(err)
	}
	if _, err := ingest.OTLP(input("\x0a\xff")); !ingest.IsMalformed(err) {
		t.Errorf("a cut message: %v", err)
	}
}

// TestNothingIsRejected: what breaks a rule of /publish is put right, and stays different where it
// was.
func TestNothingIsRejected(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, in := range map[string]*ingest.Input{
		"long id":       {Body: []byte(`{"a":1}`), Received: received, ID: long},
		"long topic":    {Body: []byte(`{"a":1}`), Received: received, Topic: long},
		"control":       {Body: []byte(`{"a":1}`), Received: received, ID: "a\nb"},
		"invalid UTF-8": {Body: []byte("{\"a\":\"\xff\"}"), Received: received},
		"surrogate":     {Body: []byte(`{"a":"\ud83d"}`), Received: received},
		"no JSON":       {Body: []byte("plain text"), Received: received},
		"half a value":  {Body: []byte(`{"a":1}{"b"`), Received: received},
		"no time":       {Body: []byte(`{"a":1}`), Received: received, Time: "/at"},
		"a year 99999":  {Body: []byte(`{"at":"99999-01-01T00:00:00Z"}`), Received: received, Time: "/at"},
	} {
		r := must(ingest.JSON(in, "t"))
		if len(r.Rejections) > 0 || r.Events == 0 {
			t.Errorf("%s: %+v", name, r)
		}
		events, err := event.Decode(string(r.Data))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if !event.IsText([]byte(e.Topic)) || !event.IsText([]byte(e.ID)) || e.ID == "" || !jsontext.Value(e.Payload).IsValid() {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	a := described(t, must(ingest.JSON(&ingest.Input{Body: []byte("1"), Received: received, ID: long + "a"}, "t")), nil)
	b := described(t, must(ingest.JSON(&ingest.Input{Body: []byte("1"), Received: received, ID: long + "b"}, "t")), nil)
	if idOf(a[0]) == idOf(b[0]) {
		t.Error("two long ids became one")
	}
}

// FuzzMappers: whatever comes in, what a mapper accepts is what the journal may hold: rules of
// text, JSON payloads.
func FuzzMappers(f *testing.F) {
	f.Add([]byte(`{"create":{"_index":"l","_id":"1"}}` + "\n" + `{"a":1}`))
	f.Add([]byte(otlpRecord("s", "t", 1)))
	f.Add([]byte(`{"streams":[{"stream":{"job":"j"},"values":[["1","l"]]}]}`))
	f.Add([]byte(`{"specversion":"1.0","id":"7","source":"s","type":"t"}`))
	f.Add([]byte("{\"a\":\"\\ud83d\xff\"} x"))
	f.Fuzz(func(t *testing.T, body []byte) {
		in := &ingest.Input{Body: body, Received: received, ID: "/id", Topic: "/topic", Time: "/time"}
		for name, m := range map[string]func(*ingest.Input) (*event.Request, error){
			"otlp": ingest.OTLP, "otlpjson": ingest.OTLPJSON, "cloudevents": ingest.CloudEvents, "splunk": ingest.Splunk, "raw": ingest.SplunkRaw,
			"loki": ingest.Loki, "lokiproto": func(in *ingest.Input) (*event.Request, error) { return ingest.LokiProto(in, 1<<20) },
			"json": func(in *ingest.Input) (*event.Request, error) { return ingest.JSON(in, "t") },
			"bulk": func(in *ingest.Input) (r *event.Request, err error) { r, _, err = ingest.Bulk(in, "i"); return r, err },
		} {
			r, err := m(in)
			if err != nil {
				continue
			}
			events, err := event.Decode(string(r.Data))
			if err != nil || len(events) != r.Events {
				t.Fatalf("%s: %d events, decoded %d: %v", name, r.Events, len(events), err)
			}
			for _, e := range events {
				if e.Topic == "" || e.ID == "" || !event.IsText([]byte(e.Topic)) || !event.IsText([]byte(e.ID)) || !event.IsText([]byte(e.Source)) {
					t.Fatalf("%s: %+q", name, e)
				}
				if !jsontext.Value(e.Payload).IsValid(jsontext.AllowDuplicateNames(true)) {
					t.Fatalf("%s: the payload is not JSON: %q", name, e.Payload)
				}
				if _, err := time.Parse(time.RFC3339Nano, e.Timestamp); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	})
}

// TestIDsKeepApart: what is not the same has not the same id, and what a sender cuts anew keeps it.
func TestIDsKeepApart(t *testing.T) {
	ids := func(in *ingest.Input, m func(*ingest.Input) (*event.Request, error)) (all []string) {
		for _, line := range described(t, must(m(in)), nil) {
			all = append(all, idOf(line))
		}
		return all
	}
	asJSON := func(in *ingest.Input) (*event.Request, error) { return ingest.JSON(in, "t") }
	bulk := func(in *ingest.Input) (*event.Request, error) { r, _, err := ingest.Bulk(in, ""); return r, err }
	for name, got := range map[string][]string{
		"bytes that are no UTF-8":   ids(input("caf\xe9\ncaf\xe8"), asJSON),
		"a name twice":              ids(input("{\"a\":1,\"a\":2}\n{\"a\":3,\"a\":2}"), asJSON),
		"a constant id":             ids(&ingest.Input{Body: []byte("1\n2"), Received: received, ID: "x"}, asJSON),
		"# in an id":                ids(input(`[{"source":"a#b","id":"c"},{"source":"a","id":"b#c"}]`), ingest.CloudEvents),
		"lines that are no strings": ids(input(`{"streams":[{"stream":{"a":"b"},"values":[["1",{"x":1}],["1",{"x":2}]]}]}`), ingest.Loki),
	} {
		if len(got) != 2 || got[0] == got[1] {
			t.Errorf("%s: %q", name, got)
		}
	}
	// The same document in two indexes is two events, and keeps its id when it comes alone.
	both := ids(input("{\"create\":{\"_index\":\"a\"}}\n{\"m\":1}\n{\"create\":{\"_index\":\"b\"}}\n{\"m\":1}\n"), bulk)
	alone := ids(input("{\"create\":{\"_index\":\"b\"}}\n{\"m\":1}\n"), bulk)
	if both[1] != alone[0] {
		t.Errorf("%q, %q", both, alone)
	}
}

// TestLinesAreNotTorn: a line of text that begins like JSON is one event.
func TestLinesAreNotTorn(t *testing.T) {
	text := "2026-11-28 03:00:00 ERROR x\n10.0.0.1 - GET /\ntrue story\n{\"a\":1}"
	got := described(t, must(ingest.JSON(input(text), "t")), nil)
	if len(got) != 4 || !strings.HasSuffix(got[0], ` "2026-11-28 03:00:00 ERROR x"`) || !strings.HasSuffix(got[3], ` {"a":1}`) {
		t.Errorf("%q", got)
	}
}

// TestOneBadMember: what a sender gives in another type does not spoil what else it says.
func TestOneBadMember(t *testing.T) {
	got := described(t, must(ingest.Splunk(input(`{"host":5,"time":1764295200,"event":"x","fields":{"event_id":7}}`))), nil)
	if len(got) != 1 || idOf(got[0]) != "7" || !strings.Contains(got[0], "2025-11-28T02:00:00Z 5 ") {
		t.Errorf("%q", got)
	}
	r, items, err := ingest.Bulk(input("{\"create\":{\"_id\":7}}\n{}\nrubbish\n{\"create\":{\"_id\":\"8\"}}\n{}\n"), "i")
	if got := described(t, r, err); len(got) != 2 || idOf(got[0]) != "7" || len(items) != 3 || len(r.Rejections) != 1 || r.Rejections[0].Index != 1 {
		t.Errorf("%q, %+v, %+v", got, items, r.Rejections)
	}
	in := input(`{}`, "ce-specversion", "1.0", "ce-id", "1", "ce-source", "s", "ce-type", "t")
	in.Each = func(do func(name, value string)) { do("Ce-Traceparent", "00-1"); do("Ce-Id", "1") }
	if got := described(t, must(ingest.CloudEvents(in)), nil); !strings.Contains(got[0], `"traceparent":"00-1"`) {
		t.Errorf("%q", got)
	}
}

// exported is an entry in journald's export format, of which MESSAGE is binary.
func exported(n int, message string) string {
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(message)))
	return fmt.Sprintf("__CURSOR=s=1;i=%d\n__REALTIME_TIMESTAMP=1764295200250000\n_HOSTNAME=h\nSYSLOG_IDENTIFIER=sshd\nA=1\nA=2\nMESSAGE\n%s%s\n\n", n, length, message)
}

// uploaded reads an upload to its end, in reads as small as a network makes them.
func uploaded(t *testing.T, body string) (events []string, pieces int, err error) {
	t.Helper()
	u := ingest.NewUpload(input(""), iotest.HalfReader(strings.NewReader(body)))
	for {
		r, err := u.Piece()
		pieces++
		events = append(events, described(t, r, nil)...)
		if err != nil {
			return events, pieces, err
		}
	}
}

func TestJournald(t *testing.T) {
	events, _, err := uploaded(t, exported(1, "two\nlines")+"\n"+exported(2, "\xff\x00"))
	if err != io.EOF {
		t.Error(err)
	}
	const fields = `"__REALTIME_TIMESTAMP":"1764295200250000","_HOSTNAME":"h","SYSLOG_IDENTIFIER":"sshd","A":["1","2"],"MESSAGE":`
	want(t, events, `sshd s=1;i=1 2025-11-28T02:00:00.25Z h {"__CURSOR":"s=1;i=1",`+fields+`"two\nlines"}`,
		`sshd s=1;i=2 2025-11-28T02:00:00.25Z h {"__CURSOR":"s=1;i=2",`+fields+`[255,0]}`)

	// An entry is as large as it likes: what is too large of it is left out.
	large := strings.Repeat("x", ingest.UploadEntryBytes+1)
	events, _, err = uploaded(t, "B="+large+"\n"+exported(1, large)+exported(2, strings.Repeat("\x01", 100<<10))+exported(3, "m"))
	if err != io.EOF || len(events) != 3 || !strings.Contains(events[0], `{"SEKALI_LEFT_OUT":["B","MESSAGE"],`) ||
		!strings.Contains(events[1], `"SEKALI_LEFT_OUT":["MESSAGE"]`) || !strings.Contains(events[2], `"MESSAGE":"m"`) {
		t.Errorf("%v, %d events, %.300q", err, len(events), events)
	}

	// Pieces are bounded; an entry that is cut off is none, and those before it are.
	all := strings.Builder{}
	for n := range 20_000 {
		all.WriteString(exported(n, "m"))
	}
	events, pieces, err := uploaded(t, all.String())
	if err != io.EOF || len(events) != 20_000 || pieces < 10 {
		t.Errorf("%v, %d events in %d pieces", err, len(events), pieces)
	}
	one := exported(1, "two\nlines")
	for cut := 1; cut < len(one); cut++ {
		if events, _, err := uploaded(t, one+one[:cut]); err != io.ErrUnexpectedEOF || len(events) != 1 {
			t.Errorf("cut after %q: %v, %d events", one[:cut], err, len(events))
		}
	}
	for _, bad := range []string{"=1\n\n", "A\n\x01\x00\x00\x00\x00\x00\x00\x00ab\n\n", "A\n\xff\xff\xff\xff\xff\xff\xff\xff\n"} {
		if events, _, err := uploaded(t, one+bad); !ingest.IsMalformed(err) || len(events) != 1 {
			t.Errorf("%q: %v, %d events", bad, err, len(events))
		}
	}
}

// TestOTLPPlaceInAFile: a path and an offset are an id on one host, in one life of the file. A line
// that is read again has another observed time, and is the same event.
func TestOTLPPlaceInAFile(t *testing.T) {
	id := func(host, line, observed string) string {
		r, err := ingest.OTLPJSON(input(`{"resourceLogs":[{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"` + host + `"}}]},"scopeLogs":[{"logRecords":[
			{"observedTimeUnixNano":"` + observed + `","body":{"stringValue":"` + line + `"},"attributes":[
			{"key":"log.file.path","value":{"stringValue":"/var/log/app.log"}},{"key":"log.file.record_offset","value":{"intValue":"0"}}]}]}]}]}`))
		return idOf(described(t, r, err)[0])
	}
	first := id("a", "started", "1764295200000000001")
	if !strings.HasPrefix(first, "/var/log/app.log@0~") {
		t.Errorf("%q", first)
	}
	if again := id("a", "started", "1764295200000000002"); again != first {
		t.Errorf("read again it is %q, was %q", again, first)
	}
	if other := id("b", "started", "1764295200000000001"); other == first {
		t.Errorf("another host's line is %q too: one of them is dropped", other)
	}
	if rotated := id("a", "ended", "1764295200000000001"); rotated == first {
		t.Errorf("the first line of the next file is %q too: it is dropped", rotated)
	}
}

// TestEventsAreBounded: what events share is in each of them, so that a body of some KB may come to
// GB. Room is asked for before it is taken, and beyond the bound nothing is.
func TestEventsAreBounded(t *testing.T) {
	const most = 1 << 20
	long := strings.Repeat("x", 10_000)
	for name, m := range map[string]func(*ingest.Input) (*event.Request, error){"otlp": ingest.OTLPJSON, "loki": ingest.Loki} {
		bodyOf := func(n int) string {
			if name == "loki" {
				return `{"streams":[{"stream":{"k":"` + long + `"},"values":[` + strings.Repeat(`["1","l"],`, n-1) + `["1","l"]]}]}`
			}
			return `{"resourceLogs":[{"resource":{"attributes":[{"key":"k","value":{"stringValue":"` + long + `"}}]},"scopeLogs":[{"logRecords":[` + strings.Repeat("{},", n-1) + `{}]}]}]}`
		}
		asked := 0
		in := input(bodyOf(90))
		in.Most, in.Grow = most, func(n int) error { asked = n; return nil }
		r, err := m(in)
		if err != nil || r.Events != 90 || asked < len(r.Data)-3*len(in.Body) {
			t.Errorf("%s: %v; asked for %d bytes of %d", name, err, asked, len(r.Data))
		}
		in.Body = []byte(bodyOf(50_000))
		decoded := 0
		in.Grow = func(n int) error { decoded, asked = cmp.Or(decoded, n), n; return nil }
		if _, err := m(in); !errors.Is(err, event.ErrTooLarge) {
			t.Errorf("%s: %v for 500 MB of events, want %v", name, err, event.ErrTooLarge)
		}
		if asked > decoded+2*most {
			t.Errorf("%s: asked for %d bytes, %d of them to decode it; %d is the most", name, asked, decoded, most)
		}
		in.Grow = func(int) error { return io.ErrShortBuffer }
		if _, err := m(in); !errors.Is(err, io.ErrShortBuffer) {
			t.Errorf("%s: %v where there is no room", name, err)
		}
	}
}

// TestWhatIsKeptIsAskedFor: room is asked for what a mapper keeps beside the events too, and for
// what a value takes that is decoded for its hash.
func TestWhatIsKeptIsAskedFor(t *testing.T) {
	const n = 20_000
	json := func(in *ingest.Input) (*event.Request, error) { return ingest.JSON(in, "t") }
	bulk := func(in *ingest.Input) (*event.Request, error) {
		r, _, err := ingest.Bulk(in, "t")
		return r, err
	}
	var topics, wide strings.Builder
	for i := range n {
		fmt.Fprintf(&topics, `{"index":{"_index":"i%d"}}`+"\n{}\n", i)
		fmt.Fprintf(&wide, `,"%d":1`, i)
	}
	object := `{"a":1` + wide.String() + "}"
	for name, one := range map[string]struct {
		m     func(*ingest.Input) (*event.Request, error)
		body  string
		least int // bytes beside the events
	}{
		"topics of a bulk request": {bulk, topics.String(), 200 * n},
		"its refused actions":      {bulk, strings.Repeat(`{"delete":{}}`+"\n", n), 300 * n},
		"lines":                    {ingest.SplunkRaw, strings.Repeat("1\n", n), 40 * n},
		"elements":                 {json, "[" + strings.Repeat("1,", n-1) + "1]", 40 * n},
		"CloudEvents":              {ingest.CloudEvents, "[" + strings.Repeat("1,", n-1) + "1]", 40 * n},
		"a wide object":            {json, object, 150 * n},
		"a wide document":          {bulk, `{"index":{}}` + "\n" + object + "\n", 150 * n},
		"a wide event of Splunk":   {ingest.Splunk, object, 150 * n},
	} {
		asked := 0
		in := input(one.body)
		in.Grow = func(n int) error { asked = n; return nil }
		r, err := one.m(in)
		if err != nil || asked+2*len(in.Body) < len(r.Data)+one.least {
			t.Errorf("%s: %v; asked for %d bytes beside a body of %d, for %d of events and %d beside", name, err, asked, len(in.Body), len(r.Data), one.least)
		}
		in.Grow = func(int) error { return io.ErrShortBuffer }
		if _, err := one.m(in); !errors.Is(err, io.ErrShortBuffer) {
			t.Errorf("%s: %v where there is no room", name, err)
		}
	}
}

// TestMembers: fields are found in an object as encoding/json finds them, the last of a name, and
// nothing is kept of the others.
func TestMembers(t *testing.T) {
	for document, time := range map[string]string{
		`{"@timestamp":"2026-11-28T01:00:00Z"}`:                            "2026-11-28T01:00:00Z",
		`{"@timestamp":"2026-11-28T01:00:00Z","@timestamp" : 1764295200 }`: "2025-11-28T02:00:00Z",
		`{"a":{"@timestamp":"2026-11-28T01:00:00Z"},"b":["@timestamp"]}`:   now,
		`["@timestamp","2026-11-28T01:00:00Z"]`:                            now,
		`"@timestamp"`:                                                     now,
		"{\"\xff\":1,\"@timestamp\":\"2026-11-28T01:00:00Z\"}":             "2026-11-28T01:00:00Z",
		`{"@timestamp":"2026-11-28T01:00:00Z"`:                             now,
	} {
		r, _, err := ingest.Bulk(input(`{"create":{"_index":"i","_id":"1"}}`+"\n"+document+"\n"), "")
		if got := described(t, r, err); len(got) != 1 || !strings.HasPrefix(got[0], "i 1 "+time+" ") {
			t.Errorf("%s: %q, want the time %s", document, got, time)
		}
	}
	for path, topic := range map[string]string{"/a/1/b": "x", "/a/0": "7", "/a/2": "t", "/a/-1": "t", "/a/b": "t", "/c~1d": "y", "/": "z", "/a": "t", "/c~1d/e": "t"} {
		in := input(` { "a" : [ 7 , {"b":"w","b":"x"} ], "c/d":"y", "":"z" } `)
		in.Topic, in.ID = path, "1"
		r, err := ingest.JSON(in, "t")
		if got := described(t, r, err); len(got) != 1 || !strings.HasPrefix(got[0], topic+" 1 ") {
			t.Errorf("%s: %q, want the topic %s", path, got, topic)
		}
	}
	const members = 1_000_000
	var wide strings.Builder
	for i := range members {
		fmt.Fprintf(&wide, `"%07d":1,`, i)
	}
	line := `{"create":{"_id":"1"},` + wide.String() + `"@timestamp":1}`
	in := input(line + "\n" + line)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, _, err := ingest.Bulk(in, "i")
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err != nil || r.Events != 1 || n > 4*members*16 {
		t.Errorf("%v: %d MB were taken for a body of %d", err, n>>20, 2*len(line)>>20)
	}
}

// TestBodiesAreBounded: a body whose values are three bytes each is refused before it is decoded to
// hundreds of MB.
func TestBodiesAreBounded(t *testing.T) {
	const size, few = 16 << 20, 48 << 20 // bytes
	json := func(in *ingest.Input) (*event.Request, error) { return ingest.JSON(in, "t") }
	bulk := func(in *ingest.Input) (*event.Request, error) {
		r, _, err := ingest.Bulk(in, "t")
		return r, err
	}
	fill := func(head, piece, tail string) string {
		return head + strings.Repeat(piece, (size-len(head)-len(tail))/len(piece)) + tail
	}
	for name, one := range map[string]struct {
		m    func(*ingest.Input) (*event.Request, error)
		body string
		want error
		most uint64 // bytes taken meanwhile
	}{
		"otlp records":    {ingest.OTLPJSON, fill(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[`, `{},`, `{}]}]}]}`), event.ErrTooLarge, few},
		"otlp attributes": {ingest.OTLPJSON, fill(`{"resourceLogs":[{"resource":{"attributes":[`, `{},`, `{}]}}]}`), event.ErrTooLarge, few},
		"loki entries":    {ingest.Loki, fill(`{"streams":[{"values":[`, `["",""],`, `["",""]]}]}`), event.ErrTooLarge, few},
		"loki parts":      {ingest.Loki, fill(`{"streams":[{"values":[["1","l",`, `1,`, `1]]}]}`), event.ErrTooLarge, few},
		"an array":        {json, fill(`[`, `1,`, `1]`), event.ErrTooMany, few},
		"lines":           {json, fill("", "1\n", ""), event.ErrTooMany, few},
		"bulk":            {bulk, fill("", "1\n", ""), event.ErrTooMany, few},
		"raw":             {ingest.SplunkRaw, fill("", "1\n", ""), event.ErrTooMany, few},
		"one event":       {json, fill(`{"a":[`, `1,`, `1]}`), nil, 8 * size},
	} {
		in := input(one.body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := one.m(in)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, one.want) {
			t.Errorf("%s: %v, want %v", name, err, one.want)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > one.most {
			t.Errorf("%s: %d MB were taken for a body of %d", name, n>>20, len(one.body)>>20)
		}
	}
}

// TestOriginsStayApart: equal lines of two hosts, or of two streams whose labels cannot be read,
// are two events.
func TestOriginsStayApart(t *testing.T) {
	ids := map[string]bool{}
	for _, source := range []string{"", "a", "/var/log/syslog"} {
		in := input("a line\n")
		in.Source = source
		r, err := ingest.SplunkRaw(in)
		if err != nil {
			t.Fatal(err)
		}
		events, err := event.Decode(string(r.Data))
		if err != nil || len(events) != 1 || events[0].Source != source {
			t.Fatalf("%d events from %q: %v", len(events), source, err)
		}
		ids[events[0].ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d ids of 3 sources", len(ids))
	}
	entry := slices.Concat(otlpField(1, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)), otlpField(2, []byte("a line")))
	clear(ids)
	for _, labels := range []string{`{job="a", x=y}`, `{job="a", x=z}`, `{job="a"}`, `{job="a", x`} {
		push := otlpField(1, slices.Concat(otlpField(1, []byte(labels)), otlpField(2, entry)))
		r, err := ingest.LokiProto(input(string(s2.EncodeSnappy(nil, push))), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		events, err := event.Decode(string(r.Data))
		if err != nil || len(events) != 1 || events[0].Topic != "a" {
			t.Fatalf("%d events of %s: %v", len(events), labels, err)
		}
		ids[events[0].ID] = true
	}
	if len(ids) != 4 {
		t.Errorf("%d ids of 4 streams", len(ids))
	}
}
