package event

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// surrogate finds escapes that encoding/json repairs and RFC 8259 leaves open: a pair
// that is none. They are refused here, and left out of the comparison.
var surrogate = regexp.MustCompile(`\\u[dD][89a-fA-F]`)

// reference is what ParseJSON must accept, said with encoding/json: the events and the
// indices of the refused ones, or ok false if the body is refused.
func reference(body []byte) (events []Event, refused []int, ok bool) {
	if !json.Valid(body) || !utf8.Valid(body) {
		return nil, nil, false
	}
	var list []json.RawMessage
	switch bytes.TrimLeft(body, " \t\r\n")[0] {
	case '[':
		if json.Unmarshal(body, &list) != nil {
			return nil, nil, false
		}
	case '{':
		names, values := members(body)
		if len(names) == 0 || names[0] != "events" {
			list = []json.RawMessage{body}
			break
		}
		if len(names) != 1 || json.Unmarshal(values[0], &list) != nil || values[0][0] != '[' {
			return nil, nil, false
		}
	default:
		return nil, nil, false
	}
	for i, one := range list {
		if e, ok := referenceEvent(one); ok {
			events = append(events, e)
		} else {
			refused = append(refused, i)
		}
	}
	return events, refused, true
}

// members lists an object's names and raw values in their order, repeats included.
func members(object []byte) (names []string, values []json.RawMessage) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil
	}
	for d.More() {
		name, _ := d.Token()
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, nil
		}
		names, values = append(names, name.(string)), append(values, value)
	}
	return names, values
}

func referenceEvent(one []byte) (e Event, ok bool) {
	if bytes.TrimLeft(one, " \t\r\n")[0] != '{' {
		return e, false
	}
	names, values := members(one)
	given := map[string]bool{}
	for i, name := range names {
		if given[name] {
			return e, false
		}
		given[name] = true
		if name == "payload" {
			e.Payload = string(values[i])
			continue
		}
		var text string
		if values[i][0] != '"' || json.Unmarshal(values[i], &text) != nil {
			return e, false
		}
		control := slices.ContainsFunc([]rune(text), unicode.IsControl)
		switch name {
		case "topic":
			e.Topic = text
		case "event_id":
			e.ID = text
		case "timestamp":
			e.Timestamp = text
		case "source":
			e.Source = text
		default:
			return e, false
		}
		if name == "timestamp" {
			if !referenceTime(text) {
				return e, false
			}
		} else if len(text) > MaxTextBytes || control || text == "" && name != "source" {
			return e, false
		}
	}
	return e, given["topic"] && given["event_id"] && given["timestamp"]
}

// rfc3339 is its grammar, with the bounds that it has by itself.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// referenceTime is what a timestamp may be, said with package time.
func referenceTime(text string) bool {
	if !rfc3339.MatchString(text) || len(text) > MaxTimestampBytes {
		return false
	}
	leap := text[17:19] == "60"
	if leap {
		text = text[:17] + "59" + text[19:]
	}
	t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(text))
	if err != nil || t.Year() == 0 {
		return false
	}
	next := t.UTC().Truncate(time.Second).Add(time.Second)
	return !leap || next.Day() == 1 && next.Hour()+next.Minute()+next.Second() == 0
}

func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{
		good, "[" + good + "," + good + "]", `{"events":[` + good + `]}`, `{"events":[],"x":1}`, "[]", "{}", "null", "[1,{}]",
		`{"\u0074opic":"t","event_id":"\u00e9\u0000","timestamp":"2026-11-23T06:41:10.5+02:00","payload":[1e400,"\n"]}`,
		`[{"topic":"t","topic":"t"},{"Topic":"t"}]`, "[" + good, good + good, "\xef\xbb\xbf[]", `["` + "\xff" + `"]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseJSON(body, nil)
		if surrogate.Match(body) {
			return
		}
		if !utf8.Valid(body) {
			if err == nil && len(r.Rejections) == 0 {
				t.Fatal("bytes that are not UTF-8 spoil nothing")
			}
			return
		}
		events, refused, ok := reference(body)
		if ok != (err == nil) {
			t.Fatalf("ParseJSON says %v, encoding/json %v", err, ok)
		}
		if err != nil {
			return
		}
		got, err := Decode(string(r.Data))
		if err != nil || !slices.Equal(got, events) || r.Events != len(events) {
			t.Fatalf("%d events %+v, %v\nwant %+v", r.Events, got, err, events)
		}
		var indices []int
		for _, rejection := range r.Rejections {
			indices = append(indices, rejection.Index)
		}
		if !slices.Equal(indices, refused) {
			t.Fatalf("refused %v, want %v", indices, refused)
		}
	})
}

// FuzzPlain: what is read in one pass, the decoder accepts too, to the same bytes.
func FuzzPlain(f *testing.F) {
	for _, seed := range []string{
		good, " [" + good + ",\n" + good + "] ", `{"events":[` + good + `]}`, `{"events" : [` + good + `] }`,
		`{"topic":"é","event_id":"\u007f","timestamp":"2026-02-30T00:00:00Z","source":"","payload":[[{"a":-0.5e+7,"b":"\\\u00e9\ud800"}],{},[],true,null]}`,
		`{"topic":"t","event_id":"i","timestamp":"2026-11-23T06:41:10.123456789Z","payload":"` + "\x7f\u0085" + `"}`,
		`{"topic":"t","event_id":"i","timestamp":"0000-11-23T06:41:10Z","payload":01}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fast := &Request{}
		if !(&plain{body: body}).request(fast) {
			return
		}
		slow, err := parseJSON(&Request{}, body, nil)
		if err != nil {
			t.Fatalf("plain accepts what the decoder does not: %v", err)
		}
		if fast.Events != slow.Events || len(slow.Rejections) > 0 || !bytes.Equal(fast.Data, slow.Data) {
			t.Fatalf("plain: %d events %q\nthe decoder: %d events %q, refused %v", fast.Events, fast.Data, slow.Events, slow.Data, slow.Rejections)
		}
	})
}

// FuzzParseNDJSON: a line is taken as ParseJSON takes it alone, whatever stands beside.
func FuzzParseNDJSON(f *testing.F) {
	f.Add([]byte(good + "\n\n" + good + "\r\n{\n5\n" + good + good))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseNDJSON(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(string(r.Data))
		if err != nil {
			t.Fatal(err)
		}
		var want []Event
		total := 0
		for line := range bytes.SplitSeq(body, []byte("\n")) {
			if line = bytes.TrimRight(line, " \t\r"); len(line) == 0 {
				continue
			}
			total++
			one, err := ParseJSON(append(append([]byte("["), line...), ']'), nil)
			if err != nil || one.Total() != 1 {
				continue
			}
			events, err := Decode(string(one.Data))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, events...)
		}
		if !slices.Equal(got, want) || r.Total() != total {
			t.Fatalf("%+v of %d lines\nwant %+v of %d", got, r.Total(), want, total)
		}
	})
}

// FuzzDecode: the compact form is read back by the writer from disk.
func FuzzDecode(f *testing.F) {
	r, err := ParseJSON([]byte("["+good+","+good+"]"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(r.Data))
	f.Fuzz(func(t *testing.T, data string) {
		events, err := Decode(data)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range events {
			again = appendEvent(again, &[fieldCount][]byte{[]byte(e.Topic), []byte(e.ID), []byte(e.Timestamp), []byte(e.Source), []byte(e.Payload)})
		}
		if more, err := Decode(string(again)); err != nil || !slices.Equal(more, events) {
			t.Fatalf("%+v\nwritten and read again: %+v, %v", events, more, err)
		}
	})
}
