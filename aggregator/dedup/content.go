package dedup

import (
	"hash/crc32"
	"unsafe"
)

// Content is a checksum of what an event says beside its identity. It tells a repeat from a
// conflict, an event that has the identity of another and says something else, and decides nothing:
// both are duplicates. 0: it is not known.
type Content uint32

// ContentOf returns the checksum. Different contents have the same one time in 2^32: that conflict
// is missed.
func ContentOf(timestamp, source, payload string) Content {
	sum := uint32(len(timestamp))<<8 | uint32(len(source)) // where one text ends and the next begins
	for _, text := range [...]string{timestamp, source, payload} {
		sum = crc32.Update(sum, castagnoli, unsafe.Slice(unsafe.StringData(text), len(text)))
	}
	return max(Content(sum), 1)
}

// Conflicts reports that both are known, and differ.
func (c Content) Conflicts(with Content) bool { return c != with && c != 0 && with != 0 }
