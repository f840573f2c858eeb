package store

import "sync"

const (
	// deepLooks is how many looks of a search are at places that other searches look at as well: the
	// first halves a million numbers, and the eleventh what is left of them, a thousand.
	deepLooks = 11
	// maxMarks bounds what is remembered, 100 bytes each. Then all of it is forgotten.
	maxMarks = 1 << (deepLooks + 1)
)

// mark is what a look at a number returned: a stored one, up to which the answer is the same, and
// its time. Numbers are used once, so that a mark stays true, also of what has expired since.
type mark struct {
	stored, last int64
	at           string
}

// marks remembers the looks of searches for a time. A look unpacks the beginning of a block, and a
// search among a million numbers takes a dozen.
type marks struct {
	mu sync.Mutex
	of map[int64]mark
}

func (m *marks) get(seq int64) (found mark, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok = m.of[seq]
	return found, ok
}

func (m *marks) put(seq int64, found mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil || len(m.of) >= maxMarks {
		m.of = map[int64]mark{}
	}
	m.of[seq] = found
}
