package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// ids are the event_ids of a log, and whether a repeat said something else.
func ids(t interface{ Fatal(...any) }, src source, stored map[string]string) (conflicts int) {
	for _, event := range collect(t, src) {
		_, event, _ = strings.Cut(event, ":")
		var e struct {
			ID string `json:"event_id"`
		}
		if err := json.Unmarshal([]byte(event), &e); err != nil {
			t.Fatal(err)
		}
		if before, known := stored[e.ID]; known && before != event {
			conflicts++
		} else if !known {
			stored[e.ID] = event
		}
	}
	return conflicts
}

// drawLog is a log as programs write them: times that often stand still, equal
// lines, stack traces; of some form, in order.
func drawLog(t *rapid.T) []string {
	form := rapid.SampledFrom([]string{"2006-01-02 15:04:05", "Jan _2 15:04:05", "[02/Jan/2006:15:04:05 -0700]", "[Mon Jan 02 15:04:05.000000 2006]",
		"2006/01/02 15:04:05", "2006-01-02T15:04:05Z07:00"}).Draw(t, "form")
	at := time.Date(2025, 11, 1, 0, 0, 0, 0, time.UTC)
	var lines []string
	for range rapid.IntRange(1, 40).Draw(t, "lines") {
		at = at.Add(rapid.SampledFrom([]time.Duration{0, 0, time.Second, time.Hour, 7 * 24 * time.Hour}).Draw(t, "later"))
		lines = append(lines, at.Format(form)+rapid.SampledFrom([]string{" host x: same", " host x: other", " caf\xe9"}).Draw(t, "text"))
		for range rapid.IntRange(0, 2).Draw(t, "trace") {
			lines = append(lines, "\tat main.go:1")
		}
	}
	return lines
}

// isDated: drawLog's lines without a time are indented.
func isDated(line string) bool { return line[0] != '\t' }

// A log with times stores each line once, however it is read: twice, grown, renamed, as a copy,
// compressed, cut at its head between records, through a pipe. Nothing is a conflict.
func TestALogIsStoredOnceHoweverItIsRead(t *testing.T) {
	folder := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		lines := drawLog(t)
		var written time.Time
		n++
		dir := filepath.Join(folder, fmt.Sprint(n))
		os.Mkdir(dir, 0o700)
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "app.log")
		put := func(path string, text []byte) {
			// A rotated copy keeps its date, as logrotate and gzip see to.
			if os.WriteFile(path, text, 0o600) != nil || os.Chtimes(path, written, written) != nil {
				t.Fatal("cannot write")
			}
		}
		stored := map[string]string{}
		read := func(c Config) {
			c.Lines, c.Topic = true, "t"
			src, err := openSource(context.Background(), c, position{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if conflicts := ids(t, src, stored); conflicts > 0 {
				t.Fatalf("%d conflicts", conflicts)
			}
		}
		part := rapid.IntRange(0, len(lines)).Draw(t, "part")
		text := func(lines []string) []byte { return []byte(strings.Join(lines, "\n") + "\n") }
		written = lastTime(lines[:part])
		put(path, text(lines[:part]))
		read(Config{Input: path})
		written = lastTime(lines)
		put(path, text(lines))
		read(Config{Input: path})
		for range rapid.IntRange(1, 4).Draw(t, "readings") {
			other := filepath.Join(dir, "app.log.1")
			switch rapid.IntRange(0, 4).Draw(t, "way") {
			case 0:
				put(other, text(lines))
			case 1:
				put(other, gzipped(text(lines)))
			case 2:
				put(other, zstandard(text(lines)))
			case 3: // between two times: elsewhere the places of equal lines change
				cut := rapid.IntRange(0, len(lines)-1).Draw(t, "cut")
				for cut < len(lines) && (!isDated(lines[cut]) || slices.ContainsFunc(lines[cut:], func(line string) bool { return isDated(line) && slices.Contains(lines[:cut], line) })) {
					cut++
				}
				put(other, text(lines[cut:]))
			case 4:
				read(Config{Input: path, Run: "another"})
				continue
			}
			read(Config{Input: other})
		}
		if len(stored) != len(lines) {
			t.Fatalf("%d events of %d lines\n%s", len(stored), len(lines), text(lines))
		}
	})
}

// lastTime is when a file with these lines was written: drawLog begins in November
// 2025, and 40 lines of a week make less than a year.
func lastTime(lines []string) time.Time {
	at := time.Date(2025, 11, 1, 0, 0, 0, 0, time.UTC)
	y := years{last: at}
	for _, line := range lines {
		if found, ok := clockAt(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.UTC).of([]byte(line), &y); ok {
			at = found.at
		}
	}
	return at
}

func gzipped(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(text)
	w.Close()
	return b.Bytes()
}

func zstandard(text []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(text, nil)
}

// Lines without a time are never taken for those of another file, or of a pipe.
func TestUndatedLinesAreNotLost(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	text := "ok\nok\nfailed\n"
	os.WriteFile(a, []byte(text), 0o600)
	os.WriteFile(b, []byte(text), 0o600)
	stored := map[string]string{}
	step := func(want int, c Config) {
		t.Helper()
		c.Lines, c.Topic = true, "t"
		ids(t, open(t, c), stored)
		if len(stored) != want {
			t.Errorf("%d events, want %d", len(stored), want)
		}
	}
	step(3, Config{Input: a})
	step(3, Config{Input: a})
	step(6, Config{Input: b})
	os.Rename(b, filepath.Join(dir, "b.1"))
	step(6, Config{Input: filepath.Join(dir, "b.1")})
	f, _ := os.OpenFile(a, os.O_APPEND|os.O_WRONLY, 0)
	f.WriteString("ok\n")
	f.Close()
	step(7, Config{Input: a})
	step(10, Config{Input: "-", Stdin: strings.NewReader(text)}) // a pipe: another run
	step(13, Config{Input: "-", Stdin: strings.NewReader(text)})
	step(16, Config{Input: "-", Stdin: strings.NewReader(text), Run: "mine"})
	step(16, Config{Input: "-", Stdin: strings.NewReader(text), Run: "mine"})
	step(17, Config{Input: "-", Stdin: strings.NewReader(text + "ok\n"), Run: "mine"})
}

// Two runs over different content of a pipe keep everything of both.
func TestTwoPipes(t *testing.T) {
	stored := map[string]string{}
	for _, text := range []string{"2026-05-01 12:00:00 a\n\tat x\n", "2026-05-01 12:00:01 a\n\tat x\n"} {
		ids(t, open(t, Config{Lines: true, Topic: "t", Input: "-", Stdin: strings.NewReader(text)}), stored)
	}
	if len(stored) != 4 {
		t.Errorf("%d events of 4 lines", len(stored))
	}
}

// NDJSON without ids is named like lines.
func TestNDJSONWithoutIDs(t *testing.T) {
	line := `{"topic":"t","timestamp":"2026-05-01T12:00:0%dZ"}` + "\n"
	text := fmt.Sprintf(line+line+line, 0, 0, 1)
	stored := map[string]string{}
	for _, text := range []string{text, text + fmt.Sprintf(line, 2), fmt.Sprintf(line, 1)} {
		ids(t, open(t, Config{Input: "-", Stdin: strings.NewReader(text)}), stored)
	}
	if len(stored) != 4 {
		t.Errorf("%d events of 4", len(stored))
	}
}

// The window's bound costs certainty, and no line.
func TestTheWindowIsBounded(t *testing.T) {
	w := newWindow()
	for i := range windowLines + 1000 {
		w.add(digestOf("x", uint64(i)), int64(i))
	}
	if len(w.counts) != windowLines || len(w.byTime) != windowLines {
		t.Errorf("%d and %d lines are held", len(w.counts), len(w.byTime))
	}
	if _, ok := w.add(digestOf("x", uint64(3)), 3); ok {
		t.Error("a line that was let go is taken for a new one")
	}
	if n, ok := w.add(digestOf("x", uint64(2000)), 2000); n != 1 || !ok {
		t.Errorf("a line that is held: %d, %v", n, ok)
	}
}

func TestBinaryInputIsRefused(t *testing.T) {
	utf16 := "\xff\xfea\x00b\x00\n\x00"
	for name, text := range map[string]string{
		"UTF-16": utf16, "zero byte": "a\x00b\n", "bzip2": "BZh91AY", "xz": "\xfd7zXZ\x00", "zip": "PK\x03\x04",
		"a program": "\x7fELF\x02", "journal": "LPKSHHRH", "UTF-16 in gzip": string(gzipped([]byte(utf16))), "header": "\x1f\x8b\x00", // no gzip
	} {
		_, err := openSource(context.Background(), Config{Input: writeFile(t, "x", text), Lines: true, Topic: "t"}, position{}, nil)
		if err == nil || !strings.Contains(err.Error(), "-input") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{"empty": "", "a hole": strings.Repeat("\x00", 3<<20) + "2026-05-01 12:00:00 x\n", "bracket": "(", "a hole, short": "\x00\x00x\n"} {
		src, err := openSource(context.Background(), Config{Input: writeFile(t, "x", text), Lines: true, Topic: "t"}, position{}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := collect(t, src); len(got) != min(1, len(text)) || strings.Contains(strings.Join(got, ""), `\u0000`) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A compressed file that ends too early is told, after what it held.
func TestACutGzip(t *testing.T) {
	a := newAggregator(t)
	packed := gzipped([]byte(strings.Repeat("2026-05-01 12:00:00 x\n", 5000)))
	c := testConfig(a.URL)
	c.Input, c.Lines, c.Topic, c.Count = writeFile(t, "x.gz", string(packed[:len(packed)-10])), true, "t", unbounded
	report, _, err := publish(t, t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "unexpected EOF") || report.Acknowledged == 0 {
		t.Errorf("%+v, %v", report, err)
	}
}
