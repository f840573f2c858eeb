package record

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
)

func TestReadsComeBack(t *testing.T) {
	want := []Read{{"seq", -5, 7, 200, 100}, {"stream", 1 << 40, 1<<40 + 1, 0, 0}}
	var file bytes.Buffer
	if err := WriteReads(&file, want); err != nil {
		t.Fatal(err)
	}
	whole := slices.Clone(file.Bytes())
	var got []Read
	for r, err := range ReadReads(&file) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for _, cut := range []int{0, 10, len(whole) - 1} {
		failed := false
		for _, err := range ReadReads(bytes.NewReader(whole[:cut])) {
			failed = failed || err != nil
		}
		if !failed {
			t.Errorf("cut to %d of %d bytes it was read", cut, len(whole))
		}
	}
}
