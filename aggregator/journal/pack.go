package journal

import (
	"errors"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
)

// minPacked is the body from which on a frame is packed: less has too little that repeats. An event
// of 230 bytes alone was 0.95 of it in S2, eight of them were 0.5.
const minPacked = 1 << 10

// errPacked means a body that is not what pack made.
var errPacked = errors.New("a packed frame that cannot be unpacked")

// scratches hold packed frames for as long as Read unpacks them.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// pack returns the frame in j.buf packed, with room for its header; nil if that is not worth it.
func (j *Journal) pack() []byte {
	body := j.buf[frameBytes:]
	if len(body) < minPacked {
		return nil
	}
	most := frameBytes + s2.MaxEncodedLen(len(body))
	j.packed = slices.Grow(j.packed[:0], most)[:most]
	packed := s2.Encode(j.packed[frameBytes:], body)
	if len(packed) > len(body)/8*7 {
		return nil
	}
	return j.packed[:frameBytes+len(packed)]
}

// unpackedBytes is the length of a packed body once it is unpacked.
func unpackedBytes(packed []byte) (int, error) {
	n, err := s2.DecodedLen(packed)
	if err != nil || n > MaxFrameBytes {
		return 0, errPacked
	}
	return n, nil
}

// unpack appends to the empty buf, which has room for it, what was packed.
func unpack(packed, buf []byte) ([]byte, error) {
	n, err := unpackedBytes(packed)
	if err != nil {
		return nil, err
	}
	buf = slices.Grow(buf[:0], n)[:n]
	if _, err := s2.Decode(buf, packed); err != nil {
		return nil, errPacked
	}
	return buf, nil
}
