package stream

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestMixed holds the hostile stream to what it is for: every event is one that an aggregator must
// take, no two originals have a name in common, pairs differ in little, and a stored event leads
// back to its original.
func TestMixed(t *testing.T) {
	s, err := New(Config{Seed: 4, Duplicates: 0.2, Shape: ShapeMixed})
	if err != nil {
		t.Fatal(err)
	}
	names, folded, ids := map[string]uint64{}, map[string]bool{}, map[string]int{}
	conflicts, same := 0, 0
	for n := range uint64(20_000) {
		text := s.AppendEvent(nil, n)
		var sent struct {
			Topic, Event_id, Timestamp, Source string
			Payload                            json.RawMessage
		}
		if err := json.Unmarshal(text, &sent); err != nil {
			t.Fatalf("event %d: %v: %s", n, err, text)
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
	if conflicts == 0 || same == 0 || onTwo == 0 {
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
