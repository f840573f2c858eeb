// Package record is what the lab leaves behind: the files of a result folder, of the faults, of the
// soak and of the yardsticks, their types, reading, writing and hashes. Nothing here measures or
// judges. A record has what was sent, what was answered and what is stored, so that its verdict is
// computed from it alone, without an aggregator.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

const (
	// Format is the version of all files of the lab; a reader refuses any other. 1 had other words
	// for the same things.
	Format = 2
	// Extension of a record's file: JSON, packed by zstd.
	Extension = ".json.zst"
	// SoakFile is the record of a soak.
	SoakFile = "record" + Extension
	// maxBytes bounds an unpacked record; a soak of half an hour has 10 MB.
	maxBytes = 256 << 20
)

// write packs a record.
func write(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("record: %s: %w", path, err)
	}
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	packed := packer.EncodeAll(append(text, '\n'), nil)
	if err := errors.Join(packer.Close(), os.WriteFile(path, packed, 0o644)); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// read unpacks a record into value. A field that this program does not know is one that it would
// leave out of the figures.
func read(path string, value any) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	defer file.Close()
	unpacker, err := zstd.NewReader(file)
	if err != nil {
		return fmt.Errorf("record: %s: %w", path, err)
	}
	defer unpacker.Close()
	text, err := io.ReadAll(io.LimitReader(unpacker, maxBytes))
	if err != nil {
		return fmt.Errorf("record: %s: %w", path, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return fmt.Errorf("record: %s: %w", path, err)
	}
	return nil
}

// CheckFormat refuses a file whose version is not Format.
func CheckFormat(path string, format int) error {
	if format != Format {
		return fmt.Errorf("record: %s: format %d, this program reads %d", path, format, Format)
	}
	return nil
}

// WriteFault writes a fault's record into dir and returns its name there.
func WriteFault(dir string, f Fault) (name string, err error) {
	f.Format = Format
	name = fileName(f.Name)
	return name, write(filepath.Join(dir, name), f)
}

// ReadFault reads a fault's record.
func ReadFault(path string) (f Fault, err error) {
	if err = read(path, &f); err == nil {
		err = CheckFormat(path, f.Format)
	}
	return f, err
}

// WriteSoak writes the record of a soak.
func WriteSoak(path string, s Soak) error {
	s.Format = Format
	return write(path, s)
}

// ReadSoak reads the record of a soak.
func ReadSoak(path string) (s Soak, err error) {
	if err = read(path, &s); err == nil {
		err = CheckFormat(path, s.Format)
	}
	return s, err
}

// fileName makes a fault's name one of a file: letters, digits and hyphens.
func fileName(fault string) string {
	name := []byte{}
	for _, c := range []byte(fault) {
		switch {
		case c >= 'A' && c <= 'Z':
			name = append(name, c+'a'-'A')
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			name = append(name, c)
		case len(name) > 0 && name[len(name)-1] != '-':
			name = append(name, '-')
		}
	}
	return string(bytes.TrimRight(name, "-")) + Extension
}
