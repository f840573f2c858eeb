package inflate

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	fast "github.com/klauspost/compress/zlib"
	"pgregory.net/rapid"
)

// packers are all forms that a stream may have: blocks as they are, with the codes that need not be
// told, with others; one block, and many.
var packers = map[string]func(plain []byte) []byte{}

func init() {
	write := func(open func(w io.Writer) io.WriteCloser, pieces int) func([]byte) []byte {
		return func(plain []byte) []byte {
			var packed bytes.Buffer
			w := open(&packed)
			for i := range pieces {
				_, _ = w.Write(plain[len(plain)*i/pieces : len(plain)*(i+1)/pieces])
				if f, ok := w.(interface{ Flush() error }); ok && pieces > 1 {
					_ = f.Flush() // ends a block, and adds an empty one
				}
			}
			_ = w.Close()
			return packed.Bytes()
		}
	}
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		open := func(w io.Writer) io.WriteCloser { z, _ := zlib.NewWriterLevel(w, level); return z }
		packers[fmt.Sprint("level ", level)], packers[fmt.Sprint("level ", level, " in pieces")] = write(open, 1), write(open, 7)
	}
	packers["as blocks are"] = write(func(w io.Writer) io.WriteCloser { z, _ := fast.NewWriterLevel(w, fast.BestSpeed); return z }, 1)
}

// plains are texts of all lengths and kinds.
func plains() (all [][]byte) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 2, 10, 258, 259, 4000, 40_000, 100_000} {
		same, noise, lines, skewed := bytes.Repeat([]byte{7}, size), make([]byte, size), []byte{}, make([]byte, size)
		for i := range size {
			noise[i] = byte(random.Uint32())
			skewed[i] = byte(random.ExpFloat64() * 20) // codes of many lengths
		}
		for len(lines) < size {
			lines = fmt.Appendf(lines, `{"topic":"topic-%d","event_id":"%016x","payload":{"n":%d}}`, random.IntN(10), random.Uint64(), len(lines))
		}
		all = append(all, same, noise, lines[:size], skewed, append(bytes.Clone(noise), noise...))
	}
	return all
}

// TestUnpack: whatever packs it, all of it comes back, and any beginning of it; no other length
// does.
func TestUnpack(t *testing.T) {
	var z Inflater
	for name, pack := range packers {
		for _, plain := range plains() {
			packed := pack(plain)
			got := make([]byte, len(plain))
			if err := z.Unpack(got, packed, true); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%s: %d bytes: %v", name, len(plain), err)
			}
			for _, n := range []int{0, 1, len(plain) / 3, len(plain) - 1} {
				if n < 0 || n >= len(plain) {
					continue
				}
				clear(got)
				if err := z.Unpack(got[:n], packed, false); err != nil || !bytes.Equal(got[:n], plain[:n]) {
					t.Errorf("%s: the first %d of %d bytes: %v", name, n, len(plain), err)
				}
				if err := z.Unpack(got[:n], packed, true); !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: %d of %d bytes are all: %v", name, n, len(plain), err)
				}
			}
			for _, whole := range []bool{true, false} {
				if err := z.Unpack(make([]byte, len(plain)+1), packed, whole); !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: one more than %d bytes: %v", name, len(plain), err)
				}
			}
		}
	}
}

// reference is what compress/zlib says to it.
func reference(packed []byte) (plain []byte, err error) {
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, 1<<22))
}

// checkAgainstReference: both take it, and have the same of it, or both refuse it.
func checkAgainstReference(t interface{ Fatalf(string, ...any) }, z *Inflater, packed []byte) {
	plain, want := reference(packed)
	if len(plain) == 1<<22 {
		return
	}
	got := make([]byte, len(plain))
	err := z.Unpack(got, packed, true)
	if (err == nil) != (want == nil) || err == nil && !bytes.Equal(got, plain) {
		t.Fatalf("%x: %v, compress/zlib says %v", packed, err, want)
	}
	// Bounded, whatever it is.
	if err := z.Unpack(make([]byte, 100), packed, false); err != nil && !errors.Is(err, ErrCorrupt) {
		t.Fatalf("%x: %v", packed, err)
	}
}

// TestDamage: a stream that was changed, or cut, is what compress/zlib says it is.
func TestDamage(t *testing.T) {
	names := []string{}
	for name := range packers {
		names = append(names, name)
	}
	var all [][]byte
	for _, plain := range plains() {
		if len(plain) < 5000 {
			all = append(all, plain)
		}
	}
	var z Inflater
	rapid.Check(t, func(t *rapid.T) {
		packed := packers[rapid.SampledFrom(names).Draw(t, "packer")](rapid.SampledFrom(all).Draw(t, "plain"))
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			packed[rapid.IntRange(0, len(packed)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		checkAgainstReference(t, &z, packed[:rapid.IntRange(0, len(packed)).Draw(t, "cut")])
	})
}

// FuzzUnpack: so is anything else.
func FuzzUnpack(f *testing.F) {
	for _, pack := range packers {
		f.Add(pack([]byte(strings.Repeat("one line and another\n", 20))))
	}
	var z Inflater
	f.Fuzz(func(t *testing.T, packed []byte) { checkAgainstReference(t, &z, packed) })
}

// BenchmarkUnpack unpacks what is as large as a block of events, beside klauspost's reader.
func BenchmarkUnpack(b *testing.B) {
	var plain []byte
	random := rand.New(rand.NewPCG(1, 2))
	for len(plain) < 42_000 {
		plain = fmt.Appendf(plain, `topic-%d%08x-%04x-4%03x-9%03x-%012x2026-11-23T06:41:10.%06dZhost-7{"level":"info","n":%9d,"msg":"%s"}`, random.IntN(10),
			random.Uint32(), random.Uint32N(1<<16), random.Uint32N(1<<12), random.Uint32N(1<<12), random.Uint64N(1<<48), random.IntN(1e6), len(plain), strings.Repeat("x", 100))
	}
	packed := packers["as blocks are"](plain)
	to := make([]byte, len(plain))
	b.Run("inflate", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		var z Inflater
		for b.Loop() {
			if err := z.Unpack(to, packed, true); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("klauspost", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		in := bytes.NewReader(packed)
		r, err := fast.NewReader(in)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			in.Reset(packed)
			if err := r.(fast.Resetter).Reset(in, nil); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(r, to); err != nil {
				b.Fatal(err)
			}
			if _, err := r.Read(make([]byte, 1)); err != io.EOF {
				b.Fatal(err)
			}
		}
	})
}
