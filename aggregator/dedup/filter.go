package dedup

import "math/bits"

const (
	// filterBits is a filter's size a key, filterProbes how many of them a key sets. With them about
	// one look in 200 for an absent key is let through; twice the bits would save little, for a look
	// costs a microsecond.
	filterBits   = 12
	filterProbes = 6
	// filterWords is a group of bits that one key's all lie in: a line of the CPU's cache.
	filterWords = 8
)

// filter says of a hash that it is absent, or that it may be there. Groups are in the order of
// hashes: a sorted batch walks through it from front to back.
type filter []uint64

func newFilter(keys int64) filter {
	groups := (keys*filterBits + filterWords*64 - 1) / (filterWords * 64)
	return make(filter, max(1, groups)*filterWords)
}

// group returns the place of a hash's group, and the bits from which its probes are taken. The
// group comes from the hash's high bits; multiplying mixes all of them into the probes.
func (f filter) group(hash uint64) (at int, probes uint64) {
	g, _ := bits.Mul64(hash, uint64(len(f)/filterWords))
	return int(g) * filterWords, hash * 0x9e3779b97f4a7c15
}

func (f filter) add(hash uint64) {
	at, probes := f.group(hash)
	group := f[at : at+filterWords]
	for range filterProbes {
		bit := probes >> 55 // nine bits: 512 places
		group[bit>>6] |= 1 << (bit & 63)
		probes <<= 9
	}
}

func (f filter) has(hash uint64) bool {
	at, probes := f.group(hash)
	group := f[at : at+filterWords]
	for range filterProbes {
		bit := probes >> 55
		if group[bit>>6]&(1<<(bit&63)) == 0 {
			return false
		}
		probes <<= 9
	}
	return true
}
