package record_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"sekali/bench/labtest/recordtest"
	"sekali/bench/record"
)

// What is written is read again, and a name is one of a file.
func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	for _, want := range recordtest.Faults() {
		name, err := record.WriteFault(dir, want)
		if err != nil || name != filepath.Base(name) {
			t.Fatal(name, err)
		}
		got, err := record.ReadFault(filepath.Join(dir, name))
		if want.Format = record.Format; err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n%+v\nwant\n%+v", name, err, got, want)
		}
	}
	if name, err := record.WriteFault(dir, record.Fault{Name: "../x: 64 file, 5 x"}); err != nil || name != "x-64-file-5-x"+record.Extension {
		t.Error(name, err)
	}
}

// A bucket's end is at most a hundredth above what was counted.
func TestTimes(t *testing.T) {
	clock := record.Clock{}
	for us := range 1000 {
		clock.Add(time.Duration(us+1) * time.Millisecond)
	}
	times := clock.Times()
	for _, q := range []float64{0.01, 0.5, 0.99} {
		exact := q*1000 + 1
		if got, ok := times.QuantileMS(q); !ok || got < exact*0.999 || got > exact*1.011 {
			t.Errorf("%v: %v, exactly %v", q, got, exact)
		}
	}
	if _, ok := (record.Times{}).QuantileMS(0.5); ok || times.Count() != 1000 {
		t.Errorf("%d counted", times.Count())
	}
}

// TestIndexIsAlwaysWhole: who reads an index while the next is written has the old one, to its end.
func TestIndexIsAlwaysWhole(t *testing.T) {
	dir := t.TempDir()
	if err := record.WriteIndex(dir, record.Index{ID: "old"}); err != nil {
		t.Fatal(err)
	}
	reading, err := os.Open(filepath.Join(dir, record.IndexFile))
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	if err := record.WriteIndex(dir, record.Index{ID: "new"}); err != nil {
		t.Fatal(err)
	}
	var old record.Index
	if err := json.NewDecoder(reading).Decode(&old); err != nil || old.ID != "old" {
		t.Errorf("%q, %v", old.ID, err)
	}
	if next, err := record.ReadIndex(dir); err != nil || next.ID != "new" {
		t.Errorf("%q, %v", next.ID, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}
