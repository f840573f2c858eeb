package audit

import "math/bits"

// bitset holds one bit an original, by the original's number.
type bitset []uint64

func newBitset(n uint64) bitset { return make(bitset, (n+63)/64) }

func (b bitset) set(i uint64)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i uint64) bool { return b[i/64]&(1<<(i%64)) != 0 }

// count returns how many bits are set in keep and in none of the others.
func count(keep bitset, without ...bitset) uint64 {
	var n int
	for i, word := range keep {
		for _, other := range without {
			word &^= other[i]
		}
		n += bits.OnesCount64(word)
	}
	return uint64(n)
}

// and returns the bits that both have.
func and(a, b bitset) bitset {
	both := make(bitset, len(a))
	for i := range a {
		both[i] = a[i] & b[i]
	}
	return both
}

// or returns the bits that either has.
func or(a, b bitset) bitset {
	either := make(bitset, len(a))
	for i := range a {
		either[i] = a[i] | b[i]
	}
	return either
}
