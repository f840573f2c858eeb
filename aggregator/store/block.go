package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"sync"

	"sekali/aggregator/event"
	"sekali/internal/sqlite"
)

// A block ends when it has blockEvents, or with the event that takes its data to blockBytes; before
// that where it fills SQLite's pages better, see blockFill. Reading one event reads its block; see
// BenchmarkApply and BenchmarkEvents for what other sizes cost.
const (
	blockEvents = 512
	blockBytes  = 64 << 10
	// receivedBytes is the length of every received_at.
	receivedBytes = len("2006-01-02T15:04:05.000000000Z")
	// directoryNumbers is how many numbers the directory has for an event; layout_blocks.sql says
	// which.
	directoryNumbers = 8
)

// block gathers neighbours on their way into the table blocks.
type block struct {
	first, last int64 // seqs
	events      int
	directory   []byte
	data        []byte
	receivedAt  string // the latest, which begins at received
	received    int
}

// begin empties b; its first event will have this seq.
func (b *block) begin(first int64) {
	b.first, b.events, b.receivedAt = first, 0, ""
	b.directory, b.data = append(b.directory[:0], '['), b.data[:0]
}

// full reports that b ends here.
func (b *block) full() bool { return b.events == blockEvents || len(b.data) >= blockBytes }

// add appends an event.
func (b *block) add(seq int64, r *Row) error {
	if r.ReceivedAt != b.receivedAt {
		if len(r.ReceivedAt) != receivedBytes {
			return fmt.Errorf("received_at %q, want %d bytes", r.ReceivedAt, receivedBytes)
		}
		b.receivedAt, b.received = r.ReceivedAt, len(b.data)+1
		b.data = append(b.data, r.ReceivedAt...)
	}
	if b.events > 0 {
		b.directory = append(b.directory, ',')
	}
	numbers := [directoryNumbers]int{int(seq - b.first), len(b.data) + 1, len(r.Topic), len(r.ID), len(r.Timestamp), len(r.Source), len(r.Payload), b.received}
	for i, n := range numbers {
		separator := byte(',')
		if i == 0 {
			separator = '['
		}
		b.directory = strconv.AppendInt(append(b.directory, separator), int64(n), 10)
	}
	b.directory = append(b.directory, ']')
	b.data = append(b.data, r.Topic...)
	b.data = append(b.data, r.ID...)
	b.data = append(b.data, r.Timestamp...)
	b.data = append(b.data, r.Source...)
	b.data = append(b.data, r.Payload...)
	b.last = seq
	b.events++
	return nil
}

// end closes the directory.
func (b *block) end() { b.directory = append(b.directory, ']') }

// checksum is over the block as it was before it was packed.
func (b *block) checksum() uint32 { return checksum(b.first, b.directory, b.data) }

// blockColumns are what a storedBlock is read from.
const blockColumns = "first_seq, directory, directory_bytes, data, packed, checksum"

// storedBlock is a block as the table has it.
type storedBlock struct {
	first          int64
	directory      string // of a block that is not packed; else "", and data begins with it
	directoryBytes int
	data           string
	packed         int // bytes of data once it is unpacked; 0: it is not packed
	checksum       uint32
}

// readBlock reads the row that s stands on, whose columns from 0 on are blockColumns.
func readBlock(s *sqlite.Statement) storedBlock {
	return storedBlock{s.ColumnInt(0), s.ColumnText(1), int(s.ColumnInt(2)), s.ColumnText(3), int(s.ColumnInt(4)), uint32(s.ColumnInt(5))}
}

// ErrDamaged means a block that is not what was written.
var ErrDamaged = errors.New("damaged")

var (
	errDirectory = fmt.Errorf("%w: its directory does not fit its data", ErrDamaged)
	errChecksum  = fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(first int64, parts ...[]byte) uint32 {
	var seq [8]byte
	binary.LittleEndian.PutUint64(seq[:], uint64(first))
	sum := crc32.Update(0, castagnoli, seq[:])
	for _, part := range parts {
		sum = crc32.Update(sum, castagnoli, part)
	}
	return sum
}

// unpackers are for readers, each of whom has one while it looks at a block.
var unpackers = sync.Pool{New: func() any { return &sqlite.Unpacker{} }}

// eachEvent calls each for the events of a block until it returns false. Their texts are valid
// until eachEvent returns. A block that is not what was written is ErrDamaged, before anything of
// it is shown.
func eachEvent(b storedBlock, each func(seq int64, r Row) (more bool)) error {
	directory, data := b.directory, b.data
	if b.packed != 0 {
		u := unpackers.Get().(*sqlite.Unpacker)
		defer unpackers.Put(u)
		plain, err := u.Unpack(bytesOf(b.data), b.packed, b.packed)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if b.directoryBytes < 0 || b.directoryBytes > len(plain) {
			return errDirectory
		}
		directory, data = view(plain[:b.directoryBytes]), view(plain[b.directoryBytes:])
	}
	if checksum(b.first, bytesOf(directory), bytesOf(data)) != b.checksum {
		return errChecksum
	}
	for len(directory) > 1 {
		directory = directory[1:] // the array's bracket, or the comma behind the last event
		var n [directoryNumbers]int
		for i := range n {
			var ok bool
			if n[i], directory, ok = number(directory); !ok || n[i] > len(data)+1 && i > 0 {
				return errDirectory
			}
		}
		if len(directory) == 0 || directory[0] != ']' {
			return errDirectory
		}
		directory = directory[1:]
		r, ok := cutRow(data, n)
		if !ok {
			return errDirectory
		}
		if !each(b.first+int64(n[0]), r) {
			return nil
		}
	}
	if directory != "]" {
		return errDirectory
	}
	return nil
}

// cutRow cuts an event out of a block's data by its numbers in the directory; ok is false where
// they do not fit.
func cutRow(data string, n [directoryNumbers]int) (r Row, ok bool) {
	at, received := n[1]-1, n[7]-1
	size := n[2] + n[3] + n[4] + n[5] + n[6]
	if at < 0 || received < 0 || at+size > len(data) || received+receivedBytes > len(data) {
		return r, false
	}
	text := data[at:]
	cut := func(bytes int) string {
		t := text[:bytes]
		text = text[bytes:]
		return t
	}
	r.Event = event.Event{Topic: cut(n[2]), ID: cut(n[3]), Timestamp: cut(n[4]), Source: cut(n[5]), Payload: cut(n[6])}
	r.ReceivedAt = data[received : received+receivedBytes]
	return r, true
}

// firstReceived is the received_at of a block's first event, which its data begins with. It is not
// held against the checksum.
func firstReceived(b storedBlock) (string, error) {
	from := bytesOf(b.data)
	if b.packed != 0 {
		if b.directoryBytes < 0 {
			return "", errDirectory
		}
		u := unpackers.Get().(*sqlite.Unpacker)
		defer unpackers.Put(u)
		plain, err := u.Unpack(from, b.packed, b.directoryBytes+receivedBytes)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		from = plain[min(b.directoryBytes, len(plain)):]
	}
	if len(from) < receivedBytes {
		return "", errDirectory
	}
	return string(from[:receivedBytes]), nil
}

// number reads a number behind the byte that opens or separates.
func number(s string) (n int, rest string, ok bool) {
	i := 1
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9' && i < 12; i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n, s[min(i, len(s)):], i > 1
}
