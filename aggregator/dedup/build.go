package dedup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"sekali/aggregator/crash"
	"sekali/aggregator/internal/disk"
)

// syncBytes is written between two fdatasyncs of a run: a merge's bytes go to the disk as it goes,
// so that no journal's sync has to wait for more of them.
const syncBytes = 4 << 20

// indexWords is how many words of a run's index are written at a time.
const indexWords = 1 << 15

// builder writes a run's file. The entries come in order.
type builder struct {
	dir      string
	run      Run
	file     *os.File
	filter   filter
	sparse   []uint64
	block    *blockWriter
	out      []byte // what is not yet written
	unsynced int
	index    [][]uint64 // what is left of it to write, once all entries are
	words    int64      // that are written of it
	sum      uint32     // of those
}

// newBuilder begins a run of at most keys keys.
func newBuilder(dir string, named Run, keys int64) (*builder, error) {
	f, err := os.OpenFile(filepath.Join(dir, named.File), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &builder{dir: dir, run: named, file: f, filter: newFilter(keys), block: &blockWriter{}}, nil
}

func (b *builder) add(e entry) error {
	if !b.block.add(e, b.run.First) {
		// It begins the next block.
		if err := b.endBlock(); err != nil {
			return err
		}
		if !b.block.add(e, b.run.First) {
			return fmt.Errorf("a key of %d bytes is too long for a block", len(e.key))
		}
	}
	if b.block.size.entries == 1 {
		b.sparse = append(b.sparse, e.hash)
	}
	b.run.Keys++
	b.filter.add(e.hash)
	return nil
}

func (b *builder) endBlock() error {
	b.out = b.block.appendTo(b.out)
	b.block.begin()
	if len(b.out) >= cursorBlocks*blockBytes {
		return b.flush()
	}
	return nil
}

func (b *builder) flush() error {
	if _, err := b.file.Write(b.out); err != nil {
		return err
	}
	b.unsynced += len(b.out)
	b.out = b.out[:0]
	if b.unsynced < syncBytes {
		return nil
	}
	b.unsynced = 0
	return disk.Sync(b.file)
}

// finish writes all that is left and opens the run.
func (b *builder) finish() (*run, error) {
	for {
		if r, err := b.finishStep(); r != nil || err != nil {
			return r, err
		}
	}
}

// finishStep writes the index a piece at a time, for that of 16 million keys is 26 MB; then the
// trailer. It makes the file and its name durable, and returns the run when it is whole.
func (b *builder) finishStep() (*run, error) {
	if b.index == nil {
		if b.block.size.entries > 0 {
			if err := b.endBlock(); err != nil {
				return nil, err
			}
		}
		b.index = [][]uint64{b.filter, b.sparse}
	}
	for i, words := range b.index {
		if len(words) > 0 {
			n, from := min(indexWords, len(words)), len(b.out)
			b.out, b.index[i] = appendWords(b.out, words[:n]), words[n:]
			b.words += int64(n)
			b.sum = crc32.Update(b.sum, castagnoli, b.out[from:])
			return nil, b.flush()
		}
	}
	trailer := make([]byte, 0, trailerBytes)
	for _, n := range []int64{b.run.First, b.run.Last, b.run.Keys, int64(len(b.sparse)), int64(len(b.filter)), int64(b.sum)} {
		trailer = binary.LittleEndian.AppendUint64(trailer, uint64(n))
	}
	trailer = binary.LittleEndian.AppendUint32(trailer, crc32.Checksum(trailer, castagnoli))
	b.out = append(append(b.out, trailer...), runMagic...)
	if err := b.flush(); err != nil {
		return nil, err
	}
	crash.Here(crash.RunWritten)
	if err := errors.Join(disk.Sync(b.file), disk.SyncDir(b.dir)); err != nil {
		return nil, err
	}
	return newRun(b.dir, b.run, b.file, b.filter, b.sparse), nil
}

// abandon removes what was written.
func (b *builder) abandon() {
	b.file.Close()
	os.Remove(filepath.Join(b.dir, b.run.File))
}

// obsolete is what was written, to be removed in pieces.
func (b *builder) obsolete() *obsolete {
	g := &obsolete{path: filepath.Join(b.dir, b.run.File), file: b.file}
	if info, err := b.file.Stat(); err == nil { // else at once
		g.remaining = info.Size()
	}
	return g
}
