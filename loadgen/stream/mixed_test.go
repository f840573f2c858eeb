package stream

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestMixed holds odd events to what they are for: every event is one that an aggregator must
// take, no two originals have a name in common, pairs differ in little, and a stored event leads
// back to its original.
func TestMixed(t *testing.T) {
	s, err := New(Config{Seed: 4, Duplicates: 0.2, Shape: ShapeMixed})
	if err != nil {
		t.Fatal(err)
	}
	names, folded, ids := map[string]uint64{}, map[string]bool{}, map[string]int{}
	conflicts, same, escapes := 0, 0, 0
	kinds := map[string]int{}
	for n := range uint64(20_000) {
		text := s.AppendEvent(nil, n)
		var sent struct {
			Topic, Event_id, Timestamp, Source string
			Payload                            json.RawMessage
		}
		if err := json.Unmarshal(text, &sent); err != nil {
			t.Fatalf("event %d: %v: %s", n, err, text)
		}
		if bytes.Contains(text[:12], []byte(`\u`)) {
			escapes++
		}
		for kind, has := range map[string]bool{
			"topic of 255 bytes": len(sent.Topic) == 255, "id of 255 bytes": len(sent.Event_id) == 255,
			"no source": !bytes.Contains(text, []byte(`"source":`)), "no payload": sent.Payload == nil, "payload null": string(sent.Payload) == "null",
			"offset": strings.HasSuffix(sent.Timestamp, "+07:00"), "nine decimals": strings.HasSuffix(sent.Timestamp, "z"),
			"empty payload": string(sent.Payload) == `""`, "64 KiB": len(sent.Payload) > 60<<10, "white space": bytes.Contains(sent.Payload, []byte(" ,\t")),
			"escape in a payload": bytes.Contains(sent.Payload, []byte(`\u`)), "not ASCII": strings.Contains(sent.Event_id, "日本"),
			"a long number": bytes.Contains(sent.Payload, []byte("123456789012345678901234567890")),
		} {
			if has {
				kinds[kind]++
			} else {
				kinds[kind] += 0
			}
		}
		if len(sent.Topic) > 255 || len(sent.Event_id) > 255 || len(sent.Source) > 255 || !utf8.Valid(text) {
			t.Fatalf("event %d is too long: %s", n, text)
		}
		original := s.Original(n)
		found, ok := s.OriginalOf([]byte(sent.Topic), []byte(sent.Event_id), nil)
		if !ok || found != original {
			t.Fatalf("event %d: original %d, found %d, %v", n, original, found, ok)
		}
		if s.Variant(n) {
			conflicts++
		} else if sent.Payload != nil && string(sent.Payload) != s.Event(original).Payload {
			t.Fatalf("event %d: payload %s, want %s", n, sent.Payload, s.Event(original).Payload)
		}
		name := sent.Topic + "\x00" + sent.Event_id
		if other, known := names[name]; known && other != original {
			t.Fatalf("originals %d and %d have the same name", other, original)
		} else if !known {
			ids[sent.Event_id]++
			if lower := strings.ToLower(name); folded[lower] {
				same++
			} else {
				folded[lower] = true
			}
		}
		names[name] = original
	}
	onTwo := 0
	for _, n := range ids {
		onTwo += n - 1
	}
	for kind, n := range kinds {
		if n == 0 {
			t.Errorf("%s: never", kind)
		}
	}
	if escapes == 0 || conflicts == 0 || same == 0 || onTwo == 0 {
		t.Errorf("%d conflicts, %d names that differ in case, %d ids on two topics", conflicts, same, onTwo)
	}
}

func TestMixedIsRefused(t *testing.T) {
	for _, c := range []Config{{Shape: "odd"}, {Shape: ShapeMixed, Topics: 1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
