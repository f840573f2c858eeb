package dedup

import "encoding/binary"

// bitWriter writes numbers of so many bits each, the lowest first.
type bitWriter struct {
	out  []byte
	word uint64 // what is not yet in out
	used uint   // bits of it
}

func (w *bitWriter) put(v uint64, width uint) {
	w.word |= v << w.used
	if w.used+width < 64 {
		w.used += width
		return
	}
	w.out = binary.LittleEndian.AppendUint64(w.out, w.word)
	w.word = v >> (64 - w.used)
	w.used += width - 64
}

// end writes what is left, and returns it all.
func (w *bitWriter) end() []byte {
	for ; w.used > 0; w.used -= min(w.used, 8) {
		w.out = append(w.out, byte(w.word))
		w.word >>= 8
	}
	return w.out
}

// bitSlack is how many bytes bitsAt may look at behind a number's.
const bitSlack = 9

// bitsAt reads a number of at most 64 bits.
func bitsAt(data []byte, at, width uint) uint64 {
	word, shift := data[at/8:], at%8
	v := binary.LittleEndian.Uint64(word) >> shift
	if shift+width > 64 {
		v |= uint64(word[8]) << (64 - shift)
	}
	return v & (1<<width - 1)
}
