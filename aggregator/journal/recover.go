package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"

	"sekali/aggregator/crash"
)

// errTorn is what a frame that a crash has cut looks like.
var errTorn = errors.New("torn frame")

// recover opens a segment for reading and returns its frames beyond committed. Only the
// last segment may end in a torn frame, which is cut off.
func (j *Journal) recover(segment uint64, committed Position, last bool) ([]Frame, error) {
	f, err := os.OpenFile(j.path(segment), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	j.segments[segment] = f
	j.mu.Unlock()
	frames, end, _, err := examine(f, segment, committed, last)
	if err != nil || !last {
		return frames, err
	}
	j.tail = Position{segment, end}
	crash.Here(crash.JournalCut)
	// The cut, and frames that were written when the process died but not yet
	// synced, become durable before anything builds on them.
	return frames, truncate(f, end)
}

// examine returns a segment's frames beyond committed, where the last whole one ends, and
// the file's size, which is larger only if a crash has cut the last frame. Any other
// damage is an error.
func examine(f *os.File, segment uint64, committed Position, last bool) (frames []Frame, end, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, 0, err
	}
	size = info.Size()
	if err := checkHeader(f, segment); err != nil {
		return nil, 0, size, err
	}
	from := headerBytes
	if segment == committed.Segment {
		from = max(from, committed.Offset)
	}
	if from > size {
		return nil, 0, size, fmt.Errorf("%w: segment %d has %d bytes, the store has applied up to %d", ErrCorrupt, segment, size, from)
	}
	frames, end, err = scan(f, segment, from, size)
	switch {
	case err == nil || !errors.Is(err, errTorn):
		return frames, end, size, err
	case !last:
		return nil, 0, size, fmt.Errorf("%w: segment %d at %d, and later segments exist", ErrCorrupt, segment, end)
	}
	at, err := laterFrame(f, end+1, size)
	if err == nil && at >= 0 {
		err = fmt.Errorf("%w: segment %d at %d, but a whole frame follows at %d", ErrCorrupt, segment, end, at)
	}
	return frames, end, size, err
}

func checkHeader(f io.ReaderAt, segment uint64) error {
	header := make([]byte, headerBytes)
	if _, err := f.ReadAt(header, 0); err != nil && err != io.EOF {
		return err
	}
	sum := len(header) - 4
	if !bytes.HasPrefix(header, []byte(segmentMagic)) ||
		crc32.Checksum(header[:sum], castagnoli) != binary.LittleEndian.Uint32(header[sum:]) ||
		binary.LittleEndian.Uint64(header[len(segmentMagic):]) != segment {
		return fmt.Errorf("%w: segment %d has no valid header", ErrCorrupt, segment)
	}
	return nil
}

// scan reads frames from offset from on, to the end or to the first that is not
// whole (errTorn); end is where the last whole one ends.
func scan(f *os.File, segment uint64, from, size int64) (frames []Frame, end int64, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(f, from, size-from), 1<<20)
	var frame Frame
	var buf []byte
	for end = from; ; end += frame.Bytes {
		frame, buf, err = readFrame(r, buf)
		if err == io.EOF {
			return frames, end, nil
		}
		if err != nil {
			return frames, end, err
		}
		frame.Start = Position{segment, end}
		frames = append(frames, frame)
	}
}

// readFrame reads and checks the next frame: io.EOF at a clean end, errTorn if it
// is not whole.
func readFrame(r io.Reader, buf []byte) (Frame, []byte, error) {
	var header [frameBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = errTorn
		}
		return Frame{}, buf, err
	}
	body := binary.LittleEndian.Uint32(header[8:])
	if binary.LittleEndian.Uint32(header[0:]) != frameMagic || body > MaxFrameBytes {
		return Frame{}, buf, errTorn
	}
	if cap(buf) < int(body) {
		buf = make([]byte, body)
	}
	buf = buf[:body]
	if _, err := io.ReadFull(r, buf); err != nil {
		if err == io.ErrUnexpectedEOF || err == io.EOF {
			err = errTorn
		}
		return Frame{}, buf, err
	}
	sum := crc32.Update(crc32.Checksum(header[8:], castagnoli), castagnoli, buf)
	if sum != binary.LittleEndian.Uint32(header[4:]) {
		return Frame{}, buf, errTorn
	}
	return Frame{
		Bytes:      frameBytes + int64(body),
		Events:     int(binary.LittleEndian.Uint32(header[12:])),
		ReceivedAt: time.Unix(0, int64(binary.LittleEndian.Uint64(header[16:]))).UTC(),
	}, buf, nil
}

// laterFrame looks for a whole frame at or after from, where a torn one was found
// before: if there is one, the damage is not a crash's. It returns -1 if none.
func laterFrame(f io.ReaderAt, from, size int64) (int64, error) {
	rest := make([]byte, size-from) // a segment's tail: at most a segment and one frame
	if _, err := f.ReadAt(rest, from); err != nil && err != io.EOF {
		return 0, err
	}
	magic := binary.LittleEndian.AppendUint32(nil, frameMagic)
	for at := 0; ; at++ {
		next := bytes.Index(rest[at:], magic)
		if next < 0 {
			return -1, nil
		}
		at += next
		if _, _, err := readFrame(bytes.NewReader(rest[at:]), nil); err == nil {
			return from + int64(at), nil
		}
	}
}
