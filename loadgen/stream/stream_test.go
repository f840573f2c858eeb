package stream

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func mustNew(t testing.TB, c Config) *Stream {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The first events of a seed never change: results/reference and every run.json
// that names a seed depend on it. A change here is a new stream, and wants a
// new name in the config rather than new golden files.
func TestFirstEventsOfASeed(t *testing.T) {
	for name, c := range map[string]Config{
		"defaults": {Seed: 1, Duplicates: 0.2},
		"recent":   {Seed: 7, Duplicates: 0.5, Distance: DistanceRecent, RecentEvents: 3, IDs: IDsTime, Topics: 100, PayloadBytes: 400},
		"topic":    {Seed: math.MaxUint64, Topic: "one.topic", PayloadBytes: MinPayloadBytes},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustNew(t, c)
			var got strings.Builder
			for n := range uint64(30) {
				fmt.Fprintf(&got, "%d %s\n", s.Original(n), s.AppendEvent(nil, n))
			}
			for _, n := range []uint64{999_999, 1 << 32, 1 << 45} {
				fmt.Fprintf(&got, "%d: %d %s\n", n, s.Original(n), s.AppendEvent(nil, n))
			}
			file := "testdata/" + name + ".golden"
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("the stream has changed:\n%s\nwant:\n%s", got.String(), want)
			}
		})
	}
}

func configs(t *rapid.T) Config {
	return Config{
		Seed:         rapid.Uint64().Draw(t, "seed"),
		Duplicates:   float64(rapid.IntRange(0, 990).Draw(t, "thousandths")) / 1000,
		Distance:     rapid.SampledFrom([]string{"", DistanceHistory, DistanceRecent}).Draw(t, "distance"),
		RecentEvents: rapid.IntRange(0, 3000).Draw(t, "recent"),
		Topics:       rapid.IntRange(0, 50).Draw(t, "topics"),
		PayloadBytes: rapid.IntRange(MinPayloadBytes, 3000).Draw(t, "payload"),
		IDs:          rapid.SampledFrom([]string{"", IDsUUID4, IDsTime}).Draw(t, "ids"),
	}
}

// Read from 0 on, with a map, the stream is what its formulas say.
func TestFormulasAgreeWithReadingTheStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(configs(t))
		if err != nil {
			t.Fatal(err)
		}
		window := uint64(s.Config().RecentEvents)
		var originals uint64
		for n := range uint64(3500) {
			if got := s.Originals(n); got != originals {
				t.Fatalf("Originals(%d) = %d, but %d were read", n, got, originals)
			}
			original := s.Original(n)
			switch {
			case original == originals:
				originals++
			case original > originals:
				t.Fatalf("event %d is original %d, and %d is the next", n, original, originals)
			case s.Config().Distance == DistanceRecent && originals-original > window:
				t.Fatalf("event %d repeats %d, %d originals back; the window is %d", n, original, originals-original, window)
			}
		}
	})
}

func TestDuplicatesAreExactInAny1000Events(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := configs(t)
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		from := rapid.Uint64Range(0, 1<<45).Draw(t, "from")
		want := 1000 - uint64(math.Round(c.Duplicates*1000))
		if got := s.Originals(from+1000) - s.Originals(from); got != want {
			t.Fatalf("%d originals in [%d,+1000), want %d", got, from, want)
		}
	})
}

func TestEventIsWhatIsSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(configs(t))
		if err != nil {
			t.Fatal(err)
		}
		n := rapid.Uint64Range(0, 1<<45).Draw(t, "n")
		original := s.Original(n)
		text := s.AppendEvent([]byte("before"), n)[len("before"):]
		var sent struct {
			Topic     string          `json:"topic"`
			EventID   string          `json:"event_id"`
			Timestamp string          `json:"timestamp"`
			Source    string          `json:"source"`
			Payload   json.RawMessage `json:"payload"`
		}
		if err := json.Unmarshal(text, &sent); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		want := s.Event(original)
		if got := (Event{sent.Topic, sent.EventID, sent.Timestamp, sent.Source, string(sent.Payload)}); got != want {
			t.Fatalf("sent %+v, Event says %+v", got, want)
		}
		if string(s.AppendOriginal(nil, original)) != string(text) {
			t.Fatal("a repeat differs from its original")
		}
		if got, ok := OriginalOf(sent.Payload); !ok || got != original {
			t.Fatalf("OriginalOf = %d, %v; want %d", got, ok, original)
		}
		if len(sent.Payload) != s.Config().PayloadBytes {
			t.Fatalf("payload of %d bytes, want %d", len(sent.Payload), s.Config().PayloadBytes)
		}
		if _, err := time.Parse(time.RFC3339Nano, sent.Timestamp); err != nil {
			t.Fatal(err)
		}
	})
}

func TestIDsAreDistinct(t *testing.T) {
	for _, ids := range []string{IDsUUID4, IDsTime} {
		s := mustNew(t, Config{Seed: 3, IDs: ids})
		seen := make(map[string]bool)
		last := ""
		for original := range uint64(200_000) {
			id := s.Event(original).EventID
			if seen[id] {
				t.Fatalf("%s: %s comes twice", ids, id)
			}
			if ids == IDsTime && id <= last {
				t.Fatalf("%s does not come after %s", id, last)
			}
			seen[id], last = true, id
		}
	}
}

func TestSeedsGiveDifferentEvents(t *testing.T) {
	a, b := mustNew(t, Config{Seed: 1}), mustNew(t, Config{Seed: 2})
	for original := range uint64(1000) {
		if a.Event(original).EventID == b.Event(original).EventID {
			t.Fatalf("original %d has the same id under both seeds", original)
		}
	}
}

// Over the whole history, repeats reach back evenly, and topics are used evenly.
func TestDrawsAreUniform(t *testing.T) {
	const events, buckets = 1_000_000, 10
	s := mustNew(t, Config{Seed: 5, Duplicates: 0.5, Topics: buckets})
	var back, topics [buckets]int
	repeats := 0
	for n := range uint64(events) {
		original, before := s.Original(n), s.Originals(n)
		if original == before {
			topics[s.Event(original).Topic[len("topic-")]-'0']++
		} else if before > 1000 {
			back[original*buckets/before]++
			repeats++
		}
	}
	for i := range buckets {
		if share := float64(back[i]) / float64(repeats) * buckets; share < 0.97 || share > 1.03 {
			t.Errorf("tenth %d of the history is repeated %.3f times its share", i, share)
		}
		if share := float64(topics[i]) / (events / 2) * buckets; share < 0.97 || share > 1.03 {
			t.Errorf("topic %d has %.3f times its share", i, share)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"duplicates below 0":    {Duplicates: -0.1},
		"duplicates above 0.99": {Duplicates: 0.991},
		"duplicates NaN":        {Duplicates: math.NaN()},
		"four decimals":         {Duplicates: 0.1234},
		"distance":              {Distance: "far"},
		"recent_events":         {RecentEvents: -1},
		"topics":                {Topics: MaxTopics + 1},
		"topic and topics":      {Topic: "a", Topics: 2},
		"topic with a quote":    {Topic: `a"b`},
		"topic too long":        {Topic: strings.Repeat("x", 256)},
		"payload too small":     {PayloadBytes: MinPayloadBytes - 1},
		"payload too large":     {PayloadBytes: MaxPayloadBytes + 1},
		"ids":                   {IDs: "uuid1"},
	} {
		if s, err := New(c); err == nil {
			t.Errorf("%s: made %+v", name, s.Config())
		}
	}
}

// The longest fields leave room for a message in the smallest payload.
func TestSmallestPayloadHoldsAnyNumber(t *testing.T) {
	s := mustNew(t, Config{PayloadBytes: MinPayloadBytes})
	for fields := range uint64(64) {
		payload := s.appendPayload(nil, math.MaxUint64, fields<<16)
		if len(payload) != MinPayloadBytes || !json.Valid(payload) {
			t.Fatalf("%d bytes: %s", len(payload), payload)
		}
	}
}

func TestOriginalOf(t *testing.T) {
	for payload, want := range map[string]struct {
		original uint64
		ok       bool
	}{
		`{"n":17,"level":"info"}`:          {17, true},
		`{"n":18446744073709551615,"x":1}`: {math.MaxUint64, true},
		`{"n":18446744073709551616,"x":1}`: {0, false},
		`{"n":-1,"x":1}`:                   {0, false},
		`{"n":,"x":1}`:                     {0, false},
		`{"n":1}`:                          {0, false},
		`{"m":1,"n":2}`:                    {0, false},
		`{ "n":1,"x":2}`:                   {0, false},
		`null`:                             {0, false},
		``:                                 {0, false},
	} {
		original, ok := OriginalOf([]byte(payload))
		if ok != want.ok || ok && original != want.original {
			t.Errorf("%s: %d, %v", payload, original, ok)
		}
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	for _, distance := range []string{DistanceHistory, DistanceRecent} {
		b.Run(distance, func(b *testing.B) {
			s := mustNew(b, Config{Seed: 1, Duplicates: 0.2, Distance: distance})
			var dst []byte
			n := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				dst = s.AppendEvent(dst[:0], n)
				n++
			}
			b.SetBytes(int64(len(dst)))
		})
	}
}

func BenchmarkOriginal(b *testing.B) {
	s := mustNew(b, Config{Seed: 1, Duplicates: 0.2})
	n, sum := uint64(0), uint64(0)
	for b.Loop() {
		sum += s.Original(n)
		n++
	}
	_ = sum
}

// TestIsTheEventAndNoOther: Is says what a comparison with Event says, of both shapes.
func TestIsTheEventAndNoOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := configs(t)
		if c.PayloadBytes < 1000 && rapid.Bool().Draw(t, "mixed") {
			c = Config{Seed: c.Seed, Shape: ShapeMixed}
		}
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		original := rapid.Uint64Max(1<<40).Draw(t, "original")
		e := s.Event(original)
		fields := [5]string{e.Topic, e.EventID, e.Timestamp, e.Source, e.Payload}
		is := func(f [5]string) bool {
			return s.Is(original, []byte(f[0]), []byte(f[1]), []byte(f[2]), []byte(f[3]), []byte(f[4]))
		}
		if !is(fields) {
			t.Fatalf("%d is not %+v", original, e)
		}
		for i := range fields {
			other := fields
			if other[i] += "x"; is(other) {
				t.Fatalf("%d is %q", original, other)
			}
		}
	})
}
