// Package sqlite binds SQLite's own interface, as modernc.org/sqlite/lib has it: what database/sql
// would cost for each row is saved.
package sqlite

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"modernc.org/libc"
	modernc "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Conn is a connection on SQLite's own interface. Through database/sql, and
// through the driver's Exec with many rows a statement alike, an event cost about
// twice the CPU (measured, both): each of its ten values was converted, boxed and
// copied into memory of its own. It belongs to one goroutine at a time. No call
// carries a deadline: a statement that is cut off would leave open whether it
// happened.
type Conn struct {
	tls        *libc.TLS
	db         uintptr
	statements map[string]*Statement // by their SQL
}

// Error is an error of SQLite's, with its extended result code.
type Error struct {
	Code    int32
	message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.message, e.Code) }

// Full reports that the disk has no room.
func (e *Error) Full() bool { return e.Code&0xff == sqlite3.SQLITE_FULL }

// IsDamage reports an error that means a damaged database, or none, of this package's or of
// database/sql's.
func IsDamage(err error) bool {
	code := int32(0)
	var own *Error
	var driver *modernc.Error
	switch {
	case errors.As(err, &own):
		code = own.Code
	case errors.As(err, &driver):
		code = int32(driver.Code())
	}
	return code&0xff == sqlite3.SQLITE_CORRUPT || code&0xff == sqlite3.SQLITE_NOTADB
}

// Refusal reports an error that says no to what is stored, and not that it cannot be stored now.
func (e *Error) Refusal() bool {
	switch e.Code & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
		return true
	}
	return false
}

// Version is that of SQLite.
const Version = sqlite3.SQLITE_VERSION

// Open opens the database that uri names; it must exist. Its syncs are fdatasync on Linux, unless
// the uri names a vfs.
func Open(uri string) (*Conn, error) {
	c := &Conn{tls: libc.NewTLS(), statements: map[string]*Statement{}}
	name, err := libc.CString(uri)
	if err != nil {
		c.tls.Close()
		return nil, err
	}
	defer libc.Xfree(c.tls, name)
	handle := libc.Xcalloc(c.tls, 1, pointerBytes)
	if handle == 0 {
		c.tls.Close()
		return nil, errMemory
	}
	defer libc.Xfree(c.tls, handle)
	const flags = sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_NOMUTEX | sqlite3.SQLITE_OPEN_URI
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, handle, flags, fileSystem(c.tls))
	c.db = *(*uintptr)(at(handle))
	if rc != sqlite3.SQLITE_OK {
		return nil, errors.Join(c.failed(rc), c.Close())
	}
	sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	if err := c.addFunctions(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

const pointerBytes = libc.Tsize_t(unsafe.Sizeof(uintptr(0)))

var errMemory = errors.New("out of memory")

// ErrIgnored means that a statement which is to change one row changed none, and that it is no
// error for SQLite: RAISE(IGNORE).
var ErrIgnored = errors.New("a trigger of the database ignored it")

// ErrLocked means that another process holds the database's write lock. Nothing was begun: the same
// may be tried again as it is.
var ErrLocked = errors.New("another process holds the database's write lock")

// at is a place in libc's memory, which Go's collector neither moves nor frees.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// failed is the error behind a result code.
func (c *Conn) failed(rc int32) error {
	e := &Error{Code: rc, message: libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))}
	if c.db != 0 {
		e.Code = sqlite3.Xsqlite3_extended_errcode(c.tls, c.db)
		e.message = libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))
	}
	return e
}

// ReadOnly reports whether the database cannot be written: SQLite opens a file all the same that it
// may only read.
func (c *Conn) ReadOnly() bool { return sqlite3.Xsqlite3_db_readonly(c.tls, c.db, 0) == 1 }

// LeaveWAL says whether the WAL stays as it is when the last connection is closed; else that one
// copies and removes it.
func (c *Conn) LeaveWAL(stays bool) error {
	on := int32(0)
	if stays {
		on = 1
	}
	args := libc.NewVaList(on, uintptr(0))
	if args == 0 {
		return errMemory
	}
	defer libc.Xfree(c.tls, args)
	if rc := sqlite3.Xsqlite3_db_config(c.tls, c.db, sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, args); rc != sqlite3.SQLITE_OK {
		return c.failed(rc)
	}
	return nil
}

// Exec runs sql, which may be several statements, and ignores rows.
func (c *Conn) Exec(sql string) error {
	text, err := libc.CString(sql)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, text)
	if rc := sqlite3.Xsqlite3_exec(c.tls, c.db, text, 0, 0, 0); rc != sqlite3.SQLITE_OK {
		return c.failed(rc)
	}
	return nil
}

// Prepare returns the statement for sql, prepared once a connection.
func (c *Conn) Prepare(sql string) (*Statement, error) {
	if s, ok := c.statements[sql]; ok {
		return s, nil
	}
	text, err := libc.CString(sql)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, text)
	handle := libc.Xcalloc(c.tls, 1, pointerBytes)
	if handle == 0 {
		return nil, errMemory
	}
	defer libc.Xfree(c.tls, handle)
	if rc := sqlite3.Xsqlite3_prepare_v2(c.tls, c.db, text, -1, handle, 0); rc != sqlite3.SQLITE_OK {
		return nil, c.failed(rc)
	}
	s := &Statement{conn: c, handle: *(*uintptr)(at(handle))}
	c.statements[sql] = s
	return s, nil
}

// Row reads the only row of a query into *int64, *uint64, *int and *string.
func (c *Conn) Row(sql string, to ...any) (err error) {
	s, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Reset()) }()
	found, err := s.Step()
	if err == nil && !found {
		err = errors.New("no row")
	}
	if err != nil {
		return err
	}
	for i, p := range to {
		switch p := p.(type) {
		case *int64:
			*p = s.ColumnInt(int32(i))
		case *uint64:
			*p = uint64(s.ColumnInt(int32(i)))
		case *int:
			*p = int(s.ColumnInt(int32(i)))
		case *string:
			*p = s.ColumnText(int32(i))
		}
	}
	return nil
}

// Rows runs a query and calls each on every row.
func (c *Conn) Rows(sql string, each func(*Statement) error, args ...int64) (err error) {
	s, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Reset()) }()
	for i, n := range args {
		if err := s.BindInt(int32(i+1), n); err != nil {
			return err
		}
	}
	for {
		if found, err := s.Step(); err != nil || !found {
			return err
		}
		if err := each(s); err != nil {
			return err
		}
	}
}

// Run executes a statement that has no rows.
func (c *Conn) Run(sql string, args ...int64) error {
	return c.Rows(sql, func(*Statement) error { return nil }, args...)
}

// Transaction runs body between BEGIN IMMEDIATE and COMMIT; an error of any of
// them rolls back.
func (c *Conn) Transaction(body func() error) error {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		var e *Error
		if errors.As(err, &e) && e.Code&0xff == sqlite3.SQLITE_BUSY {
			return fmt.Errorf("%w: %w", ErrLocked, err)
		}
		return fmt.Errorf("begin: %w", err)
	}
	err := body()
	if err == nil {
		if err = c.Exec("COMMIT"); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	if c.InTransaction() { // some errors have rolled back already
		if rollback := c.Exec("ROLLBACK"); rollback != nil {
			err = errors.Join(err, fmt.Errorf("rollback: %w", rollback))
		}
	}
	return err
}

// InTransaction reports that a transaction is open.
func (c *Conn) InTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// Close finalizes the statements and closes the connection.
func (c *Conn) Close() error {
	for _, s := range c.statements {
		sqlite3.Xsqlite3_finalize(c.tls, s.handle) // repeats the last error of the statement
	}
	var err error
	if rc := sqlite3.Xsqlite3_close(c.tls, c.db); rc != sqlite3.SQLITE_OK {
		err = c.failed(rc)
	}
	c.tls.Close()
	return err
}

// Statement is a prepared statement of a Conn.
type Statement struct {
	conn   *Conn
	handle uintptr
}

// BindInt sets parameter i, counted from 1.
func (s *Statement) BindInt(i int32, v int64) error {
	return s.bound(sqlite3.Xsqlite3_bind_int64(s.conn.tls, s.handle, i, v))
}

// BindText sets parameter i to a text that must stay as it is until the next reset.
func (s *Statement) BindText(i int32, t Text) error {
	return s.bound(sqlite3.Xsqlite3_bind_text(s.conn.tls, s.handle, i, t.at, t.Bytes, 0)) // 0: SQLITE_STATIC
}

// BindBlob is BindText for bytes.
func (s *Statement) BindBlob(i int32, t Text) error {
	return s.bound(sqlite3.Xsqlite3_bind_blob(s.conn.tls, s.handle, i, t.at, t.Bytes, 0))
}

// BindNull sets parameter i to NULL.
func (s *Statement) BindNull(i int32) error {
	return s.bound(sqlite3.Xsqlite3_bind_null(s.conn.tls, s.handle, i))
}

func (s *Statement) bound(rc int32) error {
	if rc != sqlite3.SQLITE_OK {
		return s.conn.failed(rc)
	}
	return nil
}

// Step reports whether a row is there.
func (s *Statement) Step() (row bool, err error) {
	switch rc := sqlite3.Xsqlite3_step(s.conn.tls, s.handle); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		return false, nil
	default:
		return false, s.conn.failed(rc)
	}
}

// ColumnInt reads column i, counted from 0, of the row that step found.
func (s *Statement) ColumnInt(i int32) int64 {
	return sqlite3.Xsqlite3_column_int64(s.conn.tls, s.handle, i)
}

// ColumnText copies a text; see ColumnInt.
func (s *Statement) ColumnText(i int32) string {
	p := sqlite3.Xsqlite3_column_text(s.conn.tls, s.handle, i)
	return string(unsafe.Slice((*byte)(at(p)), sqlite3.Xsqlite3_column_bytes(s.conn.tls, s.handle, i)))
}

// Reset makes the statement ready for the next parameters.
func (s *Statement) Reset() error { return s.bound(sqlite3.Xsqlite3_reset(s.conn.tls, s.handle)) }

// Run executes the statement and returns the number of rows it changed.
func (s *Statement) Run() (changed int64, err error) {
	if _, err := s.Step(); err != nil {
		_ = s.Reset() // it repeats the error
		return 0, err
	}
	changed = sqlite3.Xsqlite3_changes64(s.conn.tls, s.conn.db)
	return changed, s.Reset()
}

// RunTexts binds the texts to the parameters in order, where they lie, and executes: they are read
// before it returns.
func (s *Statement) RunTexts(texts ...string) (changed int64, err error) {
	for i, text := range texts {
		p := uintptr(unsafe.Pointer(unsafe.StringData(text)))
		if err := s.bound(sqlite3.Xsqlite3_bind_text(s.conn.tls, s.handle, int32(i+1), p, int32(len(text)), 0)); err != nil {
			return 0, err
		}
	}
	changed, err = s.Run()
	runtime.KeepAlive(texts)
	return changed, err
}

// Change runs a statement that is to change one row; ErrIgnored: it did not.
func (s *Statement) Change() error {
	changed, err := s.Run()
	if err == nil && changed != 1 {
		err = ErrIgnored
	}
	return err
}

// Text is a string in libc's memory.
type Text struct {
	at    uintptr
	Bytes int32
}

// Text copies one string; free gives its memory back.
func (c *Conn) Text(s string) (t Text, free func(), err error) {
	p, err := libc.CString(s)
	if err != nil {
		return Text{}, nil, err
	}
	return Text{p, int32(len(s))}, func() { libc.Xfree(c.tls, p) }, nil
}

// Arena is a piece of libc's memory for the strings of one batch.
type Arena struct {
	conn *Conn
	base uintptr
	size int
	used int
}

// Reset forgets all texts and makes room for so many bytes.
func (t *Arena) Reset(c *Conn, bytes int) error {
	if c != t.conn || bytes > t.size || bytes < t.size/4 {
		t.Free()
		size := bytes + bytes/4 + 1
		p := libc.Xmalloc(c.tls, libc.Tsize_t(size))
		if p == 0 {
			return errMemory
		}
		t.conn, t.base, t.size = c, p, size
	}
	t.used = 0
	return nil
}

// Add copies a string that reset has made room for.
func (t *Arena) Add(s string) Text {
	if t.used+len(s) > t.size {
		panic("sqlite: arena: more was added than reset made room for")
	}
	p := t.base + uintptr(t.used)
	copy(unsafe.Slice((*byte)(at(p)), len(s)), s)
	t.used += len(s)
	return Text{p, int32(len(s))}
}

// Free gives the memory back.
func (t *Arena) Free() {
	if t.base != 0 {
		libc.Xfree(t.conn.tls, t.base)
	}
	*t = Arena{}
}
