package publisher

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// sniffBytes of an input tell whether it is text.
	sniffBytes = 512
	// maxZstdWindow bounds what a zstd file makes its reader hold.
	maxZstdWindow = 128 << 20

	gzipMagic = "\x1f\x8b"
	zstdMagic = "\x28\xb5\x2f\xfd"
)

// magics are the beginnings of what is no log, as people would call it.
var magics = []struct{ begins, what string }{
	{"\xff\xfe", "UTF-16"}, {"\xfe\xff", "UTF-16"},
	{"BZh", "bzip2"}, {"\xfd7zXZ\x00", "xz"}, {"\x04\x22\x4d\x18", "lz4"}, {"PK\x03\x04", "zip"},
	{"\x7fELF", "a program"}, {"LPKSHHRH", "a journal of systemd, which `journalctl -o short-iso` reads"},
}

// decode returns the text of an input: of gzip and zstd what they hold. It reads no more than is
// there, for a pipe that comes slowly. Also when a gzip was made of it, zero if unknown.
func decode(in io.Reader) (io.Reader, time.Time, error) {
	text := bufio.NewReaderSize(in, 64<<10)
	switch {
	case begins(text, gzipMagic):
		unpacked, err := gzip.NewReader(text)
		if err != nil {
			return nil, time.Time{}, err
		}
		inner := bufio.NewReaderSize(unpacked, 64<<10)
		return inner, unpacked.ModTime, refuseBinary(inner)
	case begins(text, zstdMagic):
		unpacked, err := zstd.NewReader(text, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, time.Time{}, err
		}
		inner := bufio.NewReaderSize(unpacked, 64<<10)
		return inner, time.Time{}, refuseBinary(inner)
	}
	return text, time.Time{}, refuseBinary(text)
}

// begins waits for no more bytes than are needed to tell.
func begins(in *bufio.Reader, magic string) bool {
	for n := 1; n <= len(magic); n++ {
		if have, _ := in.Peek(n); string(have) != magic[:n] {
			return false
		}
	}
	return true
}

// refuseBinary is an error if what in begins with is not text in UTF-8 or a
// form like it. Zeros before the text are a hole, as in lineReader.take.
func refuseBinary(in *bufio.Reader) error {
	for _, magic := range magics {
		if begins(in, magic.begins) {
			return fmt.Errorf("is %s, not text", magic.what)
		}
	}
	in.Peek(1)
	first, _ := in.Peek(min(in.Buffered(), sniffBytes))
	if at := bytes.IndexByte(bytes.TrimLeft(first, "\x00"), 0); at >= 0 {
		return fmt.Errorf("is binary, not text: a zero byte is among its first %d", sniffBytes)
	}
	return nil
}

// plain is an input that is read once, from its beginning to its end.
type plain struct {
	*file
	io.Closer
}

func (p *plain) from() *file { return p.file }

// openPlain opens a file or standard input.
func openPlain(c Config) (*plain, error) {
	if c.Input == "-" {
		text, _, err := decode(c.Stdin)
		if err != nil {
			return nil, fmt.Errorf("%w: -input: standard input %w", ErrConfig, err)
		}
		return &plain{newFile(text, pipeIdentity(c)), io.NopCloser(nil)}, nil
	}
	handle, info, err := openFile(c.Input)
	if err != nil {
		return nil, fmt.Errorf("%w: -input: %w", ErrConfig, err)
	}
	p, err := readPlain(c, handle, info)
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("%w: -input: %s %w", ErrConfig, c.Input, err)
	}
	return p, nil
}

// inputName names the input to a person.
func (c Config) inputName() string {
	if c.Input == "-" {
		return "standard input"
	}
	return c.Input
}

func openFile(path string) (*os.File, os.FileInfo, error) {
	handle, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := handle.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder", path)
	}
	if err != nil {
		handle.Close()
		return nil, nil, err
	}
	return handle, info, nil
}

func readPlain(c Config, handle *os.File, info os.FileInfo) (*plain, error) {
	if !info.Mode().IsRegular() { // a named pipe: it can be read only once
		text, _, err := decode(handle)
		if err != nil {
			return nil, err
		}
		return &plain{newFile(text, pipeIdentity(c)), handle}, nil
	}
	written := info.ModTime()
	text, made, err := decode(handle)
	if err != nil {
		return nil, err
	}
	// A gzip has the date of what it was made of: 0, or nonsense, where that is not known.
	if made.Unix() > 0 && made.Before(written) {
		written = made
	}
	f := newFile(nil, fileIdentity(c, handle, info))
	if c.Lines {
		f.years.last = firstYear(text, written, c.zone())
		if _, err := handle.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		if text, _, err = decode(handle); err != nil {
			return nil, err
		}
	}
	f.in = bufio.NewReaderSize(text, 64<<10)
	return &plain{f, handle}, nil
}

// pipeIdentity is that of lines which no file's identity tells apart.
func pipeIdentity(c Config) string {
	if c.Run != "" {
		return "run " + c.Run
	}
	return "run " + randomRun()
}

// fileIdentity is the same for a file that is read again, renamed or longer.
func fileIdentity(c Config, handle *os.File, info os.FileInfo) string {
	if c.Run != "" {
		return "run " + c.Run
	}
	device, inode, birth := identify(handle, info)
	return fmt.Sprintf("file %d %d %d", device, inode, birth)
}
