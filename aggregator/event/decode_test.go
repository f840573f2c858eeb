package event

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

const good = `{"topic":"t","event_id":"a","timestamp":"2026-11-23T06:41:10Z","source":"s","payload":{"k": [1, 2]}}`

func decoded(t *testing.T, r *Request) []Event {
	t.Helper()
	events, err := Decode(string(r.Data))
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != r.Events {
		t.Fatalf("%d events decoded, %d counted", len(events), r.Events)
	}
	return events
}

func TestParseJSONShapes(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		events     int
	}{
		{"one", good, 1},
		{"array", "[" + good + "," + good + "]", 2},
		{"object", `{"events":[` + good + `]}`, 1},
		{"object whose name is escaped", `{"event\u0073":[` + good + `]}`, 1},
		{"white space", " \n" + good + "\n", 1},
		{"empty array", "[]", 0},
		{"empty events", `{"events":[]}`, 0},
		{"escaped names", `{"\u0074opic":"t","event_id":"a","timestamp":"2026-11-23T06:41:10Z"}`, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := ParseJSON([]byte(tc.body), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(decoded(t, r)); got != tc.events || len(r.Rejections) != 0 {
				t.Fatalf("%d events, %v; want %d", got, r.Rejections, tc.events)
			}
		})
	}
}

func TestParseJSONRefusesTheBody(t *testing.T) {
	for _, body := range []string{
		"", " ", "null", `"x"`, "1", "[" + good, good + good, good + "x", "\xef\xbb\xbf" + good,
		"[" + good + ",]", "// c\n" + good, `[NaN]`, `[01]`, "[\"\xff", `["\ud800`, `["\ud8"]`, "[\"a\x01\"]",
		`{"events":1}`, `{"events":null}`, `{"events":[],"more":1}`, `{"events":[]`, `{"topic"`, `{"topic":`, `{`, `[`,
		"[" + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "]", // the bound, and one more
		strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), strings.Repeat(`{"payload":`, 100_000) + "1" + strings.Repeat("}", 100_000),
	} {
		if r, err := ParseJSON([]byte(body), nil); err == nil {
			t.Errorf("%.40q is accepted: %+v", body, r)
		}
	}
	many := "[" + strings.Repeat("{},", MaxEventsPerRequest) + "{}]"
	if _, err := ParseJSON([]byte(many), nil); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d events: %v", MaxEventsPerRequest+1, err)
	}
}

func TestRejectionNamesItsEvent(t *testing.T) {
	long := strings.Repeat("x", MaxTextBytes+1)
	for _, tc := range []struct {
		event string
		code  Code
	}{
		{`1`, InvalidType},
		{`null`, InvalidType},
		{`{}`, MissingField},
		{`{"topic":"t","timestamp":"2026-11-23T06:41:10Z"}`, MissingField},
		{`{"topic":null,"event_id":"a","timestamp":"2026-11-23T06:41:10Z"}`, InvalidType},
		{`{"topic":"t","event_id":7,"timestamp":"2026-11-23T06:41:10Z"}`, InvalidType},
		{`{"topic":"","event_id":"a","timestamp":"2026-11-23T06:41:10Z"}`, InvalidLength},
		{`{"topic":"t","event_id":"` + long + `","timestamp":"2026-11-23T06:41:10Z"}`, InvalidLength},
		{`{"topic":"t","event_id":"a\u0000","timestamp":"2026-11-23T06:41:10Z"}`, InvalidText},
		{`{"topic":"t\u0085","event_id":"a","timestamp":"2026-11-23T06:41:10Z"}`, InvalidText},
		{`{"topic":"t","event_id":"a","timestamp":"2026-11-23T06:41:10Z","source":null}`, InvalidType},
		{`{"topic":"t","event_id":"a","timestamp":"2026-11-23T06:41:10"}`, InvalidTimestamp},
		{`{"topic":"t","event_id":"a","timestamp":"2026-11-23T06:41:10,5Z"}`, InvalidTimestamp},
		{`{"topic":"t","event_id":"a","timestamp":"2026-11-23T1:00:00Z"}`, InvalidTimestamp},
		{`{"topic":"t","event_id":"a","timestamp":"0000-11-23T06:41:10Z"}`, InvalidTimestamp},
		{`{"topic":"t","event_id":"a","timestamp":"10000-11-23T06:41:10Z"}`, InvalidTimestamp},
		{`{"topic":"t","event_id":"a","timestamp":"2026-11-23T06:41:10+99:99"}`, InvalidTimestamp},
		{`{"topic":"t","event_id":"a","timestamp":"2026-11-23T06:41:60Z"}`, InvalidTimestamp},
		{`{"topic":"t","event_id":"a","timestamp":"2026-02-30T06:41:10Z"}`, InvalidTimestamp},
		{`{"topic":"t","Event_ID":"a","timestamp":"2026-11-23T06:41:10Z"}`, UnknownField},
		{`{"topic":"t","topic":"u","event_id":"a","timestamp":"2026-11-23T06:41:10Z"}`, RepeatedField},
	} {
		body := "[" + good + "," + tc.event + "," + good + "]"
		r, err := ParseJSON([]byte(body), nil)
		if err != nil {
			t.Errorf("%.60s: %v", tc.event, err)
			continue
		}
		if len(r.Rejections) != 1 || r.Rejections[0].Code != tc.code || r.Rejections[0].Index != 1 || r.Events != 2 {
			t.Errorf("%.60s: %+v, %d accepted; want %s at 1", tc.event, r.Rejections, r.Events, tc.code)
		}
	}
}

// TestAnExportIsReadAgain: what an export adds to an event is passed over, whatever it is.
func TestAnExportIsReadAgain(t *testing.T) {
	want, err := ParseJSON([]byte(good), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{`"seq":7,`, `"received_at":"2026-11-23T06:41:10.000000000Z",`, `"seq":{"a":[1]},"received_at":null,"seq":1,`} {
		line := "{" + more + good[1:]
		for _, parse := range []func([]byte, Grow) (*Request, error){ParseJSON, ParseNDJSON} {
			if got, err := parse([]byte(line), nil); err != nil || got.Events != 1 || string(got.Data) != string(want.Data) {
				t.Errorf("%s: %+v, %v", line, got, err)
			}
		}
	}
}

// TestRefusalsAreAskedFor: two bytes of a body may be an event that is refused, which takes 50
// times as much. So room is asked for before it is taken, if they are many.
func TestRefusalsAreAskedFor(t *testing.T) {
	ones := func(n int) string { return "[" + strings.Repeat("1,", n-1) + "1]" }
	for name, one := range map[string]struct {
		parse func([]byte, Grow) (*Request, error)
		body  func(n int) string
	}{
		"an array": {ParseJSON, ones},
		"events":   {ParseJSON, func(n int) string { return `{"events":` + ones(n) + "}" }},
		"lenient":  {ParseJSON, func(n int) string { return `["\ud83d",` + ones(n - 1)[1:] }},
		"NDJSON":   {ParseNDJSON, func(n int) string { return strings.Repeat("1\n", n) }},
		"no JSON":  {ParseNDJSON, func(n int) string { return strings.Repeat("{\n", n) }},
	} {
		asked := 0
		grow := func(n int) error { asked = n; return nil }
		if r, err := one.parse([]byte(one.body(100)), grow); err != nil || len(r.Rejections) != 100 || asked > 0 {
			t.Errorf("%s: %v, asked for %d bytes for 100 refusals", name, err, asked)
		}
		r, err := one.parse([]byte(one.body(MaxEventsPerRequest)), grow)
		if err != nil || len(r.Rejections) != MaxEventsPerRequest || asked < 2*64*MaxEventsPerRequest {
			t.Errorf("%s: %v, asked for %d bytes for %d refusals", name, err, asked, MaxEventsPerRequest)
		}
		body := []byte(one.body(MaxEventsPerRequest))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = one.parse(body, func(int) error { return io.ErrShortBuffer })
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, io.ErrShortBuffer) || n > 2<<20 {
			t.Errorf("%s: %v and %d KB where there is no room", name, err, n>>10)
		}
	}
}

// TestStringsThatAreNoText: half an emoji, or a byte that is not UTF-8, spoils its event alone, in
// every shape of a body.
func TestStringsThatAreNoText(t *testing.T) {
	for name, bad := range map[string]string{
		"half a pair":            `{"topic":"t","event_id":"b","timestamp":"2026-11-23T06:41:10Z","payload":"cut \ud83d"}`,
		"the other half":         `{"topic":"t","event_id":"b","timestamp":"2026-11-23T06:41:10Z","payload":["\ude00"]}`,
		"the halves in turn":     `{"topic":"t","event_id":"b","timestamp":"2026-11-23T06:41:10Z","payload":"\ude00\ud83d"}`,
		"half a pair in a name":  `{"topic":"t","event_id":"b","timestamp":"2026-11-23T06:41:10Z","payload":{"\ud83d":1}}`,
		"half a pair in a topic": `{"topic":"\ud83d","event_id":"b","timestamp":"2026-11-23T06:41:10Z"}`,
		"a field's name":         `{"topic":"t","event_id":"b","timestamp":"2026-11-23T06:41:10Z","\ud83d":1}`,
		"a byte of UTF-8":        `{"topic":"t","event_id":"b","timestamp":"2026-11-23T06:41:10Z","payload":"` + "\xf0\x9f\x98" + `"}`,
		"a byte in a topic":      `{"topic":"` + "\xff" + `","event_id":"b","timestamp":"2026-11-23T06:41:10Z"}`,
		"in a second topic":      `{"topic":"t","event_id":"b","timestamp":"2026-11-23T06:41:10Z","payload":1,"topic":"` + "\xff" + `"}`,
	} {
		for shape, body := range map[string]string{
			"array": "[" + good + ", " + bad + "," + good + "]", "object": `{"events":[` + good + "," + bad + "," + good + "]}",
			"NDJSON": good + "\n" + bad + "\n" + good, "alone": bad,
		} {
			parse, index, events := ParseJSON, 1, 2
			if shape == "NDJSON" {
				parse = ParseNDJSON
			}
			if shape == "alone" {
				index, events = 0, 0
			}
			r, err := parse([]byte(body), nil)
			if err != nil {
				t.Errorf("%s, %s: the body is refused: %v", name, shape, err)
				continue
			}
			if got := decoded(t, r); len(got) != events || len(r.Rejections) != 1 || r.Rejections[0].Index != index ||
				r.Rejections[0].Code != InvalidJSON && name != "in a second topic" {
				t.Errorf("%s, %s: %d events, %+v; want %s at %d", name, shape, len(got), r.Rejections, InvalidJSON, index)
			}
		}
	}
	// An emoji that is whole is text, and comes back byte for byte.
	whole := strings.Replace(good, `{"k": [1, 2]}`, `"\ud83d\ude00"`, 1)
	if r, err := ParseJSON([]byte("["+whole+`,{"topic":"\ud83d"}]`), nil); err != nil || r.Events != 1 || decoded(t, r)[0].Payload != `"\ud83d\ude00"` {
		t.Errorf("beside half an emoji, a whole one: %+v, %v", r, err)
	}
}

func TestParseNDJSON(t *testing.T) {
	body := good + "\r\n\n{\"topic\":\n" + good + good + "\n5\n" + good
	r, err := ParseNDJSON([]byte(body), nil)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, rejection := range r.Rejections {
		codes = append(codes, fmt.Sprint(rejection.Index, rejection.Code))
	}
	if got := strings.Join(codes, " "); got != "1invalid_json 2invalid_json 3invalid_type" || len(decoded(t, r)) != 2 {
		t.Fatalf("%s; %d events", got, r.Events)
	}
}

func TestFieldsComeBackByteForByte(t *testing.T) {
	payload := "{\"n\": 12345678901234567890,\n\t\"s\":\"\\u00e9\\/\", \"e\":1e400}"
	body := `{"payload":` + payload + `,"topic":"\u00e9\"","event_id":"é","timestamp":"2026-11-23T06:41:10.000+02:00"}`
	r, err := ParseJSON([]byte(body), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Event{Topic: `é"`, ID: "é", Timestamp: "2026-11-23T06:41:10.000+02:00", Payload: payload}
	if got := decoded(t, r); got[0] != want {
		t.Fatalf("%+v\nwant %+v", got[0], want)
	}
	for cut := 1; cut < len(r.Data); cut++ {
		if events, err := Decode(string(r.Data[:cut])); err == nil {
			t.Fatalf("cut at %d of %d: %+v", cut, len(r.Data), events)
		}
	}
}

// What waits is counted by its bytes: a small request must not hold what a large one has left.
func TestRecycledMemoryFits(t *testing.T) {
	for range 100 {
		Recycle(make([]byte, 0, recycledBytes))
		if r := newRequest(100); cap(r.Data) > 125 {
			t.Fatalf("a request of 100 bytes holds %d", cap(r.Data))
		}
		if r := newRequest(recycledBytes); cap(r.Data) < recycledBytes {
			t.Fatalf("a request of %d bytes has room for %d", recycledBytes, cap(r.Data))
		}
	}
}

func BenchmarkParseJSON(b *testing.B) {
	const events = 500
	one := `{"topic":"orders","event_id":"3f2b8c1e-7a54-4d0e-9c1b-5a6f7e8d9c0b","timestamp":"2026-11-23T06:41:10.123456Z","source":"host-7","payload":{"level":"info","msg":"` + strings.Repeat("x", 120) + `"}}`
	body := []byte("[" + strings.Repeat(one+",", events-1) + one + "]")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := ParseJSON(body, nil); err != nil || r.Events != events {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
}
