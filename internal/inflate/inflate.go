// Package inflate unpacks zlib (RFC 1950, 1951) from memory to memory. A reader of a stream, as
// compress/zlib and klauspost's have it, asks for its input byte by byte, keeps what it has
// unpacked in a window, and copies it out of there. Where all of it is at hand, that is half of the
// work.
package inflate

import (
	"encoding/binary"
	"errors"
	"hash/adler32"
)

// ErrCorrupt means bytes that are not zlib, or not of that length.
var ErrCorrupt = errors.New("inflate: not zlib of that length")

// Inflater unpacks; it belongs to one goroutine. The zero Inflater is ready.
type Inflater struct {
	literals  []entry
	distances []entry
	lengths   [maxLiterals + maxDistances]uint8
}

const (
	maxLiterals  = 288
	maxDistances = 32
	// What a code's first bits say is looked up at once; the few that are longer take a second look.
	literalBits  = 10
	distanceBits = 8
	lengthBits   = 7 // of the codes of code lengths, none of which is longer
	// neededBits is the most that a match takes: two codes, and what follows them.
	neededBits = 15 + 5 + 15 + 13
)

// input is the packed bytes, of which bits holds the next count bits, the lowest first. What is
// above them are the bits that follow, or zero.
type input struct {
	from  []byte
	at    int
	bits  uint64
	count uint
}

// fill makes count 56 at least, or as much as is left.
func (in *input) fill() {
	if in.at+8 <= len(in.from) {
		in.bits |= binary.LittleEndian.Uint64(in.from[in.at:]) << in.count
		in.at += int((63 - in.count) >> 3)
		in.count |= 56
		return
	}
	for in.count < 56 && in.at < len(in.from) {
		in.bits |= uint64(in.from[in.at]) << in.count
		in.at++
		in.count += 8
	}
}

// take returns the next n bits, 16 at most; false: there are fewer.
func (in *input) take(n uint) (uint, bool) {
	if in.count < n {
		if in.fill(); in.count < n {
			return 0, false
		}
	}
	value := uint(in.bits) & (1<<n - 1)
	in.bits >>= n
	in.count -= n
	return value, true
}

// align goes on to the next whole byte, which is at at then.
func (in *input) align() {
	in.at -= int(in.count >> 3)
	in.bits, in.count = 0, 0
}

// Unpack fills to with what packed stands for: with all of it, if whole, and else with its
// beginning. Only of a whole one is the end looked at, and its checksum.
func (z *Inflater) Unpack(to, packed []byte, whole bool) error {
	if len(packed) < 2 || packed[0]&0x0f != 8 || packed[0]>>4 > 7 || packed[1]&0x20 != 0 || binary.BigEndian.Uint16(packed)%31 != 0 {
		return ErrCorrupt
	}
	in := input{from: packed, at: 2}
	out := 0
	for last := false; !last; {
		head, ok := in.take(3)
		if !ok {
			return ErrCorrupt
		}
		last = head&1 != 0
		switch head >> 1 {
		case 0:
			out, ok = stored(to, out, &in, whole)
		case 1:
			literals, distances := fixed()
			out, ok = block(to, out, &in, literals, distances, whole)
		case 2:
			if ok = z.dynamic(&in); ok {
				out, ok = block(to, out, &in, z.literals, z.distances, whole)
			}
		default:
			ok = false
		}
		if !ok {
			return ErrCorrupt
		}
		if !whole && out == len(to) {
			return nil
		}
	}
	in.align()
	if out < len(to) || in.at+4 > len(packed) || binary.BigEndian.Uint32(packed[in.at:]) != adler32.Checksum(to) {
		return ErrCorrupt
	}
	return nil
}

// stored copies a block that is as it was.
func stored(to []byte, out int, in *input, whole bool) (int, bool) {
	in.align()
	if in.at+4 > len(in.from) {
		return out, false
	}
	n := int(binary.LittleEndian.Uint16(in.from[in.at:]))
	if n != int(^binary.LittleEndian.Uint16(in.from[in.at+2:])) || in.at+4+n > len(in.from) || whole && n > len(to)-out {
		return out, false
	}
	copy(to[out:], in.from[in.at+4:in.at+4+n])
	in.at += 4 + n
	return min(out+n, len(to)), true
}

// block unpacks a block by its codes, to its end, or to the end of to where that is not whole.
func block(to []byte, out int, in *input, literals, distances []entry, whole bool) (int, bool) {
	from, at, bits, count := in.from, in.at, in.bits, in.count
	for {
		if count < neededBits { // as fill does
			if at+8 <= len(from) {
				bits |= binary.LittleEndian.Uint64(from[at:]) << count
				at += int((63 - count) >> 3)
				count |= 56
			} else {
				for count < 56 && at < len(from) {
					bits |= uint64(from[at]) << count
					at++
					count += 8
				}
			}
		}
		e := literals[bits&(1<<literalBits-1)]
		if e.kind() == subtable {
			e = literals[e.value()+int(bits>>literalBits)&e.mask()]
		}
		if e.bits() == 0 || e.bits() > count {
			return out, false
		}
		bits >>= e.bits()
		count -= e.bits()
		if e.kind() == literal {
			if out == len(to) {
				return out, !whole
			}
			to[out] = byte(e.value())
			out++
			continue
		}
		if e.kind() == end {
			in.at, in.bits, in.count = at, bits, count
			return out, true
		}
		length := e.value() + int(bits&(1<<e.extra()-1))
		bits >>= e.extra()
		count -= e.extra()
		d := distances[bits&(1<<distanceBits-1)]
		if d.kind() == subtable {
			d = distances[d.value()+int(bits>>distanceBits)&d.mask()]
		}
		bits >>= d.bits()
		distance := d.value() + int(bits&(1<<d.extra()-1))
		bits >>= d.extra()
		count -= d.bits() + d.extra()
		if count > 64 || d.bits() == 0 || distance > out { // less than 0, a code of nothing, or what was never there
			return out, false
		}
		if length > len(to)-out {
			if whole {
				return out, false
			}
			repeat(to[out:], to[out-distance:out])
			return len(to), true
		}
		repeat(to[out:out+length], to[out-distance:out])
		out += length
	}
}

// repeat fills to with what is before it, again and again if that is less.
func repeat(to, before []byte) {
	for n := copy(to, before); n < len(to); { // what is before has grown
		n += copy(to[n:], to[:n])
	}
}
