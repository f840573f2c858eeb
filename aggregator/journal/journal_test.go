package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var at = time.Unix(1_800_000_000, 5).UTC()

func open(t rapid.TB, dir string, committed Position) (*Journal, []Frame) {
	t.Helper()
	j, backlog, err := Open(dir, committed)
	if err != nil {
		t.Fatal(err)
	}
	return j, backlog
}

func appendFrame(t rapid.TB, j *Journal, body string) Frame {
	t.Helper()
	frame, err := j.Append([][]byte{[]byte(body)}, len(body), at)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func bodies(t rapid.TB, j *Journal, frames []Frame) []string {
	t.Helper()
	var all []string
	for _, f := range frames {
		body, err := j.Read(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) != f.Events || !f.ReceivedAt.Equal(at) {
			t.Fatalf("frame %+v holds %d bytes", f, len(body))
		}
		all = append(all, string(body))
	}
	return all
}

// TestReplayAgainstAModel writes, releases and reopens at random, cutting the tail
// as a crash would: what was appended and not committed comes back, in order.
func TestReplayAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "journal")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var committed Position
		var waiting []string
		var frames []Frame
		j, _ := open(t, dir, committed)
		reopen := func() {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j, frames = open(t, dir, committed)
			if got := bodies(t, j, frames); fmt.Sprint(got) != fmt.Sprint(waiting) {
				t.Fatalf("reopened with %q, want %q", got, waiting)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				body := rapid.StringN(1, 50, 200).Draw(t, "body")
				frames = append(frames, appendFrame(t, j, body))
				waiting = append(waiting, body)
			},
			"commit": func(t *rapid.T) {
				if len(frames) == 0 {
					return
				}
				n := rapid.IntRange(1, len(frames)).Draw(t, "frames")
				committed = frames[n-1].End()
				frames, waiting = frames[n:], waiting[n:]
				if err := j.Release(committed); err != nil {
					t.Fatal(err)
				}
			},
			"reopen": func(*rapid.T) { reopen() },
			"crash while writing": func(t *rapid.T) {
				f := j.file(j.tail.Segment)
				torn := rapid.SliceOfN(rapid.Byte(), 1, 80).Draw(t, "torn")
				if _, err := f.WriteAt(torn, j.tail.Offset); err != nil {
					t.Fatal(err)
				}
				reopen()
			},
			"fsync fails": func(t *rapid.T) {
				j.broken = true
				if _, err := j.Append([][]byte{[]byte("x")}, 1, at); err == nil {
					t.Fatal("append to a broken journal")
				}
				if _, err := j.file(j.tail.Segment).WriteAt([]byte("leftover"), j.tail.Offset); err != nil {
					t.Fatal(err)
				}
				if err := j.Repair(); err != nil {
					t.Fatal(err)
				}
			},
		})
		j.Close()
	})
}

func TestSegmentsAreReleased(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Position{})
	defer j.Close()
	var frames []Frame
	for j.tail.Segment < 3 {
		frames = append(frames, appendFrame(t, j, string(bytes.Repeat([]byte("x"), MaxFrameBytes/2))))
	}
	last := frames[len(frames)-1]
	if err := j.Release(last.Start); err != nil {
		t.Fatal(err)
	}
	if left, _ := j.list(); len(left) != 1 || left[0] != 3 {
		t.Fatalf("segments %v are left, want 3 alone", left)
	}
	if _, err := j.Read(last, nil); err != nil {
		t.Fatal(err)
	}
}

// TestDamageIsNotACrash flips each byte of a journal of three synced frames: the
// last frame may be taken for a torn tail, anything before must be refused or
// be outside every checksum's reach, of which there is nothing.
func TestDamageIsNotACrash(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Position{})
	var frames []Frame
	for _, body := range []string{"first", "second", "third"} {
		frames = append(frames, appendFrame(t, j, body))
	}
	path := j.path(1)
	j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x10
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		j, got, err := Open(dir, Position{})
		if int64(i) < frames[2].Start.Offset {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d flipped: %v", i, err)
			}
			continue
		}
		if err != nil || len(got) != 2 {
			t.Fatalf("byte %d of the last frame flipped: %d frames, %v", i, len(got), err)
		}
		j.Close()
	}
	for cut := range whole {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		j, got, err := Open(dir, Position{})
		if err != nil {
			t.Fatalf("cut to %d bytes: %v", cut, err)
		}
		for k, f := range got {
			if f != frames[k] || f.End().Offset > int64(cut) {
				t.Fatalf("cut to %d bytes: frame %+v", cut, f)
			}
		}
		j.Close()
	}
}

func TestMissingSegmentIsRefused(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Position{})
	appendFrame(t, j, "x")
	j.Close()
	if _, _, err := Open(dir, Position{Segment: 1, Offset: 1000}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a shortened segment: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, filepath.Base(j.path(1))), j.path(2)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir, Position{Segment: 1, Offset: 40}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a missing segment: %v", err)
	}
	empty, backlog := open(t, t.TempDir(), Position{Segment: 7, Offset: 40})
	defer empty.Close()
	if len(backlog) != 0 || empty.tail.Segment != 8 {
		t.Fatalf("a restored store without a journal: %+v", empty.tail)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			j, _, err := Open(b.TempDir(), Position{})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			body := [][]byte{make([]byte, size)}
			b.SetBytes(int64(size))
			for b.Loop() {
				frame, err := j.Append(body, 1, at)
				if err != nil {
					b.Fatal(err)
				}
				if err := j.Release(frame.Start); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
