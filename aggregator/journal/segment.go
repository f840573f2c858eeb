package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"sekali/aggregator/crash"
	"sekali/aggregator/internal/disk"
)

const (
	// SegmentBytes is the size at which a new segment is begun: small enough that a committed backlog
	// soon gives its space back, large enough that a new one is rare: about once a second at 300 000
	// events/s.
	SegmentBytes = 64 << 20 / crash.Smaller
	// MinSegmentBytes is the size at which one is begun on a disk that is nearly full.
	MinSegmentBytes = 1 << 20 / crash.Smaller
	// spareSegments is how many released segments are kept to be written over: the one in use and
	// these, while the store keeps up.
	spareSegments = 2
	// A segment that is not kept is given back in steps. The file system hands freed blocks to the
	// disk when it commits, and everything else that is synced waits meanwhile: 20 to 60 ms for 64 MB
	// at once, 3 ms in steps (ext4 with discard).
	stepBytes = SegmentBytes / 32
	stepPause = 5 * time.Millisecond

	segmentMagic = "sekali journal 2"
	headerBytes  = int64(len(segmentMagic) + 8 + 8 + 8 + 4) // magic, number, previous end, time, checksum

	// The first form of a segment: magic, number, checksum. Its frames are checked without a seed.
	segmentMagic1 = "sekali journal 1"
	headerBytes1  = int64(len(segmentMagic1) + 8 + 4)
)

// What a segment says of the end of the one before it, if there is no such end: the journal began
// with it, or it is of the first form.
const (
	noPrevious      = 0
	unknownPrevious = -1
)

// segment is an open file of the journal.
type segment struct {
	file   *os.File
	number uint64
	// previousEnd is where the segment before it ends: that one's file may be longer.
	previousEnd int64
	begin       int64 // of its first frame
	// seed is the header's checksum, which no two segments share: the frames of an earlier use of the
	// file do not check under it.
	seed uint32
}

var errUnbegun = errors.New("the file ends within the header")

// encodeHeader returns a segment's header, of which the time is there to be different each time.
func encodeHeader(number uint64, previousEnd int64, now time.Time) []byte {
	h := append(make([]byte, 0, headerBytes), segmentMagic...)
	h = binary.LittleEndian.AppendUint64(h, number)
	h = binary.LittleEndian.AppendUint64(h, uint64(previousEnd))
	h = binary.LittleEndian.AppendUint64(h, uint64(now.UnixNano()))
	return binary.LittleEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
}

// readHeader reads what the file says of the segment; its name says the number.
func readHeader(f *os.File, number uint64) (*segment, error) {
	h := make([]byte, headerBytes)
	n, err := f.ReadAt(h, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	s := &segment{file: f, number: number}
	switch magic := string(h[:len(segmentMagic)]); {
	case magic == segmentMagic && int64(n) == headerBytes:
		s.begin, s.previousEnd = headerBytes, int64(binary.LittleEndian.Uint64(h[len(segmentMagic)+8:]))
		s.seed = binary.LittleEndian.Uint32(h[headerBytes-4:])
	case magic == segmentMagic1 && int64(n) >= headerBytes1:
		s.begin, s.previousEnd = headerBytes1, unknownPrevious
	case int64(n) < headerBytes:
		return nil, errUnbegun
	default:
		return nil, fmt.Errorf("%w: segment %d has no valid header", ErrCorrupt, number)
	}
	sum := s.begin - 4
	if crc32.Checksum(h[:sum], castagnoli) != binary.LittleEndian.Uint32(h[sum:]) || binary.LittleEndian.Uint64(h[len(segmentMagic):]) != number {
		return nil, fmt.Errorf("%w: segment %d has no valid header", ErrCorrupt, number)
	}
	return s, nil
}

func (s *segment) start() Position { return Position{s.number, s.begin} }

func (j *Journal) path(segment uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("%020d.log", segment))
}

// begin makes the next segment, durably: its header, and its name in the folder. previousEnd is
// where the one before it ends. A spare file is written over: neither its size nor its blocks
// change then, so that a sync of a frame is not one of the file system's own journal too.
func (j *Journal) begin(number uint64, previousEnd int64) error {
	header := encodeHeader(number, previousEnd, time.Now())
	next := &segment{number: number, previousEnd: previousEnd, begin: headerBytes, seed: binary.LittleEndian.Uint32(header[headerBytes-4:])}
	spare := j.takeSpare()
	if spare != nil {
		next.file = spare.file
	} else {
		f, err := os.OpenFile(j.path(number), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		next.file = f
	}
	crash.Here(crash.JournalBegin)
	_, err := next.file.WriteAt(header, 0)
	if err == nil {
		err = disk.Sync(next.file)
	}
	// Until it has its new name a spare is a segment that the store has applied: a crash leaves
	// nothing that counts.
	if err == nil && spare != nil {
		err = os.Rename(j.path(spare.number), j.path(number))
	}
	if err == nil {
		err = disk.SyncDir(j.dir)
	}
	if err != nil {
		err = errors.Join(err, next.file.Close(), remove(j.path(number)))
		if spare != nil {
			err = errors.Join(err, remove(j.path(spare.number)))
		}
		return err
	}
	j.mu.Lock()
	j.segments[number] = next
	j.mu.Unlock()
	j.current, j.tail = next, next.start()
	return nil
}

// takeSpare returns a released segment to be written over, nil if there is none.
func (j *Journal) takeSpare() *segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.spares) == 0 {
		return nil
	}
	s := j.spares[0]
	j.spares = j.spares[1:]
	return s
}

// Release gives up the segments before the one of committed: the store has all their events,
// durably. Some are kept to be written over. The error is of files that could not be removed; the
// next start removes them.
func (j *Journal) Release(committed Position) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for n, s := range j.segments {
		if n >= committed.Segment {
			continue
		}
		crash.Here(crash.JournalRelease)
		delete(j.segments, n)
		if len(j.spares) < j.keep {
			j.spares = append(j.spares, s)
		} else {
			j.giveBack(s, stepPause)
		}
	}
	err := j.notRemoved
	j.notRemoved = nil
	return err
}

// giveBack removes a segment's file, beside everything else, in steps with a pause between.
func (j *Journal) giveBack(s *segment, pause time.Duration) {
	j.givingBack.Go(func() {
		err := j.shrink(s.file, pause)
		err = errors.Join(err, s.file.Close(), remove(j.path(s.number)))
		j.mu.Lock()
		defer j.mu.Unlock()
		j.notRemoved = errors.Join(j.notRemoved, err)
	})
}

// shrink takes a file's blocks from it, the last first, until the journal is closed.
func (j *Journal) shrink(f *os.File, pause time.Duration) error {
	info, err := f.Stat()
	for ; err == nil && info.Size() > stepBytes; info, err = f.Stat() {
		select {
		case <-j.closing:
			return nil
		case <-time.After(pause):
		}
		if err := f.Truncate((info.Size() - 1) / stepBytes * stepBytes); err != nil {
			return err
		}
	}
	return err
}

// Fit makes segments end earlier on a disk with so many bytes left, and keeps no spare ones there:
// the one that is written to is not removed, however much of it the store has, and is to take an
// eighth of the room at most. It has Append's caller.
func (j *Journal) Fit(free int64) {
	j.most = min(max(free/8, MinSegmentBytes), SegmentBytes)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.keep = spareSegments
	if j.most < SegmentBytes {
		j.keep = 0
		for _, s := range j.spares {
			j.giveBack(s, 0)
		}
		j.spares = nil
		j.cutCurrent()
	}
}

// cutCurrent takes from the current segment what an earlier use of its file has left behind its
// last frame. It is garbage, so a failure costs room and nothing else.
func (j *Journal) cutCurrent() {
	if info, err := j.current.file.Stat(); err == nil && info.Size() > j.tail.Offset+stepBytes {
		_ = j.current.file.Truncate(j.tail.Offset)
	}
}

// remove removes a file that may be gone already.
func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
