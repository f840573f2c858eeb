package main

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteConn is a connection on SQLite's own interface. Through database/sql a row costs 2 to 3 µs
// more, which would flatter what is compared with it. It belongs to one goroutine at a time.
type sqliteConn struct {
	tls *libc.TLS
	db  uintptr
}

func openSQLite(path string, pragmas ...string) (*sqliteConn, error) {
	c := &sqliteConn{tls: libc.NewTLS()}
	name, err := libc.CString(path)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, name)
	handle := libc.Xcalloc(c.tls, 1, libc.Tsize_t(unsafe.Sizeof(uintptr(0))))
	defer libc.Xfree(c.tls, handle)
	const flags = sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_CREATE | sqlite3.SQLITE_OPEN_NOMUTEX
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, handle, flags, 0)
	c.db = *(*uintptr)(at(handle))
	if err := c.check(rc); err != nil {
		return nil, errors.Join(err, c.close())
	}
	for _, pragma := range pragmas {
		if err := c.exec("PRAGMA " + pragma); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

// at is a place in libc's memory, which Go's collector neither moves nor frees.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

func (c *sqliteConn) check(rc int32) error {
	if rc == sqlite3.SQLITE_OK {
		return nil
	}
	return fmt.Errorf("sqlite: %s (%d)", libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db)), rc)
}

func (c *sqliteConn) exec(sql string) error {
	text, err := libc.CString(sql)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, text)
	return c.check(sqlite3.Xsqlite3_exec(c.tls, c.db, text, 0, 0, 0))
}

// prepare returns a statement that lives as long as the connection.
func (c *sqliteConn) prepare(sql string) (*sqliteStatement, error) {
	text, err := libc.CString(sql)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, text)
	handle := libc.Xcalloc(c.tls, 1, libc.Tsize_t(unsafe.Sizeof(uintptr(0))))
	defer libc.Xfree(c.tls, handle)
	if err := c.check(sqlite3.Xsqlite3_prepare_v2(c.tls, c.db, text, -1, handle, 0)); err != nil {
		return nil, err
	}
	return &sqliteStatement{c, *(*uintptr)(at(handle))}, nil
}

// count is the number that a query's only row holds.
func (c *sqliteConn) count(sql string) (int, error) {
	s, err := c.prepare(sql)
	if err != nil {
		return 0, err
	}
	defer sqlite3.Xsqlite3_finalize(c.tls, s.handle)
	if rc := sqlite3.Xsqlite3_step(c.tls, s.handle); rc != sqlite3.SQLITE_ROW {
		return 0, c.check(rc)
	}
	return int(sqlite3.Xsqlite3_column_int64(c.tls, s.handle, 0)), nil
}

// close finalizes what was prepared.
func (c *sqliteConn) close() error {
	for s := sqlite3.Xsqlite3_next_stmt(c.tls, c.db, 0); s != 0; s = sqlite3.Xsqlite3_next_stmt(c.tls, c.db, 0) {
		sqlite3.Xsqlite3_finalize(c.tls, s)
	}
	err := c.check(sqlite3.Xsqlite3_close(c.tls, c.db))
	c.tls.Close()
	return err
}

type sqliteStatement struct {
	conn   *sqliteConn
	handle uintptr
}

// run binds the texts to the parameters in order, where they lie, and executes: the texts are read
// before run returns.
func (s *sqliteStatement) run(texts ...string) (changed bool, err error) {
	tls := s.conn.tls
	for i, text := range texts {
		p := unsafe.StringData(text)
		if rc := sqlite3.Xsqlite3_bind_text(tls, s.handle, int32(i+1), uintptr(unsafe.Pointer(p)), int32(len(text)), 0); rc != sqlite3.SQLITE_OK {
			return false, s.conn.check(rc)
		}
	}
	if rc := sqlite3.Xsqlite3_step(tls, s.handle); rc != sqlite3.SQLITE_DONE {
		return false, errors.Join(s.conn.check(rc), s.conn.check(sqlite3.Xsqlite3_reset(tls, s.handle)))
	}
	changed = sqlite3.Xsqlite3_changes(tls, s.conn.db) > 0
	runtime.KeepAlive(texts)
	return changed, s.conn.check(sqlite3.Xsqlite3_reset(tls, s.handle))
}
