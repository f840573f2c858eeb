package dedup

// Batch is what an Index decides on at once: the identities of events, and their contents. It is
// filled beside the Index, by one goroutine at a time.
type Batch struct {
	hasher   hasher
	probes   []ranked // the identities, at their rows
	sorted   bool
	keys     []byte   // of all rows, one behind the other
	ends     []uint32 // where each row's key ends
	contents []Content
	sorter   sorter
}

// NewBatch returns an empty batch, for this index and any other with the same secret.
func (x *Index) NewBatch() *Batch { return &Batch{hasher: x.hasher} }

// Reset empties the batch.
func (b *Batch) Reset() {
	b.probes, b.keys, b.ends, b.contents = b.probes[:0], b.keys[:0], b.ends[:0], b.contents[:0]
}

// Add appends an event.
func (b *Batch) Add(topic, id string, content Content) {
	var hash uint64
	b.keys, hash = appendKey(b.hasher, b.keys, topic, id)
	b.ends, b.contents = append(b.ends, uint32(len(b.keys))), append(b.contents, content)
	b.probes, b.sorted = append(b.probes, ranked{hash, uint32(len(b.probes))}), false
}

// Len is how many events it has.
func (b *Batch) Len() int { return len(b.ends) }

// Sort spares Decide the sorting.
func (b *Batch) Sort() {
	if !b.sorted {
		b.probes, b.sorter.out = b.sorter.sort(b.probes), b.probes
		b.sorted = true
	}
}

// key returns that of a row.
func (b *Batch) key(row uint32) key {
	from := uint32(0)
	if row > 0 {
		from = b.ends[row-1]
	}
	return key(b.keys[from:b.ends[row]])
}
