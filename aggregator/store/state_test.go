package store

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"sekali/internal/sqlite"
)

// fillFields gives each field under v a value of its own, and returns how many there are.
func fillFields(t *testing.T, v reflect.Value, n int) int {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			n = fillFields(t, v.Field(i), n)
		}
		return n
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n + 1))
	case reflect.Uint64:
		v.SetUint(uint64(n + 1))
	case reflect.String:
		v.SetString(fmt.Sprint(n + 1))
	default:
		t.Fatalf("a field of kind %v", v.Kind())
	}
	return n + 1
}

// TestStateColumns: every field of State has one column of its own, every column of the table but
// its id has a field, and what is written is read, by the writer and by check.
func TestStateColumns(t *testing.T) {
	s, _, err := Open(t.TempDir(), Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var want State
	if n := fillFields(t, reflect.ValueOf(&want).Elem(), 0); n != len(stateColumns) {
		t.Errorf("%d columns for %d fields", len(stateColumns), n)
	}
	if err := s.writer.Transaction(func() error { return writeState(s.writer, want) }); err != nil {
		t.Fatal(err)
	}
	if got, err := readState(s.writer); err != nil || got != want {
		t.Errorf("the writer reads %+v, want %+v; %v", got, want, err)
	}
	var got State
	if err := s.Pool.QueryRow(selectState).Scan(got.fields()...); err != nil || got != want {
		t.Errorf("check reads %+v, want %+v; %v", got, want, err)
	}
	named := []string{"id"}
	for _, column := range stateColumns {
		named = append(named, column.name)
	}
	var columns []string
	if err := s.writer.Rows("SELECT name FROM pragma_table_info('state')", func(s *sqlite.Statement) error {
		columns = append(columns, s.ColumnText(0))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(named)
	slices.Sort(columns)
	if !slices.Equal(named, columns) {
		t.Errorf("the table has %q, the list of columns %q", columns, named)
	}
}
