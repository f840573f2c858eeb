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
)

// errTorn is what a frame that a crash has cut looks like.
var errTorn = errors.New("torn frame")

// openAll opens the segments of these numbers and reads their headers. A last one whose header a
// crash has cut holds nothing, for begin had not returned: it is unbegun, and not among those
// found. What is found is to be closed, whatever the error.
func (j *Journal) openAll(numbers []uint64, committed Position, flag int) (found []*segment, unbegun uint64, err error) {
	for i, n := range numbers {
		f, err := os.OpenFile(j.path(n), flag, 0)
		if err != nil {
			return found, 0, err
		}
		s, err := readHeader(f, n)
		if err != nil {
			err = errors.Join(err, f.Close())
		}
		if errors.Is(err, errUnbegun) && i == len(numbers)-1 && n != committed.Segment {
			unbegun = n
			break
		}
		if errors.Is(err, errUnbegun) {
			err = fmt.Errorf("%w: segment %d has no whole header", ErrCorrupt, n)
		}
		if err != nil {
			return found, 0, err
		}
		found = append(found, s)
	}
	return found, unbegun, contiguous(found, committed)
}

// contiguous refuses a journal from which a segment is missing: what it held may have been
// acknowledged. A journal that is wholly absent, or was when it was begun, is taken as the
// operator's choice (a restored backup has none).
func contiguous(found []*segment, committed Position) error {
	want := max(committed.Segment, 1)
	for i, s := range found {
		if i == 0 && s.previousEnd == noPrevious && s.number == committed.Segment+1 {
			want = s.number
		}
		if s.number != want {
			return fmt.Errorf("%w: segment %d is missing (the store has applied up to segment %d)", ErrCorrupt, want, committed.Segment)
		}
		want++
	}
	return nil
}

// examine returns the frames beyond committed, and where the last whole one ends in the last
// segment. What follows there is a frame that a crash has cut, or of an earlier use of the file;
// any other damage is an error.
func examine(found []*segment, committed Position) (frames []Frame, end int64, err error) {
	for i, s := range found {
		info, err := s.file.Stat()
		if err != nil {
			return nil, 0, err
		}
		last := i == len(found)-1
		limit := info.Size()
		if !last && found[i+1].previousEnd != unknownPrevious {
			limit = found[i+1].previousEnd
		}
		from := s.begin
		if s.number == committed.Segment {
			from = max(from, committed.Offset)
		}
		if from > limit || limit > info.Size() {
			return nil, 0, fmt.Errorf("%w: segment %d has %d bytes, want %d", ErrCorrupt, s.number, info.Size(), max(from, limit))
		}
		var more []Frame
		more, end, err = scan(s, from, limit)
		if errors.Is(err, errTorn) {
			err = isCut(s, end, limit, last)
		}
		if err != nil {
			return nil, 0, err
		}
		frames = append(frames, more...)
	}
	return frames, end, nil
}

// isCut says why a frame that is not whole is not a crash's work; nil if it may be.
func isCut(s *segment, at, size int64, last bool) error {
	if !last {
		return fmt.Errorf("%w: segment %d at %d, and later segments exist", ErrCorrupt, s.number, at)
	}
	later, err := laterFrame(s, at+1, size)
	if err == nil && later >= 0 {
		err = fmt.Errorf("%w: segment %d at %d, but a whole frame follows at %d", ErrCorrupt, s.number, at, later)
	}
	return err
}

// scan reads frames from offset from on, to the end or to the first that is not
// whole (errTorn); end is where the last whole one ends.
func scan(s *segment, from, size int64) (frames []Frame, end int64, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(s.file, from, size-from), 1<<20)
	var frame Frame
	var buf []byte
	for end = from; ; end += frame.Bytes {
		frame, buf, err = readFrame(r, s.seed, buf)
		if err == io.EOF {
			return frames, end, nil
		}
		if err != nil {
			return frames, end, err
		}
		frame.Start = Position{s.number, end}
		frames = append(frames, frame)
	}
}

// readFrame reads and checks the next frame: io.EOF at a clean end, errTorn if it
// is not whole.
func readFrame(r io.Reader, seed uint32, buf []byte) (Frame, []byte, error) {
	var header [frameBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = errTorn
		}
		return Frame{}, buf, err
	}
	body := binary.LittleEndian.Uint32(header[8:])
	packed := body&isPacked != 0
	body &^= isPacked
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
	sum := crc32.Update(crc32.Update(seed, castagnoli, header[8:]), castagnoli, buf)
	if sum != binary.LittleEndian.Uint32(header[4:]) {
		return Frame{}, buf, errTorn
	}
	unpacked := frameBytes + int64(body)
	if packed {
		n, err := unpackedBytes(buf)
		if err != nil {
			return Frame{}, buf, fmt.Errorf("%w: %w", ErrCorrupt, err) // its checksum is right: nothing was cut
		}
		unpacked = int64(n)
	}
	return Frame{
		Bytes:      frameBytes + int64(body),
		Unpacked:   unpacked,
		Events:     int(binary.LittleEndian.Uint32(header[12:])),
		ReceivedAt: time.Unix(0, int64(binary.LittleEndian.Uint64(header[16:]))).UTC(),
		packed:     packed,
	}, buf, nil
}

// laterFrame looks for a whole frame at or after from, where a torn one was found
// before: if there is one, the damage is not a crash's. It returns -1 if none.
func laterFrame(s *segment, from, size int64) (int64, error) {
	rest := make([]byte, size-from) // a segment's tail: at most a segment and one frame
	if _, err := s.file.ReadAt(rest, from); err != nil && err != io.EOF {
		return 0, err
	}
	magic := binary.LittleEndian.AppendUint32(nil, frameMagic)
	for at := 0; ; at++ {
		next := bytes.Index(rest[at:], magic)
		if next < 0 {
			return -1, nil
		}
		at += next
		if _, _, err := readFrame(bytes.NewReader(rest[at:]), s.seed, nil); err == nil {
			return from + int64(at), nil
		}
	}
}
