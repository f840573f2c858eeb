// Package dedup knows the identity of every stored event, exactly and for ever, at a cost that
// stays flat as the store grows.
//
//	batch ─▶ sorted by hash ─▶ newest keys (memory) ─▶ runs (files), newest first
//	                             │ full: frozen
//	                             └▶ worker: written as a run; eight neighbours merged into one
//
// A run is a file of keys sorted by a secret hash. In memory it has a filter and the first hash of
// each block, about 1.7 bytes a key together. A filter only saves a look: what it lets through is
// read from the file and compared byte for byte, so neither a filter nor a hash ever decides that
// an event is a duplicate.
//
// The runs hold nothing that the database does not: each covers a range of seq, and can be made
// again from the events in it. The database also holds the list of runs, changed in the
// transactions that store events. So a crash at any moment leaves a list whose files were
// synced before it named them; files that are not on it are removed at the next start, and the
// newest keys are read back from the events behind the last run.
//
// Merging is done beside the writer, by one goroutine, smallest first: each key is written once
// when it leaves memory and once for every eightfold growth of the store. A B-tree instead writes,
// for keys in random order, a page a key.
package dedup

import (
	"cmp"
	"encoding/binary"
)

// Key is an identity as the index keeps it: the topic behind its length, then the id behind its
// length; an id that is a UUID in its usual form is a zero and 16 bytes. Different identities have
// different keys.
type key []byte

const (
	maxKeyBytes  = 2 * (1 + 255)
	uuidBytes    = 36 // as text
	packedID     = 0  // no id is empty, so no length is zero
	packedLength = 16
)

// appendKey appends the key of an identity whose texts have 1 to 255 bytes.
func appendKey(dst []byte, topic, id string) []byte {
	dst = append(dst, byte(len(topic)))
	dst = append(dst, topic...)
	if packed, ok := packUUID(id); ok {
		return append(append(dst, packedID), packed[:]...)
	}
	dst = append(dst, byte(len(id)))
	return append(dst, id...)
}

// packUUID packs an id of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx with lower case digits, and
// only that: two spellings of one UUID are two identities.
func packUUID(id string) (packed [packedLength]byte, ok bool) {
	if len(id) != uuidBytes || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return packed, false
	}
	at := 0
	for i := 0; i < uuidBytes; i += 2 {
		if id[i] == '-' {
			i++
		}
		high, low := digits[id[i]], digits[id[i+1]]
		if high|low > 0xf {
			return packed, false
		}
		packed[at] = high<<4 | low
		at++
	}
	return packed, true
}

// digits are the values of the lower case hexadecimal digits; others are 0xff.
var digits = func() (table [256]byte) {
	for i := range table {
		table[i] = 0xff
	}
	for i, c := range "0123456789abcdef" {
		table[c] = byte(i)
	}
	return table
}()

// entry is a key with its hash, the seq under which its event is stored, and that event's content.
type entry struct {
	hash    uint64
	seq     int64
	content Content
	key     key
}

// byHash orders entries as a run has them. Among equal hashes the seq decides, so that the order is
// one.
func byHash(a, b entry) int {
	if a.hash != b.hash {
		return cmp.Compare(a.hash, b.hash)
	}
	return cmp.Compare(a.seq, b.seq)
}

// table is the keys of a range of seq in memory, found by hash. It grows until it is frozen;
// frozen, it is only read. It has no pointers that the garbage collector would follow.
type table struct {
	first, last int64 // the range of seq it covers; last is set when it is frozen
	entries     []place
	keys        []byte   // one behind the other
	slots       []uint64 // open addressing, by the hash's high bits: its low half, and the index into entries + 1
	shift       uint     // 64 - log2(len(slots))
}

// place is an entry whose key is in its table's keys.
type place struct {
	hash    uint64
	seq     int64
	content Content
	at      uint32 // to where the next one's begins
}

// newTable makes a table for so many keys, of so many bytes together, and the rest of a batch; it
// grows beyond.
func newTable(first int64, keys, keyBytes int) *table {
	capacity, bits := keys+keys/4, uint(4)
	for fill(1<<bits) < capacity {
		bits++
	}
	return &table{first: first, entries: make([]place, 0, capacity), keys: make([]byte, 0, keyBytes), slots: make([]uint64, 1<<bits), shift: 64 - bits}
}

// fill is how many keys so many slots are good for: two thirds.
func fill(slots int) int { return slots / 3 * 2 }

// reset makes a table that nobody reads any more an empty one; what it has grown to it keeps.
func (t *table) reset(first int64) {
	t.first, t.last, t.entries, t.keys = first, 0, t.entries[:0], t.keys[:0]
	clear(t.slots)
}

func (t *table) entry(i uint32) entry {
	p, end := &t.entries[i], uint32(len(t.keys))
	if next := int(i) + 1; next < len(t.entries) {
		end = t.entries[next].at
	}
	return entry{p.hash, p.seq, p.content, t.keys[p.at:end]}
}

// find returns the seq and the content of a key.
func (t *table) find(hash uint64, k key) (seq int64, content Content, ok bool) {
	mask := uint64(len(t.slots) - 1)
	for i := hash >> t.shift; t.slots[i] != 0; i = (i + 1) & mask {
		slot := t.slots[i]
		if slot>>32 != hash&(1<<32-1) {
			continue
		}
		if e := t.entry(uint32(slot) - 1); e.hash == hash && string(e.key) == string(k) {
			return e.seq, e.content, true
		}
	}
	return 0, 0, false
}

// add copies a key that is not there.
func (t *table) add(hash uint64, k key, seq int64, content Content) {
	t.entries = append(t.entries, place{hash, seq, content, uint32(len(t.keys))})
	t.keys = append(t.keys, k...)
	if len(t.entries) > fill(len(t.slots)) {
		t.slots, t.shift = make([]uint64, 2*len(t.slots)), t.shift-1
		for i := range t.entries {
			t.place(i)
		}
		return
	}
	t.place(len(t.entries) - 1)
}

func (t *table) place(i int) {
	mask := uint64(len(t.slots) - 1)
	hash := t.entries[i].hash
	at := hash >> t.shift
	for t.slots[at] != 0 {
		at = (at + 1) & mask
	}
	t.slots[at] = hash<<32 | uint64(i+1)
}

// tableSorter sorts tables, one at a time; what it needs is kept from one to the next.
type tableSorter struct {
	keys   []ranked
	sorter sorter
}

// A table is sorted in 1 << sortPartBits parts, by the hash's first bits, so that an eighth of its
// order is kept, 1 MB, and not all.
const sortPartBits = 3

// each calls f for the entries of a table as a run has them, until it fails: by hash, and equal
// ones by seq, which rises among them in the table as well.
func (s *tableSorter) each(t *table, f func(entry) error) error {
	for part := range uint64(1 << sortPartBits) {
		s.keys = s.keys[:0]
		for i := range t.entries {
			if hash := t.entries[i].hash; hash>>(64-sortPartBits) == part {
				s.keys = append(s.keys, ranked{hash << sortPartBits, uint32(i)}) // the rest, so that the sorter sees all of its range
			}
		}
		for _, k := range s.sorter.sort(s.keys) {
			if err := f(t.entry(k.at)); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendEntry appends the form an entry has in a block: its hash, its content, its seq as a
// distance from the run's first, its key behind its length.
func appendEntry(dst []byte, e entry, first int64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, e.hash)
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.content))
	dst = binary.AppendUvarint(dst, uint64(e.seq-first))
	dst = binary.AppendUvarint(dst, uint64(len(e.key)))
	return append(dst, e.key...)
}

const maxEntryBytes = 8 + 4 + binary.MaxVarintLen64 + 2 + maxKeyBytes

// nextEntry reads an entry and returns the bytes behind it; the key points into data. ok is false
// where the bytes are no entry.
func nextEntry(data []byte, first int64) (e entry, rest []byte, ok bool) {
	if len(data) < 12 {
		return e, nil, false
	}
	e.hash, e.content = binary.BigEndian.Uint64(data), Content(binary.BigEndian.Uint32(data[8:]))
	data = data[12:]
	distance, n := binary.Uvarint(data)
	if n <= 0 {
		return e, nil, false
	}
	data = data[n:]
	size, n := binary.Uvarint(data)
	if n <= 0 || size > uint64(len(data)-n) {
		return e, nil, false
	}
	data = data[n:]
	e.seq, e.key = first+int64(distance), data[:size:size]
	return e, data[size:], true
}
