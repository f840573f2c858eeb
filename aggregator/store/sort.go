package store

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// nameSorter sorts names; what it needs is kept from one time to the next.
type nameSorter struct{ keys, other []nameKey }

// nameKey is the first eight bytes of a name that not all names begin with, and its number.
type nameKey struct {
	bytes  uint64
	number int32
}

// radixFrom is how many names are sorted byte by byte, at least: each byte costs a count of 256.
const radixFrom = 512

// sort returns the names' numbers in the order of the names, in a slice that it is given.
func (s *nameSorter) sort(names []string, order []int32) []int32 {
	same := samePrefix(names)
	s.keys = slices.Grow(s.keys[:0], len(names))[:len(names)]
	for i, name := range names {
		s.keys[i] = nameKey{first8(name[same:]), int32(i)}
	}
	byName := func(a, b nameKey) int {
		if a.bytes != b.bytes {
			return cmp.Compare(a.bytes, b.bytes)
		}
		return strings.Compare(names[a.number], names[b.number])
	}
	if len(names) < radixFrom {
		slices.SortFunc(s.keys, byName)
	} else {
		s.sortBytes()
		for from := 0; from < len(s.keys); { // those whose eight bytes are the same
			to := from + 1
			for to < len(s.keys) && s.keys[to].bytes == s.keys[from].bytes {
				to++
			}
			if to-from > 1 {
				slices.SortFunc(s.keys[from:to], byName)
			}
			from = to
		}
	}
	for _, k := range s.keys {
		order = append(order, k.number)
	}
	return order
}

// sortBytes sorts the keys by their eight bytes, from the last byte to the first.
func (s *nameSorter) sortBytes() {
	differ := uint64(0)
	for _, k := range s.keys {
		differ |= k.bytes ^ s.keys[0].bytes
	}
	s.other = slices.Grow(s.other[:0], len(s.keys))[:len(s.keys)]
	for shift := 0; shift < 64; shift += 8 {
		if byte(differ>>shift) == 0 {
			continue
		}
		var starts [256 + 1]int
		for _, k := range s.keys {
			starts[int(byte(k.bytes>>shift))+1]++
		}
		for i := 1; i < len(starts); i++ {
			starts[i] += starts[i-1]
		}
		for _, k := range s.keys {
			at := &starts[byte(k.bytes>>shift)]
			s.other[*at] = k
			*at++
		}
		s.keys, s.other = s.other, s.keys
	}
}

// samePrefix is how many bytes all names begin with alike.
func samePrefix(names []string) int {
	if len(names) == 0 {
		return 0
	}
	same := len(names[0])
	for _, name := range names {
		same = min(same, len(name))
		for name[:same] != names[0][:same] {
			same--
		}
	}
	return same
}

// first8 is the first eight bytes of a name, as a number that sorts as they do.
func first8(name string) uint64 {
	var bytes [8]byte
	copy(bytes[:], name)
	return binary.BigEndian.Uint64(bytes[:])
}
