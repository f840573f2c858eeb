package dedup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"sort"
)

// A run's file: blocks of entries, then the index (the filter's words, the first hash of each
// block), then the trailer.
const (
	trailerBytes = 8*6 + 4 + len(runMagic)
	runMagic     = runName + "4"
	runName      = "sekali run " // of every version
)

// ErrDamaged is wrapped by errors that mean a run's file is not what this package wrote. An Index
// removes such a file: the next Open makes it again from the events.
var ErrDamaged = errors.New("run of keys is damaged")

// errVersion means a run's file that another version of this package wrote, which is made again as
// well.
var errVersion = fmt.Errorf("%w: it has another version's form", ErrDamaged)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Run names a run; it is a row of the list that the database keeps.
type Run struct {
	File        string // in the index's folder; never used twice
	First, Last int64  // the range of seq whose keys it holds
	Keys        int64
}

// run is an open Run.
type run struct {
	Run
	path   string
	file   *os.File
	filter filter
	sparse []uint64 // the first hash of each block

	merging bool // guarded by the index's mu

	// Of the writer, the only one who looks up: the block that was read last.
	block   []byte
	blockAt int         // -1: none
	opened  blockReader // of it, at its beginning
}

// openRun opens a run's file and reads its index.
func openRun(dir string, named Run) (_ *run, err error) {
	f, err := os.Open(filepath.Join(dir, named.File))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", named.File, err), f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	trailer := make([]byte, trailerBytes)
	if info.Size() < int64(len(trailer)) {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, info.Size())
	}
	if _, err := f.ReadAt(trailer, info.Size()-int64(len(trailer))); err != nil {
		return nil, err
	}
	var n [6]int64
	for i := range n {
		n[i] = int64(binary.LittleEndian.Uint64(trailer[8*i:]))
	}
	first, last, keys, blocks, words, indexSum := n[0], n[1], n[2], n[3], n[4], n[5]
	sum := binary.LittleEndian.Uint32(trailer[48:])
	switch {
	case !bytes.HasPrefix(trailer[52:], []byte(runName)) || sum != crc32.Checksum(trailer[:48], castagnoli):
		return nil, fmt.Errorf("%w: its trailer", ErrDamaged)
	case string(trailer[52:]) != runMagic:
		return nil, errVersion
	case info.Size() != runBytes(blocks, words):
		return nil, fmt.Errorf("%w: %d bytes do not hold %d blocks", ErrDamaged, info.Size(), blocks)
	case Run{named.File, first, last, keys} != named:
		return nil, fmt.Errorf("%w: it holds %d keys of seq %d to %d, the list says %d of %d to %d", ErrDamaged, keys, first, last, named.Keys, named.First, named.Last)
	}
	raw := make([]byte, 8*(words+blocks))
	if _, err := f.ReadAt(raw, blocks*blockBytes); err != nil {
		return nil, err
	}
	if crc32.Checksum(raw, castagnoli) != uint32(indexSum) {
		return nil, fmt.Errorf("%w: its index", ErrDamaged)
	}
	return newRun(dir, named, f, filter(readWords(raw[:8*words])), readWords(raw[8*words:])), nil
}

func newRun(dir string, named Run, f *os.File, filter filter, sparse []uint64) *run {
	return &run{Run: named, path: filepath.Join(dir, named.File), file: f, filter: filter, sparse: sparse, block: make([]byte, blockBytes+bitSlack), blockAt: -1}
}

// runBytes is the size of a file of so many blocks with a filter of so many words.
func runBytes(blocks, words int64) int64 {
	return blocks*blockBytes + 8*(words+blocks) + int64(trailerBytes)
}

func (r *run) size() int64 { return runBytes(int64(len(r.sparse)), int64(len(r.filter))) }

func readWords(raw []byte) []uint64 {
	words := make([]uint64, len(raw)/8)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	return words
}

func appendWords(dst []byte, words []uint64) []byte {
	for _, w := range words {
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst
}

// damage is a block of a run that is not what was written.
type damage struct {
	run   *run
	block int
}

func (d *damage) Error() string {
	return fmt.Sprintf("%s: %v: block %d", d.run.File, ErrDamaged, d.block)
}
func (d *damage) Unwrap() error { return ErrDamaged }

// readBlock makes a block the one that was read last.
func (r *run) readBlock(i int) error {
	if r.blockAt == i {
		return nil
	}
	r.blockAt = -1
	if _, err := r.file.ReadAt(r.block[:blockBytes], int64(i)*blockBytes); err != nil {
		return fmt.Errorf("%s: %w", r.File, err)
	}
	if !r.opened.open(r.block, r.sparse[i], r.First) {
		return &damage{r, i}
	}
	r.blockAt = i
	return nil
}

// find looks a key up that the filter let through.
func (r *run) find(hash uint64, k key) (seq int64, content Content, ok bool, err error) {
	prefix, id := k[:prefixBytes(k)], k[prefixBytes(k):]
	// The last block that begins below the hash, and those behind it that begin with it: equal hashes
	// may cross blocks.
	at := max(0, sort.Search(len(r.sparse), func(i int) bool { return r.sparse[i] >= hash })-1)
	for ; at < len(r.sparse) && r.sparse[at] <= hash; at++ {
		if err := r.readBlock(at); err != nil {
			return 0, 0, false, err
		}
		number := slices.IndexFunc(r.opened.prefixes, func(p []byte) bool { return string(p) == string(prefix) })
		if number < 0 {
			continue
		}
		b := r.opened
		for b.skip(hash); b.remaining > 0; {
			p, ok := b.next()
			if !ok {
				return 0, 0, false, &damage{r, at}
			}
			if p.hash > hash {
				return 0, 0, false, nil
			}
			if p.hash == hash && p.prefix == number && b.isID(p, id) {
				seq, content = b.value(p)
				return seq, content, true, nil
			}
		}
	}
	return 0, 0, false, nil
}

// cursor reads a run from its beginning; it belongs to the worker, and reads beside the writer's
// look-ups.
type cursor struct {
	run   *run
	buf   []byte // several blocks
	next  int    // the block to read after those in buf
	blk   int    // the block within buf that comes after block
	have  int    // blocks in buf
	block blockReader
	entry entry // its key is valid until the next
}

// cursorBlocks is what a cursor reads at once: 256 KiB, so that a merge of eight holds 2 MiB.
const cursorBlocks = 128

func newCursor(r *run) *cursor {
	return &cursor{run: r, buf: make([]byte, cursorBlocks*blockBytes+bitSlack)}
}

// advance moves to the next entry; ok is false behind the last.
func (c *cursor) advance() (ok bool, err error) {
	for c.block.remaining == 0 {
		if c.blk == c.have {
			n := min(cursorBlocks, len(c.run.sparse)-c.next)
			if n == 0 {
				return false, nil
			}
			if _, err := c.run.file.ReadAt(c.buf[:n*blockBytes], int64(c.next)*blockBytes); err != nil {
				return false, fmt.Errorf("%s: %w", c.run.File, err)
			}
			c.next, c.have, c.blk = c.next+n, n, 0
		}
		at := c.next - c.have + c.blk
		if !c.block.open(c.buf[c.blk*blockBytes:], c.run.sparse[at], c.run.First) {
			return false, &damage{c.run, at}
		}
		c.blk++
	}
	p, ok := c.block.next()
	if !ok {
		return false, &damage{c.run, c.next - c.have + c.blk - 1}
	}
	c.entry.hash = p.hash
	c.entry.seq, c.entry.content = c.block.value(p)
	c.entry.key = c.block.appendKey(c.entry.key[:0], p)
	return true, nil
}
