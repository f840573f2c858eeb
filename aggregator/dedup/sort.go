package dedup

import (
	"cmp"
	"math/bits"
	"slices"
)

// ranked is a key by its hash, and its place in a batch or a table.
type ranked struct {
	hash uint64
	at   uint32
}

// sorter sorts keys by hash, equal ones by place; what it needs is kept from one time to the next.
type sorter struct {
	out    []ranked
	starts []uint32
}

// bucketKeys is how many keys a bucket has on average.
const bucketKeys = 8

// sort returns the keys in order, in a slice that is valid until the next sort. A hash's high bits
// say about where it belongs, so each key is moved there at once and only the few in a bucket are
// compared.
func (s *sorter) sort(keys []ranked) []ranked {
	shift := 64 - uint(bits.Len(uint(len(keys)/bucketKeys)))
	s.starts = append(s.starts[:0], make([]uint32, 1<<(64-shift)+1)...)
	for _, k := range keys {
		s.starts[k.hash>>shift+1]++
	}
	for i := 1; i < len(s.starts); i++ {
		s.starts[i] += s.starts[i-1]
	}
	s.out = slices.Grow(s.out[:0], len(keys))[:len(keys)]
	for _, k := range keys {
		at := &s.starts[k.hash>>shift]
		s.out[*at] = k
		*at++
	}
	// Each start has moved to the next one's place.
	from := uint32(0)
	for _, to := range s.starts[:len(s.starts)-1] {
		if to-from > 1 {
			slices.SortFunc(s.out[from:to], byRank)
		}
		from = to
	}
	return s.out
}

func byRank(a, b ranked) int {
	if a.hash != b.hash {
		return cmp.Compare(a.hash, b.hash)
	}
	return cmp.Compare(a.at, b.at)
}

// memtableSorter sorts tables, one at a time; what it needs is kept from one to the next.
type memtableSorter struct {
	keys   []ranked
	sorter sorter
}

// A table is sorted in 1 << sortPartBits parts, by the hash's first bits, so that an eighth of its
// order is kept, 1 MB, and not all.
const sortPartBits = 3

// each calls f for the entries of a table as a run has them, until it fails: by hash, and equal
// ones by seq, which rises among them in the table as well.
func (s *memtableSorter) each(t *memtable, f func(entry) error) error {
	for part := range uint64(1 << sortPartBits) {
		s.keys = s.keys[:0]
		for i := range t.entries {
			if hash := t.entries[i].hash; hash>>(64-sortPartBits) == part {
				s.keys = append(s.keys, ranked{hash << sortPartBits, uint32(i)}) // the rest, so that the sorter sees all of its range
			}
		}
		for _, k := range s.sorter.sort(s.keys) {
			if err := f(t.entry(k.at)); err != nil {
				return err
			}
		}
	}
	return nil
}
