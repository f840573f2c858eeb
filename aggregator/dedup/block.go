package dedup

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// A block has a checksum over the rest of it, the number of its entries and of its prefixes, and
// how many bits a hash and a seq take in it. Then come the prefixes, one behind the other, and then
// the entries, bit by bit: the hash as a distance from the one before (the first one's is in the
// index), the prefix's number, the seq as a distance from the run's first, the content, and the id:
// of a packed one the second half, since the first is the hash; of a text its length and bytes. The
// rest are zeros.
const (
	blockBytes  = 2048 // a repeat reads one whole; see docs/design/decisions/06-sorted-runs.md
	blockHeader = 4 + 1 + 1 + 1 + 1
	contentBits = 32
	halfBits    = 64 // the second half of a packed id
	lengthBits  = 8
	maxEntries  = 255
)

// blockSize is what decides how large a block is.
type blockSize struct {
	entries, prefixes int
	prefixBytes       int
	hashBits, seqBits uint
	idBits            int
	firstHash         uint64
	lastHash          uint64
}

func (s *blockSize) bytes() int {
	entry := int(s.hashBits+prefixBits(s.prefixes)+s.seqBits) + contentBits
	return blockHeader + s.prefixBytes + (s.entries*entry+s.idBits+7)/8
}

// prefixBits is what the number of one of so many prefixes takes.
func prefixBits(prefixes int) uint { return uint(bits.Len(uint(max(prefixes, 1) - 1))) }

// blockWriter gathers the entries of a block.
type blockWriter struct {
	size     blockSize
	entries  [maxEntries]gathered
	prefixes []byte   // one behind the other
	ends     []uint16 // where each prefix ends
	ids      []byte
	slots    [512]uint8 // open addressing: a prefix's number + 1
}

// gathered is an entry that waits for its block to be full.
type gathered struct {
	hash, distance uint64 // distance of seq
	content        Content
	prefix         uint8
	idEnd          uint16
}

func (w *blockWriter) begin() {
	w.size = blockSize{}
	w.prefixes, w.ends, w.ids = w.prefixes[:0], w.ends[:0], w.ids[:0]
	clear(w.slots[:])
}

// add takes the next entry, unless the block has no room for it. The run begins with the seq first.
func (w *blockWriter) add(e entry, first int64) (ok bool) {
	if w.size.entries == maxEntries {
		return false
	}
	n := prefixBytes(e.key)
	prefix, id := e.key[:n], e.key[n:]
	slot, number := w.find(prefix)
	size := w.size
	if number < 0 {
		number = size.prefixes
		size.prefixes++
		size.prefixBytes += n
	}
	if size.entries == 0 {
		size.firstHash, size.lastHash = e.hash, e.hash
	}
	size.hashBits = max(size.hashBits, uint(bits.Len64(e.hash-size.lastHash)))
	size.lastHash = e.hash
	distance := uint64(e.seq - first)
	size.seqBits = max(size.seqBits, uint(bits.Len64(distance)))
	if formOf(prefix) == textID {
		size.idBits += lengthBits + 8*len(id)
	} else {
		size.idBits, id = size.idBits+halfBits, id[packedBytes/2:]
	}
	size.entries++
	if size.bytes() > blockBytes {
		return false
	}
	if number == w.size.prefixes {
		w.prefixes = append(w.prefixes, prefix...)
		w.ends = append(w.ends, uint16(len(w.prefixes)))
		w.slots[slot] = uint8(number + 1)
	}
	w.ids = append(w.ids, id...)
	w.entries[w.size.entries] = gathered{e.hash, distance, e.content, uint8(number), uint16(len(w.ids))}
	w.size = size
	return true
}

// find returns a prefix's number, or -1 and the slot that is to have it.
func (w *blockWriter) find(prefix []byte) (slot, number int) {
	h := uint32(2166136261) // FNV-1a
	for _, c := range prefix {
		h = (h ^ uint32(c)) * 16777619
	}
	for slot = int(h >> 23); w.slots[slot] != 0; slot = (slot + 1) % len(w.slots) {
		number = int(w.slots[slot]) - 1
		if bytes.Equal(w.prefix(number), prefix) {
			return slot, number
		}
	}
	return slot, -1
}

func (w *blockWriter) prefix(number int) []byte {
	from := uint16(0)
	if number > 0 {
		from = w.ends[number-1]
	}
	return w.prefixes[from:w.ends[number]]
}

// appendTo appends the block, whole.
func (w *blockWriter) appendTo(dst []byte) []byte {
	from, s := len(dst), &w.size
	dst = append(dst, 0, 0, 0, 0, byte(s.entries), byte(s.prefixes), byte(s.hashBits), byte(s.seqBits))
	out := bitWriter{out: append(dst, w.prefixes...)}
	before, numberBits, at := s.firstHash, prefixBits(s.prefixes), uint16(0)
	for i := range w.entries[:s.entries] {
		g := &w.entries[i]
		out.put(g.hash-before, s.hashBits)
		out.put(uint64(g.prefix), numberBits)
		out.put(g.distance, s.seqBits)
		out.put(uint64(g.content), contentBits)
		id := w.ids[at:g.idEnd]
		if formOf(w.prefix(int(g.prefix))) != textID {
			out.put(binary.BigEndian.Uint64(id), halfBits)
		} else {
			out.put(uint64(len(id)), lengthBits)
			for _, c := range id {
				out.put(uint64(c), 8)
			}
		}
		before, at = g.hash, g.idEnd
	}
	dst = out.end()
	dst = append(dst, zeros[:from+blockBytes-len(dst)]...)
	binary.LittleEndian.PutUint32(dst[from:], crc32.Checksum(dst[from+4:], castagnoli))
	return dst
}

var zeros [blockBytes]byte

// blockReader reads the entries of a block.
type blockReader struct {
	data       []byte // and bitSlack bytes behind it
	first      int64  // the run's
	prefixes   [][]byte
	hashBits   uint
	prefixBits uint
	seqBits    uint
	even       bool // no id is a text: all entries are of one length

	remaining int // entries
	at        uint
	hash      uint64 // of the entry before
}

// open begins to read a block, of which data has bitSlack bytes more; hash is that of its first
// entry. It is false where the bytes are no block.
func (r *blockReader) open(data []byte, hash uint64, first int64) bool {
	if binary.LittleEndian.Uint32(data) != crc32.Checksum(data[4:blockBytes], castagnoli) {
		return false
	}
	r.data, r.first, r.hash, r.remaining = data, first, hash, int(data[4])
	r.hashBits, r.seqBits = uint(data[6]), uint(data[7])
	r.prefixBits, r.prefixes, r.even = prefixBits(int(data[5])), r.prefixes[:0], true
	at := blockHeader
	for range data[5] {
		n := prefixBytes(data[at:])
		if at+n >= blockBytes {
			return false
		}
		r.prefixes = append(r.prefixes, data[at:at+n:at+n])
		r.even = r.even && data[at+n-1] != textID
		at += n
	}
	r.at = uint(at) * 8
	return r.hashBits <= 64 && r.seqBits <= 64
}

// skip moves behind entries of lower hashes, where that is quickly done: what a repeat costs is
// mostly this.
func (r *blockReader) skip(hash uint64) {
	if !r.even {
		return
	}
	at, before, left := r.at, r.hash, r.remaining
	entry := r.hashBits + r.prefixBits + r.seqBits + contentBits + halfBits
	for ; left > 0 && at+entry <= blockBytes*8; left-- {
		next := before + bitsAt(r.data, at, r.hashBits)
		if next >= hash {
			break
		}
		at, before = at+entry, next
	}
	r.at, r.hash, r.remaining = at, before, left
}

// position is where the parts of an entry are.
type position struct {
	hash       uint64
	prefix     int
	seq        uint // bit
	id, idBits uint
}

// next moves behind the next entry. ok is false where the bytes are none.
func (r *blockReader) next() (p position, ok bool) {
	const end = blockBytes * 8
	at := r.at
	if at+r.hashBits+r.prefixBits+r.seqBits+contentBits+lengthBits > end {
		return p, false
	}
	p.hash = r.hash + bitsAt(r.data, at, r.hashBits)
	at += r.hashBits
	p.prefix = int(bitsAt(r.data, at, r.prefixBits))
	if p.prefix >= len(r.prefixes) {
		return p, false
	}
	p.seq = at + r.prefixBits
	p.id, p.idBits = p.seq+r.seqBits+contentBits, halfBits
	if formOf(r.prefixes[p.prefix]) == textID {
		p.idBits = 8 * uint(bitsAt(r.data, p.id, lengthBits))
		p.id += lengthBits
	}
	r.at, r.hash = p.id+p.idBits, p.hash
	r.remaining--
	return p, r.at <= end
}

// value returns the seq and the content of an entry.
func (r *blockReader) value(p position) (seq int64, content Content) {
	return r.first + int64(bitsAt(r.data, p.seq, r.seqBits)), Content(bitsAt(r.data, p.seq+r.seqBits, contentBits))
}

// isID says that an entry's id is this one, under the same hash and prefix.
func (r *blockReader) isID(p position, id []byte) bool {
	if formOf(r.prefixes[p.prefix]) != textID {
		return bitsAt(r.data, p.id, halfBits) == binary.BigEndian.Uint64(id[packedBytes/2:])
	}
	if p.idBits != 8*uint(len(id)) {
		return false
	}
	for i, c := range id {
		if byte(bitsAt(r.data, p.id+8*uint(i), 8)) != c {
			return false
		}
	}
	return true
}

// appendKey appends the key of an entry.
func (r *blockReader) appendKey(dst []byte, p position) []byte {
	prefix := r.prefixes[p.prefix]
	dst = append(dst, prefix...)
	if formOf(prefix) != textID {
		dst = binary.BigEndian.AppendUint64(dst, p.hash)
		return binary.BigEndian.AppendUint64(dst, bitsAt(r.data, p.id, halfBits))
	}
	for i := uint(0); i < p.idBits; i += 8 {
		dst = append(dst, byte(bitsAt(r.data, p.id+i, 8)))
	}
	return dst
}
