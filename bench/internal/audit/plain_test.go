package audit

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"sekali/loadgen/stream"
)

// decode reads a line without the short way.
func decode(line []byte) (Event, error) {
	var e Event
	err := e.decode(line, jsontext.NewDecoder(bytes.NewReader(nil)))
	return e, err
}

// plainLines are lines with what the short way must take as the decoder does, or leave to it.
var plainLines = []string{
	`{"seq":1,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload":{"x": 1.50},"received_at":"r"}`,
	`{"seq":12,"topic":"","event_id":"","timestamp":"","source":"","received_at":""}`,
	`{"seq":1,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload":"a, \"b\" }","received_at":"r"}`,
	`{"seq":1,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload":[{"]":"}"},[]],"received_at":"r"}`,
	`{"seq":1,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload":-1e9,"received_at":"r"}`,
	`{"seq":1,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload":null,"received_at":"r"}`,
	`{"seq":1,"topic":"ü","event_id":"\n","timestamp":"t","source":"s","payload":"ü","received_at":"r"}`,
	`{"seq":1,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload": 1 ,"received_at":"r"}`,
	`{"seq":1,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload":1,"more":2,"received_at":"r"}`,
	`{"seq":1,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload":1,"received_at":"r"} {}`,
	`{"seq":01,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload":1,"received_at":"r"}`,
	`{"seq":9223372036854775808,"topic":"a","event_id":"b","timestamp":"t","source":"s","received_at":"r"}`,
	`{"topic":"a","seq":1}`,
	`{"seq":1,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload":},"received_at":"r"}`,
	`{"seq":1,"topic":"a","event_id":"b","timestamp":"t","source":"s","payload":,"received_at":"r"}`,
}

// FuzzReadPlain: what the short way takes is what the decoder has, or has a payload that is no
// JSON, as no event is sent with.
func FuzzReadPlain(f *testing.F) {
	for _, line := range plainLines {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var plain Event
		if !plain.readPlain(line) {
			return
		}
		if len(plain.Payload) == 0 {
			t.Fatalf("%q has an empty payload", line)
		}
		decoded, err := decode(line)
		if err != nil {
			if jsontext.Value(plain.Payload).IsValid() {
				t.Fatalf("%q is read as %q, and has %v", line, plain.text(), err)
			}
			return
		}
		if plain.Seq != decoded.Seq || plain.text() != decoded.text() {
			t.Fatalf("%q is read as\n%s, and is\n%s", line, plain.text(), decoded.text())
		}
	})
}

// text is what an event says, in a form to compare.
func (e *Event) text() string {
	return strings.Join([]string{string(e.Topic), string(e.EventID), string(e.Timestamp), string(e.Source), string(e.Payload), string(e.ReceivedAt)}, "\x00")
}

// TestShortWayIsTaken: the lab's own events go the short way, or the audit takes twice as long.
func TestShortWayIsTaken(t *testing.T) {
	s, err := stream.New(stream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var e Event
	line := exported(s, 7)
	if !e.readPlain(line) {
		t.Fatalf("%s is left to the decoder", line)
	}
	if m := e.Match(s); !m.Exact || m.Original != 7 {
		t.Errorf("%+v", m)
	}
}

// exported is an original as an export has it.
func exported(s *stream.Stream, original uint64) []byte {
	line := s.AppendOriginal([]byte(`{"seq":7,`), original)
	line = append(line[:len(`{"seq":7,`)], line[len(`{"seq":7,`)+1:]...) // without its bracket
	return append(bytes.TrimSuffix(line, []byte("}")), `,"received_at":"2026-11-23T06:41:10.000000000Z"}`...)
}

func BenchmarkRead(b *testing.B) {
	s, err := stream.New(stream.Config{})
	if err != nil {
		b.Fatal(err)
	}
	var text []byte
	const events = 10_000
	for n := range uint64(events) {
		text = append(append(text, exported(s, n)...), '\n')
	}
	for b.Loop() {
		n := 0
		for e, err := range Read(bytes.NewReader(text)) {
			if err != nil {
				b.Fatal(err)
			}
			if n++; !e.Match(s).Exact {
				b.Fatal(n)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
}
