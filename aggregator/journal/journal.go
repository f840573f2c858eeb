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
// Once the store has committed all its frames a segment's file is written over by a later one, or
// removed. Each segment says where the one before it ends, and its frames are checked under a seed
// of its own: what an earlier use has left in the file is not a frame.
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

	"sekali/aggregator/crash"
	"sekali/aggregator/internal/disk"
)

const (
	// MaxFrameBytes bounds one frame's body, so that a reader knows what to hold.
	MaxFrameBytes = 32 << 20

	frameMagic = uint32(0x534b4652)
	frameBytes = 24 // magic, checksum, body length, events, time
	// isPacked is in the length of a body that is packed by S2.
	isPacked = 1 << 31
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
	Unpacked   int64 // bytes that Read takes in memory
	Events     int
	ReceivedAt time.Time
	packed     bool
}

// End is the position after the frame.
func (f Frame) End() Position { return Position{f.Start.Segment, f.Start.Offset + f.Bytes} }

// Journal is open for appending. Append, Repair and Fit have one caller, the committer;
// Read and Release may run beside it.
type Journal struct {
	dir     string
	closing chan struct{} // closed by Close

	// Owned by the committer.
	current *segment // which the next frame goes to …
	tail    Position // … and where
	buf     []byte   // the frame being written
	packed  []byte   // the same, packed
	most    int64    // at which the current segment ends
	broken  bool     // it may hold bytes nobody acknowledged

	mu         sync.Mutex          // guards all below
	segments   map[uint64]*segment // that may hold what is not yet applied, by number
	spares     []*segment          // released, to be written over
	keep       int                 // so many of them
	givingBack sync.WaitGroup      // files that are being removed
	notRemoved error               // what has become of some of them
	abandoned  bool                // no file is to be removed
}

// Open opens the journal in dir, creating it if need be, and returns the frames
// from position committed on, which the store has yet to apply.
func Open(dir string, committed Position) (_ *Journal, backlog []Frame, err error) {
	if err := disk.MakeDir(dir); err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{dir: dir, closing: make(chan struct{}), most: SegmentBytes, keep: spareSegments, segments: map[uint64]*segment{}}
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
		f, err := os.OpenFile(j.path(numbers[0]), os.O_RDWR, 0)
		if err != nil {
			return nil, nil, err
		}
		j.giveBack(&segment{file: f, number: numbers[0]}, stepPause)
		numbers = numbers[1:]
	}
	found, unbegun, err := j.openAll(numbers, committed, os.O_RDWR)
	for _, s := range found {
		j.segments[s.number] = s
	}
	if err != nil {
		return nil, nil, err
	}
	if unbegun != 0 {
		if err := os.Remove(j.path(unbegun)); err != nil {
			return nil, nil, err
		}
	}
	if len(found) == 0 {
		return j, nil, j.begin(committed.Segment+1, noPrevious)
	}
	backlog, end, err := examine(found, committed)
	if err != nil {
		return nil, nil, err
	}
	j.current = found[len(found)-1]
	j.tail = Position{j.current.number, end}
	crash.Here(crash.JournalCut)
	// The cut becomes durable before anything builds on it, and so does what was written when the
	// process died but not yet synced.
	if err := j.current.file.Truncate(end); err != nil {
		return nil, nil, err
	}
	crash.Here(crash.JournalShort)
	return j, backlog, j.settle(backlog)
}

// settle makes durable what Open has found. Only the segment's header and its last frame, and its
// name, need not be. They are written again: a sync that failed before the process died may have
// left their pages counted as clean.
func (j *Journal) settle(backlog []Frame) error {
	s := j.current
	if err := disk.Renew(s.file, 0, s.begin); err != nil {
		return err
	}
	last := j.tail
	if n := len(backlog); n > 0 && backlog[n-1].Start.Segment == s.number {
		last = backlog[n-1].Start
	}
	if err := disk.Renew(s.file, last.Offset, j.tail.Offset); err != nil {
		return err
	}
	return disk.SyncDir(j.dir)
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

// Append writes one frame, the given requests' events back to back, and returns
// when it is durable. After an error nothing of it counts as written, and the
// journal takes no more until Repair has succeeded.
func (j *Journal) Append(requests [][]byte, events int, receivedAt time.Time) (Frame, error) {
	if j.broken {
		return Frame{}, errors.New("journal: append after a failure")
	}
	if j.tail.Offset >= j.most {
		if err := j.begin(j.tail.Segment+1, j.tail.Offset); err != nil {
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
	frame := Frame{Start: j.tail, Unpacked: int64(len(j.buf)), Events: events, ReceivedAt: receivedAt}
	written, flag := j.buf, uint32(0)
	if packed := j.pack(); packed != nil {
		written, flag = packed, isPacked
		frame.Unpacked, frame.packed = int64(body), true
	}
	frame.Bytes = int64(len(written))
	h := written[:frameBytes]
	binary.LittleEndian.PutUint32(h[0:], frameMagic)
	binary.LittleEndian.PutUint32(h[8:], uint32(len(written)-frameBytes)|flag)
	binary.LittleEndian.PutUint32(h[12:], uint32(events))
	binary.LittleEndian.PutUint64(h[16:], uint64(receivedAt.UnixNano()))
	binary.LittleEndian.PutUint32(h[4:], crc32.Update(j.current.seed, castagnoli, written[8:]))

	f := j.current.file
	if _, err := f.WriteAt(written, j.tail.Offset); err != nil {
		j.broken = true
		return Frame{}, fmt.Errorf("journal: write: %w", err)
	}
	crash.Here(crash.JournalWritten)
	if err := disk.SyncData(f); err != nil {
		j.broken = true
		return Frame{}, fmt.Errorf("journal: fdatasync: %w", err)
	}
	// If we crash from here on, the frame is found again.
	crash.Here(crash.JournalSynced)
	j.tail.Offset += frame.Bytes
	if cap(j.buf) > MaxFrameBytes/4 {
		j.buf, j.packed = nil, nil // one huge request must not be held for ever
	}
	return frame, nil
}

// Repair makes the journal usable after a failed Append: a new segment is begun, which says where
// the old one ends. A page whose fsync has failed may be dropped from memory while the file still
// shows it, so the old segment is not written to again.
func (j *Journal) Repair() error {
	if !j.broken {
		return nil
	}
	// What the failed frame has left is not needed, and a full disk may need the room.
	if err := j.current.file.Truncate(j.tail.Offset); err != nil {
		return fmt.Errorf("journal: repair: %w", err)
	}
	if err := j.begin(j.tail.Segment+1, j.tail.Offset); err != nil {
		return fmt.Errorf("journal: repair: %w", err)
	}
	j.broken = false
	return nil
}

// Read returns the events of a frame that Append or Open has returned and Release has not given up,
// reading into buf if that has room for frame.Unpacked bytes.
func (j *Journal) Read(frame Frame, buf []byte) ([]byte, error) {
	j.mu.Lock()
	s := j.segments[frame.Start.Segment]
	j.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("journal: segment %d is gone", frame.Start.Segment)
	}
	buf = slices.Grow(buf[:0], int(frame.Unpacked))
	if !frame.packed {
		return j.readBody(s, frame, buf)
	}
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	*scratch = slices.Grow((*scratch)[:0], int(frame.Bytes))
	body, err := j.readBody(s, frame, *scratch)
	if err != nil {
		return nil, err
	}
	body, err = unpack(body, buf)
	if err != nil {
		return nil, fmt.Errorf("%w: segment %d at %d: %w", ErrCorrupt, frame.Start.Segment, frame.Start.Offset, err)
	}
	return body, nil
}

// readBody reads a frame into buf, which has room for it, and returns its body.
func (j *Journal) readBody(s *segment, frame Frame, buf []byte) ([]byte, error) {
	buf = buf[:frame.Bytes]
	if _, err := s.file.ReadAt(buf, frame.Start.Offset); err != nil {
		return nil, fmt.Errorf("journal: read segment %d at %d: %w", frame.Start.Segment, frame.Start.Offset, err)
	}
	if crc32.Update(s.seed, castagnoli, buf[8:]) != binary.LittleEndian.Uint32(buf[4:]) {
		return nil, fmt.Errorf("%w: segment %d at %d changed after it was written", ErrCorrupt, frame.Start.Segment, frame.Start.Offset)
	}
	return buf[frameBytes:], nil
}

// Free returns the bytes that the journal's disk has left.
func (j *Journal) Free() (int64, error) {
	free, err := disk.Free(j.dir)
	if err != nil {
		return 0, fmt.Errorf("journal: statfs: %w", err)
	}
	return free, nil
}

// Abandon makes Close remove no file: the folder is no longer the journal's.
func (j *Journal) Abandon() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.abandoned = true
}

// Close closes the files. Everything acknowledged is already on disk.
func (j *Journal) Close() error {
	close(j.closing)
	j.givingBack.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	errs := []error{j.notRemoved}
	for n, s := range j.segments {
		errs = append(errs, s.file.Close())
		delete(j.segments, n)
	}
	for _, s := range j.spares {
		errs = append(errs, s.file.Close())
		if !j.abandoned {
			errs = append(errs, remove(j.path(s.number)))
		}
	}
	j.spares = nil
	return errors.Join(errs...)
}

var _ io.Closer = (*Journal)(nil)
