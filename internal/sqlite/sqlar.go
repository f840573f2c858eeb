package sqlite

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync"
	"unsafe"

	"github.com/klauspost/compress/zlib"
	"modernc.org/libc"
	modernc "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The sqlite3 shell has the function sqlar_uncompress(data, bytes) built in: it undoes zlib, and
// returns data as it is if it has that length already. SQLite as a library lacks it, so it is added
// here: to every Conn, and to every connection of database/sql of a program that imports this
// package.
const unpackName = "sqlar_uncompress"

// maxRatio is zlib's own bound: no byte of it stands for more.
const maxRatio = 1032

// ErrPacked means bytes that are not what Pack made.
var ErrPacked = errors.New("not zlib of that length")

// Packer packs; it belongs to one goroutine. The zero Packer is ready.
type Packer struct {
	w   *zlib.Writer
	out bytes.Buffer
}

// Pack returns the parts, one behind the other, packed: in zlib at its fastest, or as they are if
// that takes no more. It is valid until the next call.
func (p *Packer) Pack(parts ...[]byte) (packed []byte, size int, err error) {
	p.out.Reset()
	if p.w == nil {
		if p.w, err = zlib.NewWriterLevel(&p.out, zlib.BestSpeed); err != nil {
			return nil, 0, err
		}
	}
	p.w.Reset(&p.out)
	for _, part := range parts {
		size += len(part)
		if _, err := p.w.Write(part); err != nil {
			return nil, 0, err
		}
	}
	if err := p.w.Close(); err != nil {
		return nil, 0, err
	}
	if p.out.Len() >= size {
		p.out.Reset()
		for _, part := range parts {
			p.out.Write(part)
		}
	}
	return p.out.Bytes(), size, nil
}

// Unpacker undoes Pack; it belongs to one goroutine. The zero Unpacker is ready.
type Unpacker struct {
	in  bytes.Reader
	r   io.ReadCloser
	out []byte
}

// Unpack returns the first bytes of what was packed, size bytes in all. It is valid until the next
// call, and may be packed itself.
func (u *Unpacker) Unpack(packed []byte, size, first int) ([]byte, error) {
	switch {
	case size == len(packed):
		return packed[:min(first, size)], nil
	case size < 0 || size > maxRatio*len(packed):
		return nil, ErrPacked
	}
	u.in.Reset(packed)
	var err error
	if u.r == nil {
		u.r, err = zlib.NewReader(&u.in)
	} else {
		err = u.r.(zlib.Resetter).Reset(&u.in, nil)
	}
	if err != nil {
		u.r = nil
		return nil, fmt.Errorf("%w: %w", ErrPacked, err)
	}
	n := min(first, size)
	if cap(u.out) < n {
		u.out = make([]byte, n)
	}
	u.out = u.out[:n]
	if _, err := io.ReadFull(u.r, u.out); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPacked, err)
	}
	if n == size { // the end, and zlib's own checksum
		var more [1]byte
		if n, err := io.ReadFull(u.r, more[:]); n > 0 || err != io.EOF {
			return nil, ErrPacked
		}
	}
	return u.out, nil
}

// unpackers are for the function, which any connection may call.
var unpackers = sync.Pool{New: func() any { return &Unpacker{} }}

func init() {
	err := modernc.RegisterDeterministicScalarFunction(unpackName, 2, func(_ *modernc.FunctionContext, args []driver.Value) (driver.Value, error) {
		size, ok := args[1].(int64)
		if args[0] == nil || !ok {
			return nil, nil
		}
		packed, ok := args[0].([]byte)
		if text, isText := args[0].(string); isText {
			packed, ok = []byte(text), true
		}
		if !ok {
			return args[0], nil
		}
		u := unpackers.Get().(*Unpacker)
		defer unpackers.Put(u)
		plain, err := u.Unpack(packed, int(size), int(size))
		return bytes.Clone(plain), err
	})
	if err != nil {
		panic(err) // the name is taken: another package of the program has added it
	}
}

// unpackFunction is the same on SQLite's own interface.
func unpackFunction(tls *libc.TLS, ctx uintptr, _ int32, args uintptr) {
	values := unsafe.Slice((*uintptr)(at(args)), 2)
	size := sqlite3.Xsqlite3_value_int64(tls, values[1])
	length := sqlite3.Xsqlite3_value_bytes(tls, values[0])
	if int64(length) == size {
		sqlite3.Xsqlite3_result_value(tls, ctx, values[0])
		return
	}
	u := unpackers.Get().(*Unpacker)
	defer unpackers.Put(u)
	var plain []byte
	err := ErrPacked
	if from := sqlite3.Xsqlite3_value_blob(tls, values[0]); from != 0 {
		plain, err = u.Unpack(unsafe.Slice((*byte)(at(from)), length), int(size), int(size))
	}
	if err != nil {
		if message, failed := libc.CString(err.Error()); failed == nil {
			sqlite3.Xsqlite3_result_error(tls, ctx, message, -1)
			libc.Xfree(tls, message)
		}
		return
	}
	into := libc.Xmalloc(tls, libc.Tsize_t(len(plain)+1))
	if into == 0 {
		sqlite3.Xsqlite3_result_error_nomem(tls, ctx)
		return
	}
	copy(unsafe.Slice((*byte)(at(into)), len(plain)), plain)
	sqlite3.Xsqlite3_result_blob(tls, ctx, into, int32(len(plain)), ^uintptr(0)) // SQLITE_TRANSIENT
	libc.Xfree(tls, into)
}

// addFunctions gives a connection sqlar_uncompress.
func (c *Conn) addFunctions() error {
	name, err := libc.CString(unpackName)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, name)
	const flags = sqlite3.SQLITE_UTF8 | sqlite3.SQLITE_DETERMINISTIC | sqlite3.SQLITE_INNOCUOUS
	// A C function pointer is, to modernc.org/libc, a Go function value's word.
	function := *(*uintptr)(unsafe.Pointer(&struct {
		f func(*libc.TLS, uintptr, int32, uintptr)
	}{unpackFunction}))
	if rc := sqlite3.Xsqlite3_create_function(c.tls, c.db, name, 2, flags, 0, function, 0, 0); rc != sqlite3.SQLITE_OK {
		return c.failed(rc)
	}
	return nil
}
