package dedup

import (
	"cmp"
	"encoding/binary"
)

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
