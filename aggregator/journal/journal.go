// Package journal is the append-only log in which accepted requests wait, on
// disk, until the store has committed them.
//
// The journal is a row of segment files. A segment is a header and frames; a
// frame is what one fdatasync made durable: the events of one or more requests
// under one checksum. The commit point of an acknowledgement is the return of
// that fdatasync:
//
//   - crash before it: the frame may be torn. Open cuts it. Nobody was told
//     that its events are safe.
//   - crash after it: Open finds the frame whole and hands it out again.
//
// The next frame is written only after the previous one is durable, so a torn
// frame is always the last thing in the last segment. A damaged frame anywhere
// else is not a crash but a broken disk: Open refuses, and says where.
//
// Segments are removed once the store has committed all their frames.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sekali/aggregator/crash"
)

const (
	// SegmentBytes is the size at which a new segment is begun: small enough that
	// a committed backlog soon gives its space back, large enough that creating
	// files is rare (a guess: about once a second at 300 000 events/s).
	SegmentBytes = 64 << 20 / crash.Smaller
	// MinSegmentBytes is the size at which one is begun on a disk that is nearly full.
	MinSegmentBytes = 1 << 20 / crash.Smaller
	// MaxFrameBytes bounds one frame's body, so that a reader knows what to hold.
	MaxFrameBytes = 32 << 20

	segmentMagic = "sekali journal 1"
	headerBytes  = int64(len(segmentMagic) + 8 + 4) // magic, segment number, checksum
	frameMagic   = uint32(0x534b4652)
	frameBytes   = 24 // magic, checksum, body length, events, time
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt is wrapped by every error that means the journal on disk is not what
// this package wrote.
var ErrCorrupt = errors.New("journal is damaged")

// Position is a place in the journal: the next byte to apply. The zero Position is
// the beginning of an empty journal.
type Position struct {
	Segment uint64
	Offset  int64
}

// Frame is where one frame lies and what it holds.
type Frame struct {
	Start      Position
	Bytes      int64 // on disk, its header included
	Events     int
	ReceivedAt time.Time
}

// End is the position after the frame.
func (f Frame) End() Position { return Position{f.Start.Segment, f.Start.Offset + f.Bytes} }

// Journal is open for appending. Append and Repair have one caller, the committer;
// Read and Release may run beside it.
type Journal struct {
	dir string

	// Owned by the committer.
	tail   Position // where the next frame goes
	buf    []byte   // the frame being written
	most   int64    // at which the tail's segment ends
	broken bool     // the tail's segment may hold bytes nobody acknowledged

	mu       sync.Mutex
	segments map[uint64]*os.File // guarded by mu; open segments by number
}

// Open opens the journal in dir, creating it if need be, and returns the frames
// from position committed on, which the store has yet to apply.
func Open(dir string, committed Position) (_ *Journal, backlog []Frame, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{dir: dir, most: SegmentBytes, segments: map[uint64]*os.File{}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("journal: %w", errors.Join(err, j.Close()))
		}
	}()
	numbers, err := j.list()
	if err != nil {
		return nil, nil, err
	}
	for len(numbers) > 0 && numbers[0] < committed.Segment {
		if err := os.Remove(j.path(numbers[0])); err != nil {
			return nil, nil, err
		}
		numbers = numbers[1:]
	}
	if numbers, err = j.dropUnbegun(numbers, committed); err != nil {
		return nil, nil, err
	}
	if err := contiguous(numbers, committed); err != nil {
		return nil, nil, err
	}
	for i, segment := range numbers {
		frames, err := j.recover(segment, committed, i == len(numbers)-1)
		if err != nil {
			return nil, nil, err
		}
		backlog = append(backlog, frames...)
	}
	if len(numbers) == 0 {
		if err := j.begin(committed.Segment + 1); err != nil {
			return nil, nil, err
		}
	}
	return j, backlog, nil
}

// dropUnbegun removes a last segment whose header a crash has cut: begin had not
// returned, so it holds nothing.
func (j *Journal) dropUnbegun(numbers []uint64, committed Position) ([]uint64, error) {
	if len(numbers) == 0 {
		return numbers, nil
	}
	last := numbers[len(numbers)-1]
	info, err := os.Stat(j.path(last))
	if err != nil || info.Size() >= headerBytes {
		return numbers, err
	}
	if last == committed.Segment {
		return nil, fmt.Errorf("%w: segment %d has %d bytes, the store has applied up to %d", ErrCorrupt, last, info.Size(), committed.Offset)
	}
	return numbers[:len(numbers)-1], os.Remove(j.path(last))
}

// contiguous refuses a journal from which a segment is missing: what it held may
// have been acknowledged. A journal that is wholly absent is taken as the
// operator's choice (a restored backup has none).
func contiguous(numbers []uint64, committed Position) error {
	want := max(committed.Segment, 1)
	for _, n := range numbers {
		if n != want {
			return fmt.Errorf("%w: segment %d is missing (the store has applied up to segment %d)", ErrCorrupt, want, committed.Segment)
		}
		want++
	}
	return nil
}

func (j *Journal) path(segment uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("%020d.log", segment))
}

func (j *Journal) list() ([]uint64, error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		var n uint64
		if _, err := fmt.Sscanf(e.Name(), "%d.log", &n); err != nil || filepath.Base(j.path(n)) != e.Name() {
			return nil, fmt.Errorf("%w: %s is not a segment", ErrCorrupt, e.Name())
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

// begin creates a segment, durably: its header, and its name in the folder.
func (j *Journal) begin(segment uint64) error {
	f, err := os.OpenFile(j.path(segment), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	header := make([]byte, 0, headerBytes)
	header = append(header, segmentMagic...)
	header = binary.LittleEndian.AppendUint64(header, segment)
	header = binary.LittleEndian.AppendUint32(header, crc32.Checksum(header, castagnoli))
	crash.Here(crash.JournalBegin)
	if _, err = f.WriteAt(header, 0); err == nil {
		if err = fsync(f); err == nil {
			err = syncDir(j.dir)
		}
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	j.mu.Lock()
	j.segments[segment] = f
	j.mu.Unlock()
	j.tail = Position{segment, headerBytes}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(fsync(d), d.Close())
}

// fsync makes f durable with all that is known of it.
func fsync(f *os.File) error {
	if crash.NoSync {
		return nil
	}
	return f.Sync()
}

// fdatasync makes what was appended to f durable.
func fdatasync(f *os.File) error {
	if crash.NoSync {
		return nil
	}
	return unix.Fdatasync(int(f.Fd()))
}

// Append writes one frame, the given requests' events back to back, and returns
// when it is durable. After an error nothing of it counts as written, and the
// journal takes no more until Repair has succeeded.
func (j *Journal) Append(requests [][]byte, events int, receivedAt time.Time) (Frame, error) {
	if j.broken {
		return Frame{}, errors.New("journal: append after a failure")
	}
	if j.tail.Offset >= j.most {
		if err := j.begin(j.tail.Segment + 1); err != nil {
			j.broken = true
			return Frame{}, fmt.Errorf("journal: begin segment: %w", err)
		}
	}
	j.buf = append(j.buf[:0], make([]byte, frameBytes)...)
	for _, r := range requests {
		j.buf = append(j.buf, r...)
	}
	body := len(j.buf) - frameBytes
	if body > MaxFrameBytes {
		return Frame{}, fmt.Errorf("journal: a frame of %d bytes, %d is the most", body, MaxFrameBytes)
	}
	h := j.buf[:frameBytes]
	binary.LittleEndian.PutUint32(h[0:], frameMagic)
	binary.LittleEndian.PutUint32(h[8:], uint32(body))
	binary.LittleEndian.PutUint32(h[12:], uint32(events))
	binary.LittleEndian.PutUint64(h[16:], uint64(receivedAt.UnixNano()))
	binary.LittleEndian.PutUint32(h[4:], crc32.Checksum(j.buf[8:], castagnoli))

	f := j.file(j.tail.Segment)
	if _, err := f.WriteAt(j.buf, j.tail.Offset); err != nil {
		j.broken = true
		return Frame{}, fmt.Errorf("journal: write: %w", err)
	}
	crash.Here(crash.JournalWritten)
	if err := fdatasync(f); err != nil {
		j.broken = true
		return Frame{}, fmt.Errorf("journal: fdatasync: %w", err)
	}
	// If we crash from here on, the frame is found again.
	crash.Here(crash.JournalSynced)
	frame := Frame{Start: j.tail, Bytes: int64(len(j.buf)), Events: events, ReceivedAt: receivedAt}
	j.tail.Offset += frame.Bytes
	if cap(j.buf) > MaxFrameBytes/4 {
		j.buf = nil // one huge request must not be held for ever
	}
	return frame, nil
}

// Repair makes the journal usable after a failed Append: what the failed frame may
// have left is cut off, and a new segment is begun. A page whose fsync has
// failed may be dropped from memory while the file still shows it, so the old
// segment is not written to again.
func (j *Journal) Repair() error {
	if !j.broken {
		return nil
	}
	if err := truncate(j.file(j.tail.Segment), j.tail.Offset); err != nil {
		return fmt.Errorf("journal: repair: %w", err)
	}
	if err := j.begin(j.tail.Segment + 1); err != nil {
		return fmt.Errorf("journal: repair: %w", err)
	}
	j.broken = false
	return nil
}

func truncate(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	return fsync(f)
}

func (j *Journal) file(segment uint64) *os.File {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.segments[segment]
}

// Read returns the body of a frame that Append or Open has returned and Release has
// not given up, reading into buf if it is large enough.
func (j *Journal) Read(frame Frame, buf []byte) ([]byte, error) {
	f := j.file(frame.Start.Segment)
	if f == nil {
		return nil, fmt.Errorf("journal: segment %d is gone", frame.Start.Segment)
	}
	buf = slices.Grow(buf[:0], int(frame.Bytes))[:frame.Bytes]
	if _, err := f.ReadAt(buf, frame.Start.Offset); err != nil {
		return nil, fmt.Errorf("journal: read segment %d at %d: %w", frame.Start.Segment, frame.Start.Offset, err)
	}
	if crc32.Checksum(buf[8:], castagnoli) != binary.LittleEndian.Uint32(buf[4:]) {
		return nil, fmt.Errorf("%w: segment %d at %d changed after it was written", ErrCorrupt, frame.Start.Segment, frame.Start.Offset)
	}
	return buf[frameBytes:], nil
}

// Release removes the segments before the one of committed: the store has all
// their events, durably.
func (j *Journal) Release(committed Position) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for n, f := range j.segments {
		if n < committed.Segment {
			crash.Here(crash.JournalRelease)
			errs = append(errs, f.Close(), os.Remove(j.path(n)))
			delete(j.segments, n)
		}
	}
	return errors.Join(errs...)
}

// Free returns the bytes that the journal's disk has left.
func (j *Journal) Free() (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(j.dir, &s); err != nil {
		return 0, fmt.Errorf("journal: statfs: %w", err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// Fit makes segments end earlier on a disk with so many bytes left: the one that is written to is not removed, however much of it the store
// has, and is to take an eighth of the room at most. It has Append's caller.
func (j *Journal) Fit(free int64) { j.most = min(max(free/8, MinSegmentBytes), SegmentBytes) }

// Close closes the files. Everything acknowledged is already on disk.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for n, f := range j.segments {
		errs = append(errs, f.Close())
		delete(j.segments, n)
	}
	return errors.Join(errs...)
}

var _ io.Closer = (*Journal)(nil)
