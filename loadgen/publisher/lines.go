package publisher

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLineBytes bounds a line of the input. A longer one is not published: it is
// named with its number.
const maxLineBytes = 1 << 20

var errLineTooLong = errors.New("line is longer than 1 MiB")

// lineReader reads lines without their ends, holding one at a time.
type lineReader struct {
	in     *bufio.Reader
	number uint64 // of the line that next returned last, from 1
	buffer []byte
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next line, good until the call after. A line that is too
// long gives errLineTooLong, and the line after it can be read. A last line
// without an end is a line. The end is io.EOF.
func (l *lineReader) next() ([]byte, error) {
	l.buffer = l.buffer[:0]
	tooLong := false
	for {
		part, err := l.in.ReadSlice('\n')
		if tooLong = tooLong || len(l.buffer)+len(part) > maxLineBytes+len("\r\n"); !tooLong {
			l.buffer = append(l.buffer, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(l.buffer) == 0 && !tooLong):
			return nil, err
		}
		break
	}
	l.number++
	line := bytes.TrimSuffix(bytes.TrimSuffix(l.buffer, []byte("\n")), []byte("\r"))
	if tooLong || len(line) > maxLineBytes {
		return nil, errLineTooLong
	}
	if l.number == 1 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // a byte order mark is not text
	}
	return line, nil
}
