package journal

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzOpen opens a journal whose only segment holds anything at all: it gives a prefix
// of whole frames that can be read, or refuses, and what it opened can be opened again.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	j, _, err := Open(dir, Position{})
	if err != nil {
		f.Fatal(err)
	}
	for _, body := range []string{"first", "second", strings.Repeat("packed ", 500)} {
		if _, err := j.Append([][]byte{[]byte(body)}, len(body), at); err != nil {
			f.Fatal(err)
		}
	}
	j.Close()
	whole, err := os.ReadFile(j.path(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, int64(0))
	f.Add(whole[:len(whole)-3], int64(headerBytes))
	f.Add(append(whole, whole[headerBytes:]...), int64(len(whole)))
	f.Add(append(whole, make([]byte, 64)...), int64(1))
	f.Fuzz(func(t *testing.T, data []byte, offset int64) {
		dir := t.TempDir()
		committed := Position{Segment: 1, Offset: offset}
		if err := os.WriteFile((&Journal{dir: dir}).path(1), data, 0o600); err != nil {
			t.Fatal(err)
		}
		j, frames, err := Open(dir, committed)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		for _, frame := range frames {
			if _, err := j.Read(frame, nil); err != nil && (!frame.packed || !errors.Is(err, ErrCorrupt)) {
				t.Fatal(err)
			}
		}
		if _, err := j.Append([][]byte{[]byte("more")}, 4, at); err != nil {
			t.Fatal(err)
		}
		j.Close()
		j, again, err := Open(dir, committed)
		if err != nil || len(again) != len(frames)+1 {
			t.Fatalf("%d frames, then %d after one more; %v", len(frames), len(again), err)
		}
		j.Close()
	})
}
