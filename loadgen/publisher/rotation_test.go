package publisher

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// followedLog is a log that is followed while a test rotates it. Everything is read by hand, so
// each read is a poll.
type followedLog struct {
	t     *testing.T
	path  string
	src   source
	read  map[string]int // how often each line was read
	ids   map[string]int // and each id given
	warns []string
}

func followLog(t *testing.T, name, text string) *followedLog {
	l := &followedLog{t: t, path: writeFile(t, name, text), read: map[string]int{}, ids: map[string]int{}}
	c := Config{Input: l.path, Lines: true, Topic: "t", State: filepath.Join(t.TempDir(), "state")}
	src, err := openSource(t.Context(), c, position{}, func(text string) { l.warns = append(l.warns, text) })
	if err != nil {
		t.Fatal(err)
	}
	l.src = src
	t.Cleanup(func() { src.Close() })
	return l
}

// lines reads up to n lines.
func (l *followedLog) lines(n int) {
	l.t.Helper()
	for range n {
		event, _, err := l.src.next(nil)
		if errors.Is(err, io.EOF) {
			return
		}
		var e logEvent
		if err = errors.Join(err, json.Unmarshal(event, &e)); err != nil {
			l.t.Fatal(err)
		}
		l.read[e.Payload.Text]++
		l.ids[e.EventID]++
	}
}

// check is an error unless each line of the texts, and no other, was read once.
func (l *followedLog) check(texts ...string) {
	l.t.Helper()
	want := strings.Split(strings.TrimSuffix(strings.Join(texts, ""), "\n"), "\n")
	for _, line := range want {
		if l.read[line] != 1 {
			l.t.Errorf("%q was read %d times", line, l.read[line])
			break
		}
	}
	if len(l.read) != len(want) || len(l.ids) != len(want) {
		l.t.Errorf("%d different lines with %d ids, want %d", len(l.read), len(l.ids), len(want))
	}
}

func (l *followedLog) do(errs ...error) {
	l.t.Helper()
	if err := errors.Join(errs...); err != nil {
		l.t.Fatal(err)
	}
}

func (l *followedLog) append(text string) {
	l.t.Helper()
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	l.do(err)
	_, err = f.WriteString(text)
	l.do(err, f.Close())
}

// numbered are lines of about 100 bytes.
func numbered(what string, n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "2026-05-01 12:00:00 %s %d %s\n", what, i, strings.Repeat("x", 70+i%7))
	}
	return text.String()
}

// A reader that is behind, as while the aggregator is away, does not take for a continuation what
// has grown beyond its place since the file was truncated.
func TestTruncatedWhileTheReaderIsBehind(t *testing.T) {
	truncatedAfterALine(t, numbered("before", 2000), numbered("after", 3000))
}

// What is known of the beginning of a short file is not replaced by what came after a truncation.
func TestTruncatedWhileItIsShort(t *testing.T) {
	truncatedAfterALine(t, numbered("before", 3), numbered("after", 5))
}

// truncatedAfterALine truncates a log, of which there is a copy, when one line was read.
func truncatedAfterALine(t *testing.T, before, after string) {
	t.Helper()
	l := followLog(t, "app.log", before)
	l.lines(1)
	l.do(os.WriteFile(l.path+".1", []byte(before), 0o600), os.Truncate(l.path, 0))
	l.append(after)
	l.lines(1 << 20)
	l.check(before, after)
	if len(l.warns) > 0 {
		t.Errorf("%q", l.warns)
	}
}

// logrotate makes app.log.1.gz beside app.log.1: it has the date of now until it is whole.
func TestACopyThatIsBeingPacked(t *testing.T) {
	before := strings.ReplaceAll(numbered("before", 3000), "2026-05-01 12:00:00 ", "")
	l := followLog(t, "app.log", before)
	old := time.Now().Add(-time.Minute)
	l.do(os.Chtimes(l.path, old, old))
	l.lines(1 << 20)
	packed, plain := gzipped([]byte(before)), l.path+".1"
	l.do(os.Rename(l.path, plain), os.WriteFile(plain+".gz", packed[:len(packed)/2], 0o600))
	l.append("new\n")
	l.lines(1 << 20)
	l.check(before, "new\n")
	l.do(os.WriteFile(plain+".gz", packed, 0o600), os.Chtimes(plain+".gz", old, old), os.Remove(plain))
	l.append("newer\n")
	l.lines(1 << 20)
	l.check(before, "new\n", "newer\n")
	if len(l.warns) > 0 {
		t.Errorf("%q", l.warns)
	}
}

// A file that was rotated away while nobody looked is read also while its copy is being made, and
// also if that is done between the listing and the opening.
func TestAMissedFileThatIsBeingPacked(t *testing.T) {
	before, missed := numbered("before", 3), numbered("missed", 3000)
	l := followLog(t, "app.log", before)
	old := time.Now().Add(-time.Minute)
	l.do(os.Chtimes(l.path, old, old))
	l.lines(1 << 20)
	packed, plain := gzipped([]byte(missed)), l.path+".1"
	l.do(os.Rename(l.path, l.path+".2"), os.WriteFile(plain, []byte(missed), 0o600), os.WriteFile(plain+".gz", packed[:len(packed)/2], 0o600))
	l.append("new\n")
	l.lines(1 << 20)
	l.check(before, missed, "new\n")
	l.do(os.WriteFile(plain+".gz", packed, 0o600), os.Remove(plain))
	handle, info, err := openCopy(plain)
	if err != nil || info.Name() != "app.log.1.gz" {
		t.Fatalf("%v, %v", info, err)
	}
	handle.Close()
}

// A copy of which the end is lost is told, and what it holds is read.
func TestACutCopy(t *testing.T) {
	before, missed := numbered("before", 3), numbered("missed", 3000)
	l := followLog(t, "app.log", before)
	old := time.Now().Add(-time.Minute)
	l.do(os.Chtimes(l.path, old, old))
	l.lines(1 << 20)
	packed := gzipped([]byte(missed))
	l.do(os.Rename(l.path, l.path+".2"), os.WriteFile(l.path+".1.gz", packed[:len(packed)-len(packed)/4], 0o600))
	l.append("new\n")
	l.lines(1 << 20)
	whole := strings.SplitAfter(missed, "\n")[:len(l.read)-4]
	l.check(before, strings.Join(whole, ""), "new\n")
	if len(whole) < 1000 || len(l.warns) != 1 || !strings.Contains(l.warns[0], "app.log.1.gz ends too early") {
		t.Errorf("%d lines, %q", len(whole), l.warns)
	}
}

func TestIsRotated(t *testing.T) {
	const no, copied, another = "no", "a copy", "perhaps another's"
	for name, want := range map[string]string{
		"app.log.1": copied, "app.log.12.gz": copied, "app.log-20260501": copied, "app.log-20260501.zst": copied,
		"app.log.2026-05-01_12:00:00": copied, "app.log.old": copied, "app.log_1": copied,
		"app-2026-05-01.log": copied, "app-20260501.log.gz": copied, "app.2026-05-01.3.log": copied, "app_2026-05-01T12-00-00.000.log": copied,
		"app-old.log": copied, "app.bak.log": copied,
		"app-1.log": another, "app_2.log": another, "app.2.log": another, "app-1.log.gz": another, "app-2026.log": another, "app-05-01-2026.log": another,
		"app.log": no, "app.log.gz": no, "apps.log.1": no, "app-worker.log": no, "app-1.txt": no, "app.log.1.bz2": no, "app1.log": no,
		"app-1": no, "other.log": no, ".log": no, "app.log.1x": no,
	} {
		got := no
		if rotated, may := isRotated(name, "app.log"); may {
			got = another
		} else if rotated {
			got = copied
		}
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]bool{"messages-20260501": true, "messages.1.gz": true, "messages.log": false, "messages": false} {
		if got, another := isRotated(name, "messages"); got != want || another {
			t.Errorf("%s: %v, %v", name, got, another)
		}
	}
}

// A log that has a number, as another program's may have, is a copy only if it holds what was read.
func TestANeighboursLog(t *testing.T) {
	before, after := numbered("before", 3), numbered("after", 5)
	l := followLog(t, "worker.log", before)
	old := time.Now().Add(-time.Minute)
	l.do(os.Chtimes(l.path, old, old))
	l.lines(1 << 20)
	folder := filepath.Dir(l.path)
	for _, name := range []string{"worker-1.log", "worker_2.log", "worker.3.log"} {
		l.do(os.WriteFile(filepath.Join(folder, name), []byte(numbered(name, 3)), 0o600))
	}
	l.do(os.Rename(l.path, l.path+".1"))
	l.append(after)
	l.lines(1 << 20)
	l.check(before, after)
	last := numbered("last", 2)
	l.do(os.WriteFile(filepath.Join(folder, "worker.1.log"), []byte(after+last), 0o600), os.Truncate(l.path, 0))
	l.lines(1 << 20)
	l.check(before, after, last)
	if len(l.warns) > 0 {
		t.Errorf("%q", l.warns)
	}
}
