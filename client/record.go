package client

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A record of the spool is a header of four numbers, little-endian, and an encoded event:
// recordMark, the event's length, durable, and a CRC-32C of the two before it and the event.
// Durable is the length of its segment that was known to be on the disk when it was written.
const (
	recordMark  = 0x314c4b53 // "SKL1"
	headerBytes = 16
	// maxSegmentBytes bounds a segment that is read: 8 MiB, and one event of 16 MiB.
	maxSegmentBytes = 32 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends the record of an event to dst.
func appendRecord(dst, event []byte, durable int64) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, recordMark)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(event)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(durable))
	sum := crc32.Update(crc32.Checksum(dst[start+4:], castagnoli), castagnoli, event)
	return append(binary.LittleEndian.AppendUint32(dst, sum), event...)
}

// parseRecord reads the record that text begins with. It is not ok if there is no whole one.
func parseRecord(text []byte) (event []byte, durable int64, ok bool) {
	if len(text) < headerBytes || binary.LittleEndian.Uint32(text) != recordMark {
		return nil, 0, false
	}
	length := int64(binary.LittleEndian.Uint32(text[4:]))
	if length == 0 || length > int64(len(text)-headerBytes) {
		return nil, 0, false
	}
	event = text[headerBytes : headerBytes+length]
	sum := crc32.Update(crc32.Checksum(text[4:12], castagnoli), castagnoli, event)
	return event, int64(binary.LittleEndian.Uint32(text[8:])), sum == binary.LittleEndian.Uint32(text[12:])
}

// scan reads a segment from its beginning. Whole is the length of its whole records. A rest that
// is no record is what a crash can leave of records that nobody was promised, and then the error is
// nil; unless a later record says that it was on the disk.
func scan(text []byte) (events int, whole, bytes int64, err error) {
	for {
		event, _, ok := parseRecord(text[whole:])
		if !ok {
			break
		}
		events++
		bytes += int64(len(event))
		whole += headerBytes + int64(len(event))
	}
	if provesMore(text[whole:], whole) {
		return events, whole, bytes, fmt.Errorf("%w at byte %d", ErrSpoolDamaged, whole)
	}
	return events, whole, bytes, nil
}

// provesMore is true if a record in the rest of a segment says that more than whole bytes of it
// were on the disk.
func provesMore(rest []byte, whole int64) bool {
	mark := binary.LittleEndian.AppendUint32(nil, recordMark)
	for at := 0; ; at++ {
		next := bytes.Index(rest[at:], mark)
		if next < 0 {
			return false
		}
		at += next
		if _, durable, ok := parseRecord(rest[at:]); ok && durable > whole {
			return true
		}
	}
}
