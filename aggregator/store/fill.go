package store

// blockFill says where a block has to end so that its row fills SQLite's pages. A row that is
// larger than a page has a page of its own for most of it and leaves the rest among others: of 9
// to 12 KB an eighth of the room is lost at most. A row of 6 KB, or of 14, loses a quarter or more,
// for no second one fits beside it.
type blockFill struct {
	ratio float64 // packed bytes by bytes of data, of the blocks before; 0: there was none
}

const (
	// packedBytes is what a packed block is to have: the middle of what fills its pages well.
	packedBytes = PageBytes * 13 / 10
	// firstRatio is taken for the first block: logs pack to this, more or less.
	firstRatio = 0.25
	// ratioWeight is how much the newest block counts against those before.
	ratioWeight = 0.25
)

// dataBytes is how much data the next block may have.
func (f *blockFill) dataBytes() int {
	ratio := f.ratio
	if ratio == 0 {
		ratio = firstRatio
	}
	return min(int(packedBytes/ratio), blockBytes)
}

// packed learns from a block. One that ended early, with its batch, packs worse than others and
// says less.
func (f *blockFill) packed(data, packed int) {
	if data < f.dataBytes()/2 {
		return
	}
	ratio := float64(packed) / float64(data)
	if f.ratio == 0 {
		f.ratio = ratio
	}
	f.ratio += ratioWeight * (ratio - f.ratio)
}
