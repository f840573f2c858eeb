package dedup

// memtable is the keys of a range of seq in memory, found by hash. The writer grows it until it is
// immutable; then it is only read. It has no pointers that the garbage collector would follow.
type memtable struct {
	first, last int64 // the range of seq it covers; last is set when it is immutable
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

// newMemtable makes a table for so many keys, of so many bytes together, and the rest of a batch;
// it grows beyond.
func newMemtable(first int64, keys, keyBytes int) *memtable {
	capacity, bits := keys+keys/4, uint(4)
	for fill(1<<bits) < capacity {
		bits++
	}
	return &memtable{first: first, entries: make([]place, 0, capacity), keys: make([]byte, 0, keyBytes), slots: make([]uint64, 1<<bits), shift: 64 - bits}
}

// fill is how many keys so many slots are good for: two thirds.
func fill(slots int) int { return slots / 3 * 2 }

// reset makes a table that nobody reads any more an empty one; what it has grown to it keeps.
func (t *memtable) reset(first int64) {
	t.first, t.last, t.entries, t.keys = first, 0, t.entries[:0], t.keys[:0]
	clear(t.slots)
}

func (t *memtable) entry(i uint32) entry {
	p, end := &t.entries[i], uint32(len(t.keys))
	if next := int(i) + 1; next < len(t.entries) {
		end = t.entries[next].at
	}
	return entry{p.hash, p.seq, p.content, t.keys[p.at:end]}
}

// find returns the seq and the content of a key.
func (t *memtable) find(hash uint64, k key) (seq int64, content Content, ok bool) {
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
func (t *memtable) add(hash uint64, k key, seq int64, content Content) {
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

func (t *memtable) place(i int) {
	mask := uint64(len(t.slots) - 1)
	hash := t.entries[i].hash
	at := hash >> t.shift
	for t.slots[at] != 0 {
		at = (at + 1) & mask
	}
	t.slots[at] = hash<<32 | uint64(i+1)
}
