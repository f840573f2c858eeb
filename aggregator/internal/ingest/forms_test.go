package ingest

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

// TestClock: times are as package time writes them, and those it has no form for are left out.
func TestClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := builder{}
		for range rapid.IntRange(1, 5).Draw(t, "times") {
			second := rapid.OneOf(rapid.Int64Range(1764295200, 1764295202), rapid.Int64(), rapid.SampledFrom([]int64{0, firstSecond - 1, firstSecond, lastSecond, lastSecond + 1})).Draw(t, "second")
			nanosecond := rapid.OneOf(rapid.Int64Range(0, 999_999_999), rapid.Map(rapid.Int64Range(0, 999), func(n int64) int64 { return n * 1e6 })).Draw(t, "nanosecond")
			at := time.Unix(second, nanosecond)
			want := ""
			if year := at.UTC().Year(); year >= 1 && year <= 9999 {
				want = at.UTC().Format(time.RFC3339Nano)
			}
			b.begin()
			b.setTime(at)
			if got := string(b.fields.Timestamp); got != want {
				t.Fatalf("%d s and %d ns are %q, want %q", second, nanosecond, got, want)
			}
		}
	})
}

// TestWholeEpoch: a whole number is the time that the exact way makes of it.
func TestWholeEpoch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 1e12), rapid.SampledFrom([]uint64{1e11 - 1, 1e11, 1e14 - 1, 1e14, 1e17 - 1, 1e17, math.MaxInt64, 1 << 63})).Draw(t, "n")
		text := strings.Repeat("0", rapid.IntRange(0, 1).Draw(t, "zeros")) + strconv.FormatUint(n>>rapid.IntRange(0, 63).Draw(t, "smaller"), 10)
		got, ok := wholeEpoch(text)
		if !ok {
			return
		}
		if want, ok := parseEpoch(text); !ok || !got.Equal(want) {
			t.Fatalf("%s is %v, want %v, %v", text, got, want, ok)
		}
	})
}

// TestFields: a message's fields are those that protowire finds.
func TestFields(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var message []byte
		for range rapid.IntRange(0, 5).Draw(t, "fields") {
			number := protowire.Number(rapid.OneOf(rapid.Int32Range(1, 20), rapid.Int32Range(1, math.MaxInt32>>3)).Draw(t, "number"))
			switch kind := rapid.SampledFrom([]protowire.Type{protowire.BytesType, protowire.VarintType, protowire.Fixed64Type, protowire.Fixed32Type, protowire.StartGroupType}).Draw(t, "kind"); kind {
			case protowire.BytesType:
				message = protowire.AppendBytes(protowire.AppendTag(message, number, kind), bytes.Repeat([]byte{7}, rapid.SampledFrom([]int{0, 1, 126, 127, 128, 300}).Draw(t, "length")))
			case protowire.VarintType:
				message = protowire.AppendVarint(protowire.AppendTag(message, number, kind), rapid.Uint64().Draw(t, "value"))
			case protowire.Fixed64Type:
				message = protowire.AppendFixed64(protowire.AppendTag(message, number, kind), rapid.Uint64().Draw(t, "value"))
			case protowire.Fixed32Type:
				message = protowire.AppendFixed32(protowire.AppendTag(message, number, kind), rapid.Uint32().Draw(t, "value"))
			default:
				message = protowire.AppendGroup(protowire.AppendTag(message, number, kind), number, []byte{0x08, 0x01})
			}
		}
		if len(message) > 0 && rapid.IntRange(0, 3).Draw(t, "damage") == 0 {
			message = message[:rapid.IntRange(0, len(message)-1).Draw(t, "cut")]
			message = append(message, rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "rubbish")...)
		}
		f := fields{rest: message}
		for f.next() {
			number, kind, n := protowire.ConsumeTag(message)
			size := protowire.ConsumeFieldValue(number, kind, message[n:])
			if n < 0 || size < 0 {
				t.Fatalf("field %d is found, where protowire finds none", f.number)
			}
			content := message[n : n+size]
			message = message[n+size:]
			var value uint64
			var text []byte
			switch kind {
			case protowire.BytesType:
				text, _ = protowire.ConsumeBytes(content)
			case protowire.VarintType:
				value, _ = protowire.ConsumeVarint(content)
			case protowire.Fixed64Type:
				value, _ = protowire.ConsumeFixed64(content)
			case protowire.Fixed32Type:
				v, _ := protowire.ConsumeFixed32(content)
				value = uint64(v)
			}
			if f.number != number || f.value != value || !bytes.Equal(f.bytes, text) || len(f.rest) != len(message) {
				t.Fatalf("field %d, %d, %q, %d bytes behind; protowire has %d, %d, %q, %d", f.number, f.value, f.bytes, len(f.rest), number, value, text, len(message))
			}
		}
		if f.err == nil && len(message) > 0 {
			t.Fatalf("%x is left out", message)
		}
		if _, _, n := protowire.ConsumeField(message); f.err != nil && n >= 0 {
			t.Fatalf("%v, where protowire finds a field", f.err)
		}
	})
}

// TestRepeats: the ordinals of equal events are those that a plain count has.
func TestRepeats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBuilder(&Input{}, "", 0)
		b.expected = rapid.IntRange(0, 2000).Draw(t, "expected")
		count := map[string]int{}
		for range rapid.IntRange(1, 50).Draw(t, "events") {
			topic := rapid.SampledFrom([]string{"", "a", "b", "ab"}).Draw(t, "topic")
			b.content = digest{rapid.Byte().Draw(t, "content") % 3}
			key := topic + " " + string(b.content[:])
			count[key]++
			if n, err := b.repeats([]byte(topic)); err != nil || n != count[key] {
				t.Fatalf("event %q has the ordinal %d, want %d: %v", key, n, count[key], err)
			}
		}
	})
}
