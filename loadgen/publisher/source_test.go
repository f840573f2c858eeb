package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
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

// collect reads all events of an input, "!" for those that are skipped.
func collect(t interface{ Fatal(...any) }, src source) (events []string) {
	defer src.Close()
	for {
		event, place, err := src.next(nil)
		if err == io.EOF {
			return events
		}
		if skipped := (*skipError)(nil); errors.As(err, &skipped) {
			events = append(events, fmt.Sprintf("%d!", place.number))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, fmt.Sprintf("%d:%s", place.number, event))
	}
}

func open(t testing.TB, c Config) source {
	t.Helper()
	src, err := openSource(context.Background(), c, position{}, nil)
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
	want := []string{
		"1:" + whole, "3:" + whole, "4!", "5!", "6!",
		`7:{"topic":"t","event_id":"ID"}`,
		`8:{"topic":"t","event_id":"ID","timestamp":"2026-01-01T00:00:00Z"}`,
		`9:{"topic":"t","event_id":"7"}`,
		"10!",
		`11:{"event_id":"ID","topic":"b"}`,
	}
	ids := regexp.MustCompile(`"event_id":"[0-9a-f]{32}"`)
	for i := range got {
		got[i] = ids.ReplaceAllString(got[i], `"event_id":"ID"`)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A byte that is not UTF-8, or half an emoji, does not keep a line out; and what
// only looks like one stays.
func TestNDJSONIsRepaired(t *testing.T) {
	for in, want := range map[string]string{
		"{\"a\":\"x\xff\"}":            "{\"a\":\"x\ufffd\"}",
		`{"a":"\ud83d"}`:               `{"a":"\ufffd"}`,
		`{"a":"\ude00 b"}`:             `{"a":"\ufffd b"}`,
		`{"a":"\ud83d\ud83d\ude00"}`:   `{"a":"\ufffd\ud83d\ude00"}`,
		`{"a":"\uD83D\uDE00"}`:         `{"a":"\uD83D\uDE00"}`,
		`{"a":"\\ud83d"}`:              `{"a":"\\ud83d"}`,
		`{"a":"\ud83d\u0041\n\u00e9"}`: `{"a":"\ufffd\u0041\n\u00e9"}`,
	} {
		got := collect(t, open(t, Config{Input: writeFile(t, "x", in)}))
		if len(got) != 1 || !strings.HasSuffix(got[0], want[1:]) {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

// What a publisher makes of any object stays one JSON object on one line, with
// every member it had.
func TestFilledInEventsStayJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.MapOf(rapid.SampledFrom([]string{"topic", "event_id", "timestamp", "x", ""}), rapid.String()).Draw(t, "members")
		line, _ := json.Marshal(members)
		src := newJSONSource(Config{Topic: rapid.SampledFrom([]string{"", "t"}).Draw(t, "topic")}, &plain{newFile(bytes.NewReader(line), "x"), io.NopCloser(nil)})
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

// logOf is a log as a source, read at noon of 2026-06-01.
func logOf(c Config, text, identity string) *logSource {
	s := newLogSource(c, &plain{newFile(strings.NewReader(text), identity), io.NopCloser(nil)})
	s.clock.now = func() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }
	return s
}

// The golden form of log lines: were it to change, every log that was published
// once would be stored a second time.
func TestLogLines(t *testing.T) {
	got := collect(t, logOf(Config{Topic: "app", Source: "web-1"}, "before any time\n"+someLog, "file 1 2 3"))
	want := []string{
		`1:{"topic":"app","event_id":"f9437edd9795ba7e611c43086973ba74","timestamp":"2026-06-01T12:00:00Z","source":"web-1","payload":{"text":"before any time"}}`,
		`2:{"topic":"app","event_id":"28044da200bf76d80a9bef40c7605606","timestamp":"2026-05-01T12:00:00Z","source":"web-1","payload":{"text":"2026-05-01 12:00:00 started"}}`,
		`3:{"topic":"app","event_id":"6108f05a04d0edc5d7f1aceef411565e","timestamp":"2026-05-01T12:00:00Z","source":"web-1","payload":{"text":"\tat main"}}`,
		`5:{"topic":"app","event_id":"23ccc2fdf92d06bdd2277383e47b82b8","timestamp":"2026-05-01T12:00:00Z","source":"web-1","payload":{"text":"plain"}}`,
		`6:{"topic":"app","event_id":"945ed5bf3eaa7f96878cee11d1b36085","timestamp":"2026-05-01T12:00:00Z","source":"web-1","payload":{"text":"<b>&\"\\\u001b[0m café ` + "\\ufffd" + `"}}`,
		`7:{"topic":"app","event_id":"7df450c35a42ea15661c9fdb15cb89e5","timestamp":"2026-05-02T01:02:03Z","source":"web-1","payload":{"text":"May  2 01:02:03 host x: plain"}}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOpenSourceRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"no such file": {Input: filepath.Join(t.TempDir(), "none")},
		"a folder":     {Input: t.TempDir()},
		"duplicates":   {Duplicates: 2},
	} {
		if _, err := openSource(context.Background(), c, position{}, nil); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkLogLines(b *testing.B) {
	text := strings.Repeat("2026-05-01 12:00:00 status installed libsystemd0:amd64 252.38-1~deb12u1\n", 1000)
	var dst []byte
	lines := 0
	for b.Loop() {
		src := logOf(Config{Topic: "t"}, text, "")
		for range 1000 {
			dst, _, _ = src.next(dst[:0])
			lines++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(lines), "ns/line")
}
