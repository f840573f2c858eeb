package store

import (
	"errors"
	"fmt"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// conn is the writer's connection, on SQLite's own interface. Through database/sql, and
// through the driver's Exec with many rows a statement alike, an event cost about
// twice the CPU (measured, both): each of its ten values was converted, boxed and
// copied into memory of its own. It belongs to one goroutine at a time. No call
// carries a deadline: a statement that is cut off would leave open whether it
// happened.
type conn struct {
	tls        *libc.TLS
	db         uintptr
	statements map[string]*statement // by their SQL
}

// sqliteError is an error of SQLite's, with its extended result code.
type sqliteError struct {
	code    int32
	message string
}

func (e *sqliteError) Error() string { return fmt.Sprintf("%s (%d)", e.message, e.code) }

// openConn opens the database that uri names; it must exist.
func openConn(uri string) (*conn, error) {
	c := &conn{tls: libc.NewTLS(), statements: map[string]*statement{}}
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
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, handle, flags, 0)
	c.db = *(*uintptr)(at(handle))
	if rc != sqlite3.SQLITE_OK {
		return nil, errors.Join(c.failed(rc), c.close())
	}
	sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	return c, nil
}

const pointerBytes = libc.Tsize_t(unsafe.Sizeof(uintptr(0)))

var (
	errMemory   = errors.New("out of memory")
	errReadOnly = errors.New("the file is read-only")
)

// at is a place in libc's memory, which Go's collector neither moves nor frees.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// failed is the error behind a result code.
func (c *conn) failed(rc int32) error {
	e := &sqliteError{code: rc, message: libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))}
	if c.db != 0 {
		e.code = sqlite3.Xsqlite3_extended_errcode(c.tls, c.db)
		e.message = libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))
	}
	return e
}

// readOnly reports whether the database cannot be written: SQLite opens a file all the same that it
// may only read.
func (c *conn) readOnly() bool { return sqlite3.Xsqlite3_db_readonly(c.tls, c.db, 0) == 1 }

// leaveWAL says whether the WAL stays as it is when the last connection is closed; else that one
// copies and removes it.
func (c *conn) leaveWAL(stays bool) error {
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

// exec runs sql, which may be several statements, and ignores rows.
func (c *conn) exec(sql string) error {
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

// prepare returns the statement for sql, prepared once a connection.
func (c *conn) prepare(sql string) (*statement, error) {
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
	s := &statement{conn: c, handle: *(*uintptr)(at(handle))}
	c.statements[sql] = s
	return s, nil
}

// row reads the only row of a query into *int64, *uint64, *int and *string.
func (c *conn) row(sql string, to ...any) (err error) {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.reset()) }()
	found, err := s.step()
	if err == nil && !found {
		err = errors.New("no row")
	}
	if err != nil {
		return err
	}
	for i, p := range to {
		switch p := p.(type) {
		case *int64:
			*p = s.columnInt(int32(i))
		case *uint64:
			*p = uint64(s.columnInt(int32(i)))
		case *int:
			*p = int(s.columnInt(int32(i)))
		case *string:
			*p = s.columnText(int32(i))
		}
	}
	return nil
}

// rows runs a query and calls each on every row.
func (c *conn) rows(sql string, each func(*statement) error, args ...int64) (err error) {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.reset()) }()
	for i, n := range args {
		if err := s.bindInt(int32(i+1), n); err != nil {
			return err
		}
	}
	for {
		if found, err := s.step(); err != nil || !found {
			return err
		}
		if err := each(s); err != nil {
			return err
		}
	}
}

// run executes a statement that has no rows.
func (c *conn) run(sql string, args ...int64) error {
	return c.rows(sql, func(*statement) error { return nil }, args...)
}

// transaction runs body between BEGIN IMMEDIATE and COMMIT; an error of any of
// them rolls back.
func (c *conn) transaction(body func() error) error {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		var e *sqliteError
		if errors.As(err, &e) && e.code&0xff == sqlite3.SQLITE_BUSY {
			return fmt.Errorf("%w: %w", ErrLocked, err)
		}
		return fmt.Errorf("begin: %w", err)
	}
	err := body()
	if err == nil {
		if err = c.exec("COMMIT"); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	if c.inTransaction() { // some errors have rolled back already
		if rollback := c.exec("ROLLBACK"); rollback != nil {
			err = errors.Join(err, fmt.Errorf("rollback: %w", rollback))
		}
	}
	return err
}

func (c *conn) inTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

func (c *conn) close() error {
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

// statement is a prepared statement of a conn.
type statement struct {
	conn   *conn
	handle uintptr
}

// bindInt sets parameter i, counted from 1.
func (s *statement) bindInt(i int32, v int64) error {
	return s.bound(sqlite3.Xsqlite3_bind_int64(s.conn.tls, s.handle, i, v))
}

// bindText sets parameter i to a text that must stay as it is until the next reset.
func (s *statement) bindText(i int32, t text) error {
	return s.bound(sqlite3.Xsqlite3_bind_text(s.conn.tls, s.handle, i, t.at, t.bytes, 0)) // 0: SQLITE_STATIC
}

// bindBlob is bindText for bytes.
func (s *statement) bindBlob(i int32, t text) error {
	return s.bound(sqlite3.Xsqlite3_bind_blob(s.conn.tls, s.handle, i, t.at, t.bytes, 0))
}

func (s *statement) bindNull(i int32) error {
	return s.bound(sqlite3.Xsqlite3_bind_null(s.conn.tls, s.handle, i))
}

func (s *statement) bound(rc int32) error {
	if rc != sqlite3.SQLITE_OK {
		return s.conn.failed(rc)
	}
	return nil
}

// step reports whether a row is there.
func (s *statement) step() (row bool, err error) {
	switch rc := sqlite3.Xsqlite3_step(s.conn.tls, s.handle); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		return false, nil
	default:
		return false, s.conn.failed(rc)
	}
}

// columnInt and columnText read column i, counted from 0, of the row that step found.
func (s *statement) columnInt(i int32) int64 {
	return sqlite3.Xsqlite3_column_int64(s.conn.tls, s.handle, i)
}

func (s *statement) columnText(i int32) string {
	p := sqlite3.Xsqlite3_column_text(s.conn.tls, s.handle, i)
	return string(unsafe.Slice((*byte)(at(p)), sqlite3.Xsqlite3_column_bytes(s.conn.tls, s.handle, i)))
}

func (s *statement) reset() error { return s.bound(sqlite3.Xsqlite3_reset(s.conn.tls, s.handle)) }

// run executes the statement and returns the number of rows it changed.
func (s *statement) run() (changed int64, err error) {
	if _, err := s.step(); err != nil {
		_ = s.reset() // it repeats the error
		return 0, err
	}
	changed = sqlite3.Xsqlite3_changes64(s.conn.tls, s.conn.db)
	return changed, s.reset()
}

// change runs a statement that is to change one row; errIgnored: it did not.
func (s *statement) change() error {
	changed, err := s.run()
	if err == nil && changed != 1 {
		err = errIgnored
	}
	return err
}

// text is a string in libc's memory.
type text struct {
	at    uintptr
	bytes int32
}

// text copies one string; free gives its memory back.
func (c *conn) text(s string) (t text, free func(), err error) {
	p, err := libc.CString(s)
	if err != nil {
		return text{}, nil, err
	}
	return text{p, int32(len(s))}, func() { libc.Xfree(c.tls, p) }, nil
}

// texts is a piece of libc's memory for the strings of one batch.
type texts struct {
	conn *conn
	base uintptr
	size int
	used int
}

// reset forgets all texts and makes room for so many bytes.
func (t *texts) reset(c *conn, bytes int) error {
	if c != t.conn || bytes > t.size || bytes < t.size/4 {
		t.free()
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

// add copies a string that reset has made room for.
func (t *texts) add(s string) text {
	if t.used+len(s) > t.size {
		panic("store: texts: more was added than reset made room for")
	}
	p := t.base + uintptr(t.used)
	copy(unsafe.Slice((*byte)(at(p)), len(s)), s)
	t.used += len(s)
	return text{p, int32(len(s))}
}

func (t *texts) free() {
	if t.base != 0 {
		libc.Xfree(t.conn.tls, t.base)
	}
	*t = texts{}
}
