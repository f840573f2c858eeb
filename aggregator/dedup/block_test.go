package dedup

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawEntries draws entries in the order that a run has them in, as a block may have to hold them.
func drawEntries(t *rapid.T, h hasher) []entry {
	text := func(name string) string { // the longest as often as short ones
		n := rapid.OneOf(rapid.IntRange(1, 3), rapid.IntRange(1, 255), rapid.Just(255)).Draw(t, name)
		return strings.Repeat(rapid.SampledFrom([]string{"a", "\x00", "0", "\xff"}).Draw(t, name+"'s byte"), n)
	}
	id := rapid.OneOf(rapid.StringMatching(`[0-9a-f]{32}`), rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`))
	var entries []entry
	for range rapid.IntRange(1, 300).Draw(t, "entries") {
		var e entry
		of := ""
		if rapid.Bool().Draw(t, "an id of 16 bytes") {
			of = id.Draw(t, "id")
		} else {
			of = text("id")
		}
		e.key, e.hash = appendKey(h, nil, text("topic"), of)
		e.seq = rapid.OneOf(rapid.Int64Range(1, 1000), rapid.Int64Min(1)).Draw(t, "seq")
		e.content = Content(rapid.Uint32().Draw(t, "content"))
		entries = append(entries, e)
	}
	slices.SortFunc(entries, byHash)
	return entries
}

// TestBlocksHoldTheirEntries: what a block was given comes back, and is found.
func TestBlocksHoldTheirEntries(t *testing.T) {
	h, err := newHasher(make([]byte, SecretBytes))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		entries := drawEntries(t, h)
		var w blockWriter
		n := 0
		for n < len(entries) && w.add(entries[n], 1) {
			n++
		}
		if n == 0 || n < len(entries) && w.size.bytes() < blockBytes-maxKeyBytes-3*8-2*maxEntries && n < maxEntries {
			t.Fatalf("a block has %d entries of %d bytes, and there are %d", n, w.size.bytes(), len(entries))
		}
		data := w.appendTo([]byte("before"))[len("before"):]
		if len(data) != blockBytes {
			t.Fatalf("%d bytes", len(data))
		}
		data = append(data, strings.Repeat("\xff", bitSlack)...) // of the next
		var r blockReader
		if !r.open(data, entries[0].hash, 1) || r.remaining != n {
			t.Fatalf("%d entries, want %d", r.remaining, n)
		}
		for i, want := range entries[:n] {
			p, ok := r.next()
			seq, content := r.value(p)
			if !ok || p.hash != want.hash || seq != want.seq || content != want.content || string(r.appendKey(nil, p)) != string(want.key) {
				t.Fatalf("entry %d of %d: %+v, want %+v", i, n, p, want)
			}
			if id := want.key[prefixBytes(want.key):]; !r.isID(p, id) || r.isID(p, append(slices.Clone(id[:len(id)-1]), id[len(id)-1]+1)) {
				t.Fatalf("entry %d is not its own id, or another", i)
			}
		}
		// With another's bytes and a checksum that fits them, nothing is read from beyond the block.
		for range 20 {
			i := rapid.IntRange(4, blockBytes-1).Draw(t, "byte")
			data[i] = rapid.Byte().Draw(t, "becomes")
		}
		if r.open(data, 0, 1) {
			t.Fatal("a block is damaged, and was opened")
		}
		binary.LittleEndian.PutUint32(data, crc32.Checksum(data[4:blockBytes], castagnoli))
		for ok := r.open(data, 0, 1); ok && r.remaining > 0; {
			var p position
			if p, ok = r.next(); ok {
				r.value(p)
				r.appendKey(nil, p)
			}
		}
	})
}

// TestBlockIsSmall: an entry of a UUID takes 8 bytes for the half that is not its hash, 4 for the
// content, and what tells hashes, seqs and topics of a run apart.
func TestBlockIsSmall(t *testing.T) {
	h, err := newHasher(make([]byte, SecretBytes))
	if err != nil {
		t.Fatal(err)
	}
	const keys = 20_000
	entries := make([]entry, keys)
	for i := range entries {
		entries[i] = entry{seq: 1 + int64(i)}
		entries[i].key, entries[i].hash = appendKey(h, nil, "topic-"+string(rune('0'+i%10)), uuid4(i))
	}
	slices.SortFunc(entries, byHash)
	blocks := 1
	var w blockWriter
	for _, e := range entries {
		if !w.add(e, 1) {
			blocks++
			w.begin()
			w.add(e, 1)
		}
	}
	if each := float64(blocks*blockBytes) / keys; each > 24 {
		t.Errorf("%.1f bytes a key, want 24 at most", each)
	}
}
