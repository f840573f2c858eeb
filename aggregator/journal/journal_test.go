package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sekali/internal/memorydir"
)

var at = time.Unix(1_800_000_000, 5).UTC()

func open(t rapid.TB, dir string, committed Position) (*Journal, []Frame) {
	t.Helper()
	waiting, err := Check(dir, committed)
	if err != nil {
		t.Fatal(err)
	}
	j, backlog, err := Open(dir, committed)
	if err != nil {
		t.Fatal(err)
	}
	if waiting.Frames != len(backlog) {
		t.Fatalf("Check found %d frames, Open %d", waiting.Frames, len(backlog))
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

// noise is a body that does not get smaller.
func noise(t rapid.TB, bytes int) string {
	b := make([]byte, bytes)
	if _, err := rand.New(rand.NewSource(int64(bytes))).Read(b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReplayAgainstAModel writes, releases and reopens at random, cutting the tail as a crash
// would, with segments of a few frames that are written over: what was appended and not committed
// comes back, in order.
func TestReplayAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := memorydir.Make("journal")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var committed Position
		var waiting []string
		var frames []Frame
		j, _ := open(t, dir, committed)
		j.most = 600
		reopen := func() {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j, frames = open(t, dir, committed)
			j.most = 600
			if got := bodies(t, j, frames); fmt.Sprint(got) != fmt.Sprint(waiting) {
				t.Fatalf("reopened with %q, want %q", got, waiting)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				body := rapid.StringN(1, 50, 200).Draw(t, "body")
				if rapid.Bool().Draw(t, "packed") {
					body = strings.Repeat(body, minPacked/len(body)+1)
				}
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
				torn := rapid.SliceOfN(rapid.Byte(), 1, 80).Draw(t, "torn")
				if _, err := j.current.file.WriteAt(torn, j.tail.Offset); err != nil {
					t.Fatal(err)
				}
				reopen()
			},
			"fsync fails": func(t *rapid.T) {
				j.broken = true
				if _, err := j.Append([][]byte{[]byte("x")}, 1, at); err == nil {
					t.Fatal("append to a broken journal")
				}
				if _, err := j.current.file.WriteAt([]byte("leftover"), j.tail.Offset); err != nil {
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
	j.most = 4 << 20
	frames, body := []Frame{appendFrame(t, j, noise(t, MaxFrameBytes/2))}, noise(t, 1<<20)
	for j.tail.Segment < 3 {
		frames = append(frames, appendFrame(t, j, body))
	}
	last := frames[len(frames)-1]
	if err := j.Release(last.Start); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Read(frames[0], nil); err == nil {
		t.Fatal("a frame of a segment that was given up can be read")
	}
	if _, err := j.Read(last, nil); err != nil {
		t.Fatal(err)
	}
	// Those given up are written over …
	for j.tail.Segment < 5 {
		last = appendFrame(t, j, body)
	}
	if left, _ := j.list(); fmt.Sprint(left) != "[3 4 5]" {
		t.Fatalf("segments %v are left, want 3 to 5", left)
	}
	// … or, where there is little room, removed.
	j.Fit(SegmentBytes)
	if err := j.Release(last.Start); err != nil {
		t.Fatal(err)
	}
	j.givingBack.Wait()
	if left, _ := j.list(); fmt.Sprint(left) != "[5]" || j.notRemoved != nil {
		t.Fatalf("segments %v are left, want 5 alone; %v", left, j.notRemoved)
	}
}

// threeFrames returns the folder of a journal whose last segment has three frames, and where the
// store is: in a new file, or in one that is written over, with more and longer frames of its
// earlier use.
func threeFrames(t *testing.T, writtenOver bool) (dir string, frames []Frame, committed Position) {
	t.Helper()
	dir = t.TempDir()
	j, _ := open(t, dir, Position{})
	if writtenOver {
		for range 3 {
			appendFrame(t, j, strings.Repeat("earlier", 5))
		}
		j.most = 1 // each frame begins a segment
		appendFrame(t, j, "between")
		if err := j.Release(j.current.start()); err != nil {
			t.Fatal(err)
		}
	}
	for _, body := range []string{"first", "second", "third"} {
		frames = append(frames, appendFrame(t, j, body))
		j.most = SegmentBytes
	}
	if writtenOver {
		committed = frames[0].Start
		if err := j.Release(committed); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, frames, committed
}

// TestDamageIsNotACrash flips each byte of a journal of three synced frames: the last frame may be
// taken for a torn tail, anything before must be refused or be outside every checksum's reach, of
// which there is nothing. What an earlier use has left behind them is not looked at.
func TestDamageIsNotACrash(t *testing.T) {
	for _, writtenOver := range []bool{false, true} {
		dir, frames, committed := threeFrames(t, writtenOver)
		last := frames[2]
		path := (&Journal{dir: dir}).path(last.Start.Segment)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if more := int64(len(whole)) > last.End().Offset; more != writtenOver {
			t.Fatalf("a file of %d bytes, its last frame ends at %d", len(whole), last.End().Offset)
		}
		for i := range whole {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 0x10
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			j, got, err := Open(dir, committed)
			want := 3
			switch {
			case int64(i) < last.Start.Offset:
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("byte %d flipped: %v", i, err)
				}
				continue
			case int64(i) < last.End().Offset:
				want = 2
			}
			if err != nil || len(got) != want {
				t.Fatalf("byte %d flipped: %d frames, want %d; %v", i, len(got), want, err)
			}
			j.Close()
		}
		for cut := range whole {
			if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
				t.Fatal(err)
			}
			j, got, err := Open(dir, committed)
			if int64(cut) < headerBytes && writtenOver {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("cut to %d bytes, fewer than the store has applied: %v", cut, err)
				}
				continue
			}
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
}

// TestShortenedSegmentIsRefused cuts whole frames off a segment that is not the last.
func TestShortenedSegmentIsRefused(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Position{})
	appendFrame(t, j, "first")
	cut := appendFrame(t, j, "second").Start.Offset
	j.most = 1
	appendFrame(t, j, "in the next")
	j.Close()
	if err := os.Truncate(j.path(1), cut); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir, Position{}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a segment without its last frame: %v", err)
	}
}

// TestFirstForm goes on with a segment as the first version of this package wrote them.
func TestFirstForm(t *testing.T) {
	dir := t.TempDir()
	header := binary.LittleEndian.AppendUint64([]byte(segmentMagic1), 1)
	header = binary.LittleEndian.AppendUint32(header, crc32.Checksum(header, castagnoli))
	if err := os.WriteFile((&Journal{dir: dir}).path(1), header, 0o600); err != nil {
		t.Fatal(err)
	}
	j, backlog := open(t, dir, Position{})
	frames := append(backlog, appendFrame(t, j, "first"))
	j.Close()
	j, backlog = open(t, dir, Position{})
	if got := bodies(t, j, backlog); len(got) != 1 || got[0] != "first" || backlog[0] != frames[0] {
		t.Fatalf("%q of %+v", got, backlog)
	}
	j.most = 1
	frames = append(frames, appendFrame(t, j, "second"))
	j.Close()
	j, backlog = open(t, dir, Position{})
	defer j.Close()
	if got := bodies(t, j, backlog); len(got) != 2 || backlog[1] != frames[1] {
		t.Fatalf("%q of %+v", got, backlog)
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
}

// TestRestoredStore opens a journal that is wholly absent, again and again before the store has
// applied anything of the new one.
func TestRestoredStore(t *testing.T) {
	restored := Position{Segment: 7, Offset: 40}
	dir := t.TempDir()
	j, backlog := open(t, dir, restored)
	if len(backlog) != 0 || j.tail.Segment != 8 {
		t.Fatalf("a restored store without a journal: %+v", j.tail)
	}
	j.Close()
	j, backlog = open(t, dir, restored)
	if len(backlog) != 0 {
		t.Fatalf("%+v in an empty journal", backlog)
	}
	frames := []Frame{appendFrame(t, j, "first")}
	j.most = 1
	frames = append(frames, appendFrame(t, j, "second"))
	j.Close()
	j, backlog = open(t, dir, restored)
	j.Close()
	if fmt.Sprint(backlog) != fmt.Sprint(frames) {
		t.Fatalf("%+v, want %+v", backlog, frames)
	}
	if err := os.Remove(j.path(8)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir, restored); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("the new journal without its first segment: %v", err)
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

// TestPackedFrames: what repeats takes less on disk, what does not is left as it is, and both come
// back as they were, now and after the journal is opened again; a bit that flips is found.
func TestPackedFrames(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Position{})
	want := []string{
		strings.Repeat("x", minPacked-1), strings.Repeat("a line that comes again and again; ", 1000), noise(t, 3*minPacked),
		strings.Repeat("y", MaxFrameBytes),
	}
	var frames []Frame
	for _, body := range want {
		frames = append(frames, appendFrame(t, j, body))
	}
	for i, isPacked := range []bool{false, true, false, true} {
		f := frames[i]
		if f.packed != isPacked || isPacked && (f.Bytes > f.Unpacked/8 || f.Unpacked != int64(len(want[i]))) || !isPacked && f.Bytes != f.Unpacked {
			t.Errorf("frame %d of %d bytes: %+v", i, len(want[i]), f)
		}
	}
	for range 2 {
		if got := bodies(t, j, frames); !slices.Equal(got, want) {
			t.Fatal("other bodies came back")
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		var again []Frame
		if j, again = open(t, dir, Position{}); !slices.Equal(again, frames) {
			t.Fatalf("%+v, want %+v", again, frames)
		}
	}
	f := frames[1]
	for bit := range f.Bytes * 8 {
		raw := make([]byte, 1)
		at := f.Start.Offset + bit/8
		if _, err := j.current.file.ReadAt(raw, at); err != nil {
			t.Fatal(err)
		}
		change := func() {
			raw[0] ^= 1 << (bit % 8)
			if _, err := j.current.file.WriteAt(raw, at); err != nil {
				t.Fatal(err)
			}
		}
		change()
		if _, err := j.Read(f, nil); !errors.Is(err, ErrCorrupt) && bit >= 32 { // the magic is for who looks for a frame
			t.Errorf("bit %d: %v", bit, err)
		}
		change()
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
