package cluster

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"testing"

	"modernc.org/sqlite"
)

// TestGuard: a panic is an error with its stack, an error stays what it is, and a panic from within
// SQLite goes on.
func TestGuard(t *testing.T) {
	var p *Panic
	if err := Guard(func() error { panic("no such index") }); !errors.As(err, &p) || p.Value != "no such index" || !strings.Contains(string(p.Stack), "TestGuard") {
		t.Errorf("a panic: %v", err)
	}
	if err := Guard(func() error { return io.EOF }); err != io.EOF {
		t.Errorf("an error: %v", err)
	}
	sqlite.MustRegisterScalarFunction("sekali_test_panic", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) { panic("in SQLite") })
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	got := func() (value any) {
		defer func() { value = recover() }()
		return Guard(func() error { return db.QueryRow("SELECT sekali_test_panic()").Err() })
	}()
	if got != "in SQLite" {
		t.Errorf("a panic within SQLite: %v", got)
	}
}
