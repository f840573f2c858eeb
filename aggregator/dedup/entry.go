package dedup

import "cmp"

// entry is a key with its hash, the seq under which its event is stored, and that event's content.
type entry struct {
	hash    uint64
	seq     int64
	content Content
	key     key
}

// byHash orders entries as a run has them. Among equal hashes the seq decides, so that the order is
// one.
func byHash(a, b entry) int {
	if a.hash != b.hash {
		return cmp.Compare(a.hash, b.hash)
	}
	return cmp.Compare(a.seq, b.seq)
}
