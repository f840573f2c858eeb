package attack

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"sekali/loadgen/stream"
)

func testStream(t testing.TB) *stream.Stream {
	t.Helper()
	s, err := stream.New(stream.Config{Seed: 9, Duplicates: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newTestAhead(t testing.TB, c Config, maxBytes int64) *ahead {
	t.Helper()
	e, err := newEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	return newAhead(e, maxBytes)
}

// unpack gives the payload's original of each event of a body.
func unpack(t testing.TB, body []byte, compression string, ndjson bool) []uint64 {
	t.Helper()
	var plain io.Reader = bytes.NewReader(body)
	var err error
	switch compression {
	case CompressionGzip:
		plain, err = gzip.NewReader(plain)
	case CompressionZstd:
		var z *zstd.Decoder
		z, err = zstd.NewReader(plain, zstd.WithDecoderConcurrency(1))
		defer z.Close()
		plain = z
	}
	if err != nil {
		t.Fatal(err)
	}
	type event struct {
		Payload json.RawMessage `json:"payload"`
	}
	var events []event
	decoder := json.NewDecoder(plain)
	if ndjson {
		for decoder.More() {
			var e event
			if err := decoder.Decode(&e); err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
		}
	} else if err := decoder.Decode(&events); err != nil {
		t.Fatal(err)
	}
	var originals []uint64
	for _, e := range events {
		original, ok := stream.OriginalOf(e.Payload)
		if !ok {
			t.Fatalf("payload %s", e.Payload)
		}
		originals = append(originals, original)
	}
	return originals
}

func TestBodyHoldsTheEventsOfItsRequest(t *testing.T) {
	for _, encoding := range []string{EncodingJSON, EncodingNDJSON} {
		for _, compression := range []string{CompressionNone, CompressionGzip, CompressionZstd} {
			t.Run(encoding+compression, func(t *testing.T) {
				s := testStream(t)
				e, err := newEncoder(Config{Stream: s, EventsPerRequest: 7, Encoding: encoding, Compression: compression})
				if err != nil {
					t.Fatal(err)
				}
				memory := []byte("of a body before")
				for _, request := range []uint64{0, 1, 1000} {
					memory = e.append(memory[:0], request)
					got := unpack(t, memory, compression, encoding == EncodingNDJSON)
					if len(got) != 7 {
						t.Fatalf("%d events", len(got))
					}
					for i, original := range got {
						if want := s.Original(request*7 + uint64(i)); original != want {
							t.Errorf("event %d of request %d is original %d, want %d", i, request, original, want)
						}
					}
				}
			})
		}
	}
}

// Bodies come in order, each once, and what waits stays under the bound.
func TestAheadIsBoundedAndInOrder(t *testing.T) {
	c := Config{Stream: testStream(t), EventsPerRequest: 3}
	const maxBytes, last = 10_000, 500
	a := newTestAhead(t, c, maxBytes)
	var wg sync.WaitGroup
	wg.Go(func() { a.build(5, last) })
	a.waitFull()
	if held := a.bytes; held < maxBytes/2 || held > maxBytes {
		t.Errorf("full with %d bytes of %d", held, maxBytes)
	}
	for want := uint64(5); want < last; want++ {
		b, ok := a.next()
		if !ok || b.number != want {
			t.Fatalf("body %d, want %d", b.number, want)
		}
		if got := unpack(t, b.bytes, "", false); got[0] != c.Stream.Original(want*3) {
			t.Fatalf("body %d holds other events: its memory was used again too early", want)
		}
		a.mu.Lock()
		if a.bytes > maxBytes {
			t.Fatalf("%d bytes are held", a.bytes)
		}
		a.mu.Unlock()
		a.recycle(b.bytes)
	}
	wg.Wait()
}

func TestABodyLargerThanTheBoundIsBuilt(t *testing.T) {
	a := newTestAhead(t, Config{Stream: testStream(t), EventsPerRequest: 100}, 10)
	var wg sync.WaitGroup
	wg.Go(func() { a.build(0, 3) })
	for range 3 {
		if b, ok := a.next(); !ok || len(unpack(t, b.bytes, "", false)) != 100 {
			t.Fatal("no body")
		}
	}
	wg.Wait()
}

// stop ends a builder at its bound, a waiter for a body, and a waiter for fullness.
func TestStopFreesEveryone(t *testing.T) {
	full := newTestAhead(t, Config{Stream: testStream(t), EventsPerRequest: 3}, 2000)
	empty := newTestAhead(t, Config{Stream: testStream(t), EventsPerRequest: 3}, 2000)
	var wg sync.WaitGroup
	wg.Go(func() { full.build(0, unlimited) })
	wg.Go(func() {
		if _, ok := empty.next(); ok {
			t.Error("a body from nowhere")
		}
	})
	wg.Go(func() { empty.waitFull() })
	time.Sleep(10 * time.Millisecond)
	full.stop()
	empty.stop()
	wg.Wait()
}

func BenchmarkEncode(b *testing.B) {
	for _, compression := range []string{CompressionNone, CompressionGzip, CompressionZstd} {
		b.Run("compression="+compression, func(b *testing.B) {
			e, err := newEncoder(Config{Stream: testStream(b), EventsPerRequest: 500, Compression: compression})
			if err != nil {
				b.Fatal(err)
			}
			var body []byte
			n := uint64(0)
			for b.Loop() {
				body = e.append(body[:0], n)
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/event")
			b.ReportMetric(float64(len(body))/500, "bytes/event")
		})
	}
}
