package crashimage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hexed writes a text as strace -xx does.
func hexed(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return b.String()
}

// written is a run that was recorded: request 7 comes, its frame is written by one thread and
// synced by another, and it is answered while request 8 arrives.
func written() string {
	file, publisher, other := hexed("/data/1.log"), hexed("socket:[11]"), hexed("socket:[12]")
	return strings.Join([]string{
		`100   mkdirat(AT_FDCWD, "` + hexed("/data") + `", 0700) = 0`,
		`100   openat(AT_FDCWD, "` + hexed("/data/1.log") + `", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5<` + file + `>`,
		`100   fsync(4<` + hexed("/data") + `>) = 0`,
		`100   openat(AT_FDCWD, "` + hexed("/etc/hosts") + `", O_RDONLY) = 6<` + hexed("/etc/hosts") + `>`,
		`101   read(7<` + publisher + `>, "` + hexed("POST /publish HTTP/1.1\r\nX-Request-Id: 7\r\n\r\n[]") + `", 4096) = 45`,
		`101   write(5<` + file + `>, "` + hexed("frame") + `", 5) = 5`,
		`102   fdatasync(5<` + file + `> <unfinished ...>`,
		`101   read(8<` + other + `>, "` + hexed("POST /publish HTTP/1.1\r\nX-Request-Id: 8\r\n\r\n[]") + `", 4096) = 45`,
		`102   <... fdatasync resumed>)          = 0`,
		`101   write(7<` + publisher + `>, "` + hexed("HTTP/1.1 202 Accepted\r\n\r\n") + `", 25) = 25`,
		`101   fdatasync(5<` + file + `>) = -1 EIO (Input/output error) (INJECTED)`,
		`100   +++ killed by SIGKILL +++`,
	}, "\n") + "\n"
}

// TestTraceOfARequest: what a run did to its folder, and when which publisher was heard and
// answered.
func TestTraceOfARequest(t *testing.T) {
	trace := NewTrace("/data")
	if err := trace.Read(strings.NewReader(written())); err != nil {
		t.Fatal(err)
	}
	kinds := []kind{}
	for _, op := range trace.Ops {
		kinds = append(kinds, op.kind)
	}
	if want := []kind{create, create, syncBegin, syncEnd, write, syncBegin, syncEnd, syncBegin, syncFailed}; !slices.Equal(kinds, want) {
		t.Fatalf("%v, want %v", kinds, want)
	}
	if trace.FailedSyncs() != 1 {
		t.Errorf("%d syncs failed, not one", trace.FailedSyncs())
	}
	for _, want := range []struct {
		request, cut    int
		asked, answered bool
	}{{7, 3, false, false}, {7, 4, true, false}, {7, 6, true, false}, {7, 7, true, true}, {8, 5, false, false}, {8, 6, true, false}, {8, 9, true, false}, {9, 9, false, false}} {
		if asked, answered := trace.Reached(want.request, want.cut); asked != want.asked || answered != want.answered {
			t.Errorf("request %d, cut before %d: asked %v, answered %v", want.request, want.cut, asked, answered)
		}
	}
}

// TestImageOfATrace: once a publisher is answered its frame is there, with a good disk always and
// with one that ignores syncs sometimes not.
func TestImageOfATrace(t *testing.T) {
	trace := NewTrace("/data")
	if err := trace.Read(strings.NewReader(written())); err != nil {
		t.Fatal(err)
	}
	for rules, mayBeLost := range map[Rules]bool{{}: false, {NoDataSync: true}: true, {NoFolderSync: true}: true} {
		lost := false
		for seed := range uint64(64) {
			dir := t.TempDir()
			if err := trace.Write(dir, 7, rules, rand.New(rand.NewPCG(seed, 1))); err != nil {
				t.Fatal(err)
			}
			have, err := os.ReadFile(filepath.Join(dir, "1.log"))
			lost = lost || err != nil || string(have) != "frame"
		}
		if lost != mayBeLost {
			t.Errorf("%+v: lost %v, want %v", rules, lost, mayBeLost)
		}
	}
}

// TestTraceThatIsNotWhole: strace that was ended before the process has not seen all of it.
func TestTraceThatIsNotWhole(t *testing.T) {
	whole := written()
	for _, text := range []string{"", whole[:strings.LastIndex(whole, "100 ")], whole[:len(whole)-10]} {
		if err := NewTrace("/data").Read(strings.NewReader(text)); err == nil {
			t.Errorf("read as a whole one: ...%q", text[max(0, len(text)-40):])
		}
	}
}
