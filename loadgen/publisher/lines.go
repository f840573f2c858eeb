package publisher

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const (
	// maxLineBytes bounds a line of the input. A longer one is not published: it is
	// named with its number.
	maxLineBytes = 1 << 20
	// headBytes is how much of a file's beginning is part of what tells it from others.
	headBytes = 1 << 10
	// tailBytes is how much before a position tells whether a file still is what it was.
	tailBytes = 256
)

var errLineTooLong = errors.New("line is longer than 1 MiB")

// lineReader reads lines without their ends, holding one at a time.
type lineReader struct {
	in     *bufio.Reader
	number uint64 // of the line that next returned last, from 1
	start  int64  // where that line begins
	end    int64  // and where the one after it does
	head   []byte // the first headBytes of the input, as far as they were read
	tail   []byte // the last tailBytes of that line, its end included
	grows  bool   // the input is still written: a line without an end waits for it

	buffer  []byte // of a line; of one without an end, what there is of it
	pending int64  // bytes of the input since end
	tooLong bool
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next line, good until the call after. A line that is too
// long gives errLineTooLong, and the line after it can be read. A last line
// without an end is a line, unless the input grows. The end is io.EOF.
func (l *lineReader) next() ([]byte, error) {
	if l.pending == 0 {
		l.buffer, l.tooLong = l.buffer[:0], false
	}
	for {
		part, err := l.in.ReadSlice('\n')
		l.take(part)
		switch {
		case err == nil:
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case !errors.Is(err, io.EOF) || l.pending == 0 || l.grows:
			return nil, err
		}
		return l.line()
	}
}

// take adds a part of a line. Zeros before it are no part of it: they are the
// hole that is left where a file is truncated under a writer that does not append.
func (l *lineReader) take(part []byte) {
	if at := l.end + l.pending; at <= int64(len(l.head)) {
		known := min(int64(len(l.head))-at, int64(len(part))) // a follower looks ahead
		l.head = append(l.head, part[known:min(int64(len(part)), max(known, headBytes-at))]...)
	}
	l.pending += int64(len(part))
	if len(l.buffer) == 0 {
		part = bytes.TrimLeft(part, "\x00")
	}
	if l.tooLong = l.tooLong || len(l.buffer)+len(part) > maxLineBytes+len("\r\n"); !l.tooLong {
		l.buffer = append(l.buffer, part...)
	}
}

// line is what was taken.
func (l *lineReader) line() ([]byte, error) {
	l.number++
	l.start, l.end, l.pending = l.end, l.end+l.pending, 0
	l.tail = append(l.tail[:0], l.buffer[max(0, len(l.buffer)-tailBytes):]...)
	if l.tooLong {
		l.tail = l.tail[:0] // the buffer has not its end
	}
	line := bytes.TrimSuffix(bytes.TrimSuffix(l.buffer, []byte("\n")), []byte("\r"))
	if l.tooLong || len(line) > maxLineBytes {
		return nil, errLineTooLong
	}
	if l.start == 0 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // a byte order mark is not text
	}
	return line, nil
}
