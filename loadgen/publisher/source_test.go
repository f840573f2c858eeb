package publisher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", maxLineBytes)
	for name, c := range map[string]struct {
		input string
		want  []string
	}{
		"empty":               {"", nil},
		"one line":            {"a\n", []string{"1:a"}},
		"no end":              {"a\nb", []string{"1:a", "2:b"}},
		"carriage returns":    {"a\r\nb\rc\r\n", []string{"1:a", "2:b\rc"}},
		"blank lines":         {"\n\na\n", []string{"1:", "2:", "3:a"}},
		"byte order mark":     {"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", []string{"1:a", "2:\xef\xbb\xbfb"}},
		"longest":             {long + "\nb\n", []string{"1:" + long, "2:b"}},
		"longest, CRLF":       {long + "\r\nb\n", []string{"1:" + long, "2:b"}},
		"too long":            {"a\n" + long + "y\nb\n", []string{"1:a", "2!", "3:b"}},
		"too long at the end": {long + long, []string{"1!"}},
	} {
		for _, in := range []io.Reader{strings.NewReader(c.input), iotest.HalfReader(strings.NewReader(c.input))} {
			var got []string
			l := newLineReader(in)
			for {
				line, err := l.next()
				if err == io.EOF {
					break
				}
				mark := ":"
				if errors.Is(err, errLineTooLong) {
					mark = "!"
				} else if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%d%s%s", l.number, mark, line))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %.80q, want %.80q", name, got, c.want)
			}
		}
	}
}

// A line far over the bound is passed by without being held.
func TestALongLineIsNotHeld(t *testing.T) {
	l := newLineReader(io.MultiReader(io.LimitReader(endless{}, 100<<20), strings.NewReader("\nafter\n")))
	if _, err := l.next(); !errors.Is(err, errLineTooLong) {
		t.Fatal(err)
	}
	if line, err := l.next(); string(line) != "after" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	if cap(l.buffer) > 3*maxLineBytes {
		t.Errorf("%d bytes are held", cap(l.buffer))
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestAReadErrorIsTold(t *testing.T) {
	broken := errors.New("input/output error")
	l := newLineReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	if line, err := l.next(); string(line) != "a" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := l.next(); !errors.Is(err, broken) {
		t.Fatal(err)
	}
}

func TestTimestampOf(t *testing.T) {
	latest := time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC)
	for line, want := range map[string]string{
		"2026-05-01T12:00:00Z started":                               "2026-05-01T12:00:00Z",
		"2026-05-01T12:00:00.123456+02:00 host app: x":               "2026-05-01T12:00:00.123456+02:00",
		"2026-05-01T12:00:00.1234567891234Z x":                       "2026-05-01T12:00:00.123456789Z",
		"2026-05-01 12:00:00 status installed":                       "2026-05-01T12:00:00Z",
		"2026-05-01 12:00:00,123 INFO x":                             "2026-05-01T12:00:00.123Z",
		"2026-05-01 12:00:00 +0530 x":                                "2026-05-01T12:00:00+05:30",
		"2026-05-01 12:00:00 Zebra":                                  "2026-05-01T12:00:00Z",
		"[2026-05-01 12:00:00] x":                                    "2026-05-01T12:00:00Z",
		"update-alternatives 2026-05-01 12:00:00: run":               "2026-05-01T12:00:00Z",
		"Start-Date: 2026-05-01  12:00:00":                           "2026-05-01T12:00:00Z",
		`10.0.0.1 - - [01/May/2026:12:00:00 +0200] "GET / HTTP/1.1"`: "2026-05-01T12:00:00+02:00",
		"Mar  9 08:07:06 host sshd[1]: x":                            "2026-03-09T08:07:06Z",
		"<34>Mar 11 08:07:06 host su: x":                             "2026-03-11T08:07:06Z", // a clock or a zone ahead
		"Dec 31 23:59:59 host x":                                     "2025-12-31T23:59:59Z",
		"Feb 29 01:02:03 host x":                                     "2024-02-29T01:02:03Z",
		"Feb 30 01:02:03 host x":                                     "",
		"no time at all":                                             "",
		"2026-13-01T12:00:00Z":                                       "",
		"2026-05-01T12:00:60Z a leap second":                         "",
		"0000-01-01T00:00:00+01:00":                                  "",
		"12026-05-01T12:00:00Z":                                      "",
		strings.Repeat("x", 200) + " 2026-05-01T12:00:00Z":           "",
		"": "",
	} {
		at, ok := timestampOf([]byte(line), latest)
		got := ""
		if ok {
			got = at.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// Whatever a line holds, its time is one that the contract allows.
func FuzzTimestampOf(f *testing.F) {
	f.Add([]byte("2026-05-01 12:00:00,123 +0530"))
	f.Add([]byte("Mar  9 08:07:06 host"))
	f.Add([]byte("[01/May/2026:12:00:00 +0200]"))
	f.Fuzz(func(t *testing.T, line []byte) {
		at, ok := timestampOf(line, time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC))
		if !ok {
			return
		}
		text := at.Format(time.RFC3339Nano)
		if again, err := time.Parse(time.RFC3339, text); err != nil || !again.Equal(at) {
			t.Fatalf("%q gives %s: %v", line, text, err)
		}
	})
}

// collect reads all events of an input, "!" for those that are skipped.
func collect(t interface{ Fatal(...any) }, src source) (events []string) {
	defer src.Close()
	for {
		event, place, err := src.next(nil)
		if err == io.EOF {
			return events
		}
		if skipped := (*skipError)(nil); errors.As(err, &skipped) {
			events = append(events, fmt.Sprintf("%d!", place))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, fmt.Sprintf("%d:%s", place, event))
	}
}

func open(t testing.TB, c Config) source {
	t.Helper()
	src, err := openSource(c)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNDJSONIsSentAsItIs(t *testing.T) {
	whole := `{"topic":"a","event_id":"1","timestamp":"2026-01-01T00:00:00Z","payload":{"x": 12345678901234567890}}`
	input := whole + "\n\n  " + whole + " \nnope\n[1]\nnull\n{}\n" +
		`{ "timestamp":"2026-01-01T00:00:00Z"}` + "\n" + `{"event_id":"7"}` + "\n" + strings.Repeat("x", maxLineBytes+1) + "\n" + `{"topic":"b"}`
	got := collect(t, open(t, Config{Input: writeFile(t, "x", input), Topic: "t"}))
	id := func(topic string, number uint64, line string) string { return lineID(topic, "", number, []byte(line)) }
	want := []string{
		"1:" + whole, "3:" + whole, "4!", "5!", "6!",
		`7:{"topic":"t","event_id":"` + id("t", 7, "{}") + `"}`,
		`8:{"topic":"t","event_id":"` + id("t", 8, `{ "timestamp":"2026-01-01T00:00:00Z"}`) + `","timestamp":"2026-01-01T00:00:00Z"}`,
		`9:{"topic":"t","event_id":"7"}`,
		"10!",
		`11:{"event_id":"` + id(`"b"`, 11, `{"topic":"b"}`) + `","topic":"b"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What a publisher makes of any object stays one JSON object on one line, with
// every member it had.
func TestFilledInEventsStayJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.MapOf(rapid.SampledFrom([]string{"topic", "event_id", "timestamp", "x", ""}), rapid.String()).Draw(t, "members")
		line, _ := json.Marshal(members)
		src := &jsonSource{Closer: io.NopCloser(nil), lines: newLineReader(bytes.NewReader(line)), topic: rapid.SampledFrom([]string{"", "t"}).Draw(t, "topic")}
		event, _, err := src.next(nil)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := json.Unmarshal(event, &got); err != nil || bytes.Contains(event, []byte("\n")) {
			t.Fatalf("%s: %v", event, err)
		}
		for name, value := range members {
			if got[name] != value {
				t.Fatalf("%s became %s", line, event)
			}
		}
		if got["event_id"] == "" && members["event_id"] == "" && len(members) > 0 {
			if _, has := members["event_id"]; !has {
				t.Fatalf("no id in %s", event)
			}
		}
	})
}

const someLog = "2026-05-01 12:00:00 started\n\tat main\n\nplain\r\n<b>&\"\\\x1b[0m caf\xc3\xa9 \xff\nMay  2 01:02:03 host x: plain\n"

// The golden form of log lines: were it to change, every log that was published
// once would be stored a second time.
func TestLogLines(t *testing.T) {
	got := collect(t, newLogSource(Config{Topic: "app", Source: "web-1"}, io.NopCloser(strings.NewReader("before any time\n"+someLog)),
		time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)))
	want := []string{
		`1:{"topic":"app","event_id":"ID","timestamp":"1970-01-01T00:00:00Z","source":"web-1","payload":{"line":1,"text":"before any time"}}`,
		`2:{"topic":"app","event_id":"ID","timestamp":"2026-05-01T12:00:00Z","source":"web-1","payload":{"line":2,"text":"2026-05-01 12:00:00 started"}}`,
		`3:{"topic":"app","event_id":"ID","timestamp":"2026-05-01T12:00:00Z","source":"web-1","payload":{"line":3,"text":"\tat main"}}`,
		`5:{"topic":"app","event_id":"ID","timestamp":"2026-05-01T12:00:00Z","source":"web-1","payload":{"line":5,"text":"plain"}}`,
		`6:{"topic":"app","event_id":"ID","timestamp":"2026-05-01T12:00:00Z","source":"web-1","payload":{"line":6,"text":"<b>&\"\\\u001b[0m café ` + "\\ufffd" + `"}}`,
		`7:{"topic":"app","event_id":"ID","timestamp":"2026-05-02T01:02:03Z","source":"web-1","payload":{"line":7,"text":"May  2 01:02:03 host x: plain"}}`,
	}
	ids := []string{}
	for i := range want {
		if i >= len(got) {
			t.Fatalf("%d events", len(got))
		}
		at := strings.Index(got[i], `"event_id":"`) + len(`"event_id":"`)
		ids = append(ids, got[i][at:at+32])
		if got[i] = got[i][:at] + "ID" + got[i][at+32:]; got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
	if ids[0] != goldenID {
		t.Errorf("the id of the first line is %s, and was %s", ids[0], goldenID)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != len(want) || len(got) != len(want) {
		t.Errorf("%d events with ids %v", len(got), ids)
	}
}

const goldenID = "6e650c5a6d8499690a2a26795b68168e"

// An id depends on what is in the log, not on where the log is.
func TestLineID(t *testing.T) {
	base := lineID("t", "s", 3, []byte("line"))
	if base != lineID("t", "s", 3, []byte("line")) {
		t.Error("not stable")
	}
	for name, other := range map[string]string{
		"topic":   lineID("u", "s", 3, []byte("line")),
		"source":  lineID("t", "z", 3, []byte("line")),
		"number":  lineID("t", "s", 4, []byte("line")),
		"content": lineID("t", "s", 3, []byte("Line")),
		"shifted": lineID("ts", "", 3, []byte("line")),
	} {
		if other == base {
			t.Errorf("the %s is not part of it", name)
		}
	}
}

// The same log under another name, and grown, begins with the same events.
func TestARotatedLogIsTheSameLog(t *testing.T) {
	before := collect(t, open(t, Config{Input: writeFile(t, "app.log", someLog), Lines: true, Topic: "t"}))
	after := collect(t, open(t, Config{Input: writeFile(t, "app.log.1", someLog+"one more\n"), Lines: true, Topic: "t"}))
	if len(after) != len(before)+1 || !slices.Equal(after[:len(before)], before) {
		t.Errorf("before\n%s\nafter\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestOpenSourceRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"no such file": {Input: filepath.Join(t.TempDir(), "none")},
		"a folder":     {Input: t.TempDir()},
		"duplicates":   {Duplicates: 2},
	} {
		if _, err := openSource(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkLogLines(b *testing.B) {
	text := strings.Repeat("2026-05-01 12:00:00 status installed libsystemd0:amd64 252.38-1~deb12u1\n", 1000)
	var dst []byte
	lines := 0
	for b.Loop() {
		src := newLogSource(Config{Topic: "t"}, io.NopCloser(strings.NewReader(text)), time.Now())
		for range 1000 {
			dst, _, _ = src.next(dst[:0])
			lines++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(lines), "ns/line")
}
