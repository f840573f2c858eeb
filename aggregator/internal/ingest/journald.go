package ingest

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"

	"sekali/aggregator/event"
)

const (
	// journaldTopic is for an entry that names neither its program nor its unit.
	journaldTopic = "journald"
	// UploadEntryBytes bounds an entry of journald's, as JSON. Fields beyond are left out, and named.
	UploadEntryBytes = 256 << 10
	// UploadHeld is what an Upload takes of the memory at most: the reader's buffer, one value as it
	// came and as JSON, which may be six times as long, an entry, and the piece.
	UploadHeld = 4 << 20
	// pieceBytes ends a piece.
	pieceBytes = 256 << 10
	// uploadLine is the reader's buffer.
	uploadLine = 64 << 10
	// fieldBytes is what a field takes beside its name and value.
	fieldBytes = 64
	// leftOut is the field that names those which are left out.
	leftOut = "SEKALI_LEFT_OUT"
)

// Upload reads entries of journald in its export format, of any number. The topic is the program,
// else the unit; the id is the cursor, else the entry's hash.
type Upload struct {
	in     *Input
	body   *bufio.Reader
	long   []byte // a line that is longer than the reader's buffer, or a value
	names  []string
	values map[string][][]byte // of a name, as JSON
	size   int                 // of the entry
	Bad    []byte              // where the body is malformed, what stands there
}

// NewUpload returns the Upload of a body.
func NewUpload(in *Input, body io.Reader) *Upload {
	return &Upload{in: in, body: bufio.NewReaderSize(body, uploadLine), values: map[string][][]byte{}}
}

// Piece returns the events of the next entries, some pieceBytes. An error, io.EOF at the end, comes
// with those that are before it. An entry counts once its last line is here.
func (u *Upload) Piece() (*event.Request, error) {
	b := newBuilder(u.in, journaldTopic, pieceBytes+pieceBytes/4)
	for len(b.Data) < pieceBytes && b.Total() < event.MaxEventsPerRequest {
		if err := u.entry(); err != nil {
			return b.done(), err
		}
		if err := u.add(b); err != nil {
			return b.done(), err
		}
	}
	return b.done(), nil
}

// entry reads an entry, which a blank line ends.
func (u *Upload) entry() error {
	u.names, u.size = u.names[:0], 0
	clear(u.values)
	for {
		line, whole, err := u.line()
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0 && len(u.names) == 0:
			return io.EOF
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case len(line) == 0 && len(u.names) > 0:
			return nil
		case len(line) == 0:
			continue
		}
		name, value, isText := bytes.Cut(line, []byte{'='})
		field := string(name)
		if len(name) == 0 || len(name) > event.MaxTextBytes || !event.IsText(name) {
			u.Bad = bytes.Clone(line)
			return malformed("not a field of journald's export format")
		}
		if !isText {
			value, whole, err = u.binary()
		}
		if err != nil {
			return err
		}
		u.keep(field, value, whole)
	}
}

// line reads a line, without its end. One that is too long is cut, and not whole.
func (u *Upload) line() (line []byte, whole bool, err error) {
	line, err = u.body.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return bytes.TrimSuffix(line, []byte{'\n'}), true, err
	}
	whole, u.long = true, append(u.long[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = u.body.ReadSlice('\n')
		if len(u.long)+len(line) > UploadEntryBytes {
			whole = false
			continue
		}
		u.long = append(u.long, line...)
	}
	return bytes.TrimSuffix(u.long, []byte{'\n'}), whole, err
}

// binary reads the value of a field whose name is a line of its own: a length, so many bytes, and
// the line's end.
func (u *Upload) binary() (value []byte, whole bool, err error) {
	var length [8]byte
	if _, err := io.ReadFull(u.body, length[:]); err != nil {
		return nil, false, noEOF(err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > 1<<40 {
		u.Bad = length[:]
		return nil, false, malformed("a field of %d bytes", n)
	}
	if whole = n <= UploadEntryBytes; whole {
		u.long = append(u.long[:0], make([]byte, n)...)
		_, err = io.ReadFull(u.body, u.long)
	} else {
		u.long = u.long[:0]
		_, err = io.CopyN(io.Discard, u.body, int64(n))
	}
	if err != nil {
		return nil, false, noEOF(err)
	}
	end, err := u.body.ReadByte()
	if err == nil && end != '\n' {
		u.Bad = []byte{end}
		return nil, false, malformed("a binary field does not end with its length")
	}
	return u.long, whole, noEOF(err)
}

// noEOF is err, which is not at the end of an entry.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// keep takes a field into the entry, if there is room for it.
func (u *Upload) keep(name string, value []byte, whole bool) {
	var text []byte
	if whole {
		text = journaldValue(value)
	}
	size := fieldBytes + len(name) + len(text)
	if whole = whole && u.size+size <= UploadEntryBytes; !whole {
		name, text = leftOut, event.AppendQuoted(nil, []byte(name))
		size = fieldBytes + len(text)
		if u.size+size > UploadEntryBytes+pieceBytes/4 { // too many to be named
			return
		}
	}
	u.size += size
	if u.values[name] == nil {
		u.names = append(u.names, name)
	}
	u.values[name] = append(u.values[name], text)
}

// journaldValue is a value as journalctl -o json has it: a string, or the numbers of the bytes of
// what is no UTF-8.
func journaldValue(value []byte) []byte {
	if utf8.Valid(value) {
		return event.AppendQuoted(make([]byte, 0, len(value)+2), value)
	}
	out := make([]byte, 0, 4*len(value)+2)
	for i, c := range value {
		sign := byte(',')
		if i == 0 {
			sign = '['
		}
		out = strconv.AppendUint(append(out, sign), uint64(c), 10)
	}
	return append(out, ']')
}

// add makes the entry an event.
func (u *Upload) add(b *builder) error {
	b.begin()
	b.fields.Payload = u.object()
	b.fields.Topic = []byte(cmp.Or(u.text("SYSLOG_IDENTIFIER"), u.text("_SYSTEMD_UNIT")))
	b.fields.Source = []byte(cmp.Or(u.text("_HOSTNAME"), u.text("_MACHINE_ID")))
	b.fields.ID = []byte(u.text("__CURSOR"))
	if len(b.fields.ID) == 0 { // its times are in it: what is equal is the same
		b.fields.ID = hexOf(hash(b.fields.Payload))
	}
	if t, ok := parseTime(u.text("__REALTIME_TIMESTAMP")); ok {
		b.setTime(t)
	}
	b.override(u.in)
	return b.add()
}

// object is the entry as a JSON object; a name that is there more than once has an array.
func (u *Upload) object() []byte {
	out := make([]byte, 0, u.size)
	for i, name := range u.names {
		sign := byte(',')
		if i == 0 {
			sign = '{'
		}
		out = append(event.AppendQuoted(append(out, sign), []byte(name)), ':')
		values := u.values[name]
		if len(values) == 1 && name != leftOut {
			out = append(out, values[0]...)
			continue
		}
		out = append(append(append(out, '['), bytes.Join(values, []byte{','})...), ']')
	}
	return append(out, '}')
}

// text is a field's first value; "" if there is none, or no text.
func (u *Upload) text(name string) string {
	if values := u.values[name]; len(values) > 0 {
		return text(values[0])
	}
	return ""
}
