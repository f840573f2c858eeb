package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

var (
	// ErrSpoolFull is of a Publish that finds Options.SpoolBytes on the disk.
	ErrSpoolFull = errors.New("client: the spool is full")
	// ErrSpoolDamaged is of a spool that has lost what had been promised; it is left as it is.
	ErrSpoolDamaged = errors.New("client: the spool is damaged")
	// ErrSpoolInUse is of a spool that another client has open.
	ErrSpoolInUse = errors.New("client: the spool is in use")
)

const (
	segmentSuffix = ".spool"
	// maxSegments bounds the parts of a spool by its bytes: a part is freed as a whole.
	maxSegments = 8
	// longestSegment is where a new segment begins at the latest.
	longestSegment = 8 << 20
)

// spool is a queue on the disk. A segment is removed when all its events are answered; after a
// crash the oldest one is sent again from its beginning, and the aggregator drops the repeats.
type spool struct {
	folder   *os.File // holds the lock
	maxBytes int64

	segments []*segment // oldest first; new records go to the last, if it is open for them
	writing  bool       // the last segment is
	at       int64      // what is before it in the oldest segment is dropped
	events   int
	bytes    int64
	peeked   []ending

	tail   atomic.Pointer[tail]
	synced atomic.Int64 // up to this place all is on the disk

	syncing sync.Mutex
	failed  error // a sync or a write; from then on nothing is promised. Guarded by syncing
}

// segment is a file of records.
type segment struct {
	number uint64
	file   *os.File
	size   int64
	start  int64 // its first record's place; places count the bytes that this process wrote
}

// ending is where a record ends.
type ending struct {
	segment *segment
	at      int64
	event   int
}

// tail is where the next record goes.
type tail struct {
	file  *os.File
	place int64
}

// openSpool opens the folder, or makes it, and finds what a run before left.
func openSpool(folder string, maxBytes int64) (s *spool, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	s = &spool{maxBytes: maxBytes}
	if s.folder, err = os.Open(folder); err != nil {
		return nil, err
	}
	s.tail.Store(&tail{})
	if err := syscall.Flock(int(s.folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrSpoolInUse, folder, err), s.folder.Close())
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}

func (s *spool) load() error {
	names, err := s.folder.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names) // the numbers have leading zeros
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, segmentSuffix) })
	for i, name := range names {
		if err := s.loadSegment(name, i == len(names)-1); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(s.folder.Name(), name), err)
		}
	}
	return s.folder.Sync()
}

// loadSegment takes a segment in. Only the newest can end in what a crash left: that is cut off.
func (s *spool) loadSegment(name string, newest bool) error {
	number, err := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 10, 64)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(s.folder.Name(), name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	g := &segment{number: number, file: file}
	s.segments = append(s.segments, g)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > maxSegmentBytes {
		return fmt.Errorf("%w: %d bytes in a segment", ErrSpoolDamaged, info.Size())
	}
	text := make([]byte, info.Size())
	if _, err := file.ReadAt(text, 0); err != nil && len(text) > 0 {
		return err
	}
	events, whole, bytes, err := scan(text)
	if err != nil {
		return err
	}
	if whole < info.Size() {
		if !newest {
			return fmt.Errorf("%w at byte %d", ErrSpoolDamaged, whole)
		}
		if err := file.Truncate(whole); err != nil {
			return err
		}
	}
	g.size = whole
	s.events += events
	s.bytes += bytes
	return file.Sync()
}

func (s *spool) put(event []byte) (int64, error) {
	need := headerBytes + int64(len(event))
	if err := s.makeRoom(need); err != nil {
		return 0, err
	}
	used := int64(0)
	for _, g := range s.segments {
		used += g.size
	}
	if used+need > s.maxBytes {
		return 0, fmt.Errorf("%w: %d bytes of %d", ErrSpoolFull, used, s.maxBytes)
	}
	g := s.segments[len(s.segments)-1]
	durable := max(0, s.synced.Load()-g.start)
	record := appendRecord(make([]byte, 0, need), event, durable)
	if _, err := g.file.WriteAt(record, g.size); err != nil {
		// Half a record must not stay between whole ones.
		if cut := g.file.Truncate(g.size); cut != nil {
			err = errors.Join(err, cut)
			s.fail(err)
		}
		return 0, fmt.Errorf("client: spool: %w", err)
	}
	g.size += need
	s.events++
	s.bytes += int64(len(event))
	s.tail.Store(&tail{g.file, g.start + g.size})
	return g.start + g.size, nil
}

// makeRoom begins a new segment if there is none to write to, or it is long enough. What is before
// is synced first, so that only the newest can end in half a record.
func (s *spool) makeRoom(need int64) error {
	if err := s.failure(); err != nil {
		return err
	}
	number, place := uint64(1), s.tail.Load().place
	if n := len(s.segments); n > 0 {
		g := s.segments[n-1]
		if s.writing && (g.size == 0 || g.size+need <= min(longestSegment, s.maxBytes/maxSegments)) {
			return nil
		}
		number = g.number + 1
		if s.writing {
			if err := s.sync(place); err != nil {
				return err
			}
		}
	}
	name := filepath.Join(s.folder.Name(), fmt.Sprintf("%020d%s", number, segmentSuffix))
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := s.folder.Sync(); err != nil {
		return errors.Join(err, file.Close(), os.Remove(name))
	}
	s.segments = append(s.segments, &segment{number: number, file: file, start: place})
	s.writing = true
	return s.release()
}

// sync waits for the disk; who waits at the same time shares one fsync.
func (s *spool) sync(place int64) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.synced.Load() >= place {
		return nil
	}
	if s.failed != nil {
		return s.failed
	}
	t := s.tail.Load()
	// A file that is closed meanwhile was removed: all its events are answered.
	if err := t.file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		s.failed = fmt.Errorf("client: spool: %w", err)
		return s.failed
	}
	s.synced.Store(t.place)
	return nil
}

func (s *spool) fail(err error) {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.failed = fmt.Errorf("client: spool: %w", err)
}

func (s *spool) failure() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	return s.failed
}

func (s *spool) peek(events, bytes int) (batch [][]byte, err error) {
	s.peeked = s.peeked[:0]
	at, size := s.at, 0
	for _, g := range s.segments {
		for at < g.size {
			event, err := g.read(at)
			if err != nil && len(batch) > 0 {
				return batch, nil // what is before the damage is sent first
			}
			if err != nil {
				return nil, err
			}
			if size += len(event); len(batch) == events || len(batch) > 0 && size > bytes {
				return batch, nil
			}
			at += headerBytes + int64(len(event))
			batch = append(batch, event)
			s.peeked = append(s.peeked, ending{g, at, len(event)})
		}
		at = 0
	}
	return batch, nil
}

// read returns the event of the record at a place of the segment.
func (g *segment) read(at int64) ([]byte, error) {
	var header [headerBytes]byte
	if _, err := g.file.ReadAt(header[:], at); err != nil {
		return nil, fmt.Errorf("client: spool: %w", err)
	}
	length := int64(binary.LittleEndian.Uint32(header[4:]))
	if length <= g.size-at-headerBytes {
		text := make([]byte, headerBytes+length)
		if _, err := g.file.ReadAt(text, at); err != nil {
			return nil, fmt.Errorf("client: spool: %w", err)
		}
		if event, _, ok := parseRecord(text); ok {
			return event, nil
		}
	}
	return nil, fmt.Errorf("%w: %s at byte %d", ErrSpoolDamaged, g.file.Name(), at)
}

func (s *spool) drop(n int) error {
	if n == 0 {
		return nil
	}
	for _, e := range s.peeked[:n] {
		s.events--
		s.bytes -= int64(e.event)
	}
	last := s.peeked[n-1]
	for s.segments[0] != last.segment {
		s.at = s.segments[0].size
		if err := s.release(); err != nil {
			return err
		}
	}
	s.at = last.at
	return s.release()
}

// release removes the oldest segments of which all is dropped, except the one that is written.
func (s *spool) release() error {
	for len(s.segments) > 0 && s.at == s.segments[0].size && !(s.writing && len(s.segments) == 1) {
		g := s.segments[0]
		s.segments, s.at = s.segments[1:], 0
		if err := errors.Join(os.Remove(g.file.Name()), g.file.Close()); err != nil {
			return fmt.Errorf("client: spool: %w", err)
		}
	}
	return nil
}

func (s *spool) waiting() (int, int64) { return s.events, s.bytes }

// close frees everything. Nothing that waits is lost; what is answered is removed.
func (s *spool) close() error {
	err := s.sync(s.tail.Load().place)
	s.writing = false
	return errors.Join(err, s.release(), s.closeFiles())
}

func (s *spool) closeFiles() (err error) {
	for _, g := range s.segments {
		err = errors.Join(err, g.file.Close())
	}
	return errors.Join(err, s.folder.Close())
}
