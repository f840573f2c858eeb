package inflate

import (
	"bytes"
	"math/bits"
	"sync"
)

// entry says what a code stands for, from its lowest bit: 5 bits of how many bits it has, 0 where
// there is no such code; 4 of how many follow it, which are added to the value; 2 of its kind; and
// from the 17th on a value. Of a subtable's, the bits that follow are those that look into it.
type entry uint32

const (
	literal  = 0 << 9
	match    = 1 << 9 // the value is the least length, or distance
	end      = 2 << 9
	subtable = 3 << 9 // the value is where it begins
	kinds    = 3 << 9
)

func newEntry(kind, value, extra int) entry { return entry(value<<16 | kind | extra<<5) }

func (e entry) bits() uint  { return uint(e & 31) }
func (e entry) extra() uint { return uint(e>>5) & 15 }
func (e entry) kind() int   { return int(e) & kinds }
func (e entry) value() int  { return int(e >> 16) }
func (e entry) mask() int   { return 1<<e.extra() - 1 }

// What symbols stand for. What has no entry is no symbol.
var (
	literalSymbols  [maxLiterals]entry
	distanceSymbols [maxDistances]entry
	lengthSymbols   [19]entry // code lengths, and 16 to 18, which repeat some
)

func init() {
	for i := range 256 {
		literalSymbols[i] = newEntry(literal, i, 0)
	}
	literalSymbols[256] = newEntry(end, 0, 0)
	base := 3
	for i := range 28 {
		extra := max(0, i/4-1)
		literalSymbols[257+i] = newEntry(match, base, extra)
		base += 1 << extra
	}
	literalSymbols[285] = newEntry(match, 258, 0)
	base = 1
	for i := range 30 {
		extra := max(0, i/2-1)
		distanceSymbols[i] = newEntry(match, base, extra)
		base += 1 << extra
	}
	for i := range lengthSymbols {
		lengthSymbols[i] = newEntry(match, i, 0)
	}
}

// makeTable makes a table of the codes of these lengths, whose first look is at so many bits;
// false: there are no such codes. Where some bits begin no code, there are none either, but for no
// code at all and for one of a single bit, as in compress/flate.
func makeTable(table []entry, first int, lengths []uint8, symbols []entry) ([]entry, bool) {
	var count, next [17]int
	longest, codes := 0, 0
	for _, n := range lengths {
		if n > 0 {
			count[n]++
			codes++
			longest = max(longest, int(n))
		}
	}
	left := 1
	for n := 1; n <= longest; n++ {
		next[n+1] = (next[n] + count[n]) << 1
		if left = left<<1 - count[n]; left < 0 {
			return table, false
		}
	}
	if left > 0 && codes > 0 && (codes > 1 || longest > 1) {
		return table, false
	}
	table = append(table[:0], make([]entry, 1<<first)...)
	for symbol, length := range lengths {
		n := int(length)
		if n == 0 {
			continue
		}
		code := int(bits.Reverse16(uint16(next[n])) >> (16 - n)) // its first bit is the lowest in the input
		next[n]++
		e := symbols[symbol]
		if e == 0 && symbol != 0 {
			continue // a symbol that must not be
		}
		e |= entry(n)
		if n <= first {
			for ; code < 1<<first; code += 1 << n {
				table[code] = e
			}
			continue
		}
		at, more := code&(1<<first-1), longest-first
		if table[at] == 0 {
			table[at] = newEntry(subtable, len(table), more)
			table = append(table, make([]entry, 1<<more)...)
		}
		sub := table[table[at].value():]
		for code >>= first; code < 1<<more; code += 1 << (n - first) {
			sub[code] = e
		}
	}
	return table, true
}

// fixed returns the codes that a block may have without telling them.
var fixed = sync.OnceValues(func() (literals, distances []entry) {
	var lengths [maxLiterals]uint8
	for i := range lengths {
		switch {
		case i >= 144 && i < 256:
			lengths[i] = 9
		case i >= 256 && i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	literals, _ = makeTable(nil, literalBits, lengths[:], literalSymbols[:])
	distances, _ = makeTable(nil, distanceBits, bytes.Repeat([]byte{5}, maxDistances), distanceSymbols[:])
	return literals, distances
})

// lengthOrder is in which order the lengths of the codes of code lengths are told.
var lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a block that tells them.
func (z *Inflater) dynamic(in *input) bool {
	head, ok := in.take(14)
	literals, distances, lengths := int(head&31)+257, int(head>>5&31)+1, int(head>>10)+4
	if !ok || literals > 286 || distances > 30 {
		return false
	}
	var of [19]uint8
	for _, i := range lengthOrder[:lengths] {
		n, ok := in.take(3)
		if !ok {
			return false
		}
		of[i] = uint8(n)
	}
	if z.literals, ok = makeTable(z.literals, lengthBits, of[:], lengthSymbols[:]); !ok {
		return false
	}
	all := z.lengths[:literals+distances]
	if !readLengths(all, z.literals, in) {
		return false
	}
	if z.literals, ok = makeTable(z.literals, literalBits, all[:literals], literalSymbols[:]); !ok {
		return false
	}
	z.distances, ok = makeTable(z.distances, distanceBits, all[literals:], distanceSymbols[:])
	return ok
}

// readLengths reads the code lengths of a block by their own codes.
func readLengths(into []uint8, codes []entry, in *input) bool {
	for i := 0; i < len(into); {
		in.fill()
		e := codes[in.bits&(1<<lengthBits-1)]
		if _, ok := in.take(e.bits()); e.bits() == 0 || !ok {
			return false
		}
		symbol := e.value()
		if symbol < 16 {
			into[i] = uint8(symbol)
			i++
			continue
		}
		length := uint8(0)
		bits, least := uint(7), uint(11)
		switch symbol {
		case 16:
			if i == 0 {
				return false
			}
			length, bits, least = into[i-1], 2, 3
		case 17:
			bits, least = 3, 3
		}
		more, ok := in.take(bits)
		if !ok || int(more+least) > len(into)-i {
			return false
		}
		for range more + least {
			into[i] = length
			i++
		}
	}
	return true
}
