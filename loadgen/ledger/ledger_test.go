package ledger

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		status int
		cause  string
		want   Outcome
	}{
		{200, "", Acknowledged},
		{202, "", Acknowledged},
		{202, CauseBadAnswer, Unknown},
		{301, "", Unknown},
		{400, "malformed", Refused},
		{401, "unauthorized", Refused},
		{408, "timeout", Refused},
		{413, "too_large", Refused},
		{422, "", Refused},
		{429, "", Refused},
		{503, "queue_full", Refused},
		{503, "backlog_full", Refused},
		{503, "disk_full", Refused},
		{503, "shutting_down", Refused},
		{503, "log_not_synced", Refused},
		{503, "starting", Refused},
		{503, "halted", Refused},
		{503, "no_quorum", Unknown},
		{503, "busy", Refused},
		{503, "disk_failing", Unknown},
		{503, "", Unknown},
		{500, "internal", Unknown},
		{500, "queue_full", Unknown}, // only a 503 promises
		{502, "", Unknown},
		{0, CauseConnectionRefused, Refused},
		{0, CauseDial, Refused},
		{0, CauseNotSent, Refused},
		{0, CauseReset, Unknown},
		{0, CauseEOF, Unknown},
		{0, CauseTimeout, Unknown},
		{0, CauseCanceled, Unknown},
		{0, CauseTransport, Unknown},
		{0, "", Unknown},
	} {
		if got := (Attempt{Status: c.status, Cause: c.cause}).Outcome(); got != c.want {
			t.Errorf("%d %q: %v, want %v", c.status, c.cause, got, c.want)
		}
	}
}

func TestOutcomeOfARequest(t *testing.T) {
	for _, c := range []struct {
		attempts []Outcome
		want     Outcome
	}{
		{[]Outcome{Refused, Refused}, Refused},
		{[]Outcome{Unknown, Refused}, Unknown},
		{[]Outcome{Refused, Unknown, Refused}, Unknown},
		{[]Outcome{Unknown, Acknowledged}, Acknowledged},
		{[]Outcome{Refused, Acknowledged}, Acknowledged},
	} {
		got := Refused
		for _, next := range c.attempts {
			got = got.Then(next)
		}
		if got != c.want {
			t.Errorf("%v: %v, want %v", c.attempts, got, c.want)
		}
	}
}

func attempts(t *rapid.T) Attempt {
	ns := rapid.Int64Range(0, 1<<50)
	count := rapid.IntRange(0, 1<<30)
	return Attempt{
		Request: rapid.Uint64().Draw(t, "request"), Attempt: rapid.IntRange(0, 99).Draw(t, "attempt"), Phase: rapid.IntRange(0, 99).Draw(t, "phase"),
		PlannedNS: ns.Draw(t, "planned"), SentNS: ns.Draw(t, "sent"), DoneNS: ns.Draw(t, "done"),
		Status: rapid.IntRange(0, 599).Draw(t, "status"), Cause: rapid.StringMatching(`[a-z_]*`).Draw(t, "cause"),
		Accepted: count.Draw(t, "accepted"), Rejected: count.Draw(t, "rejected"), Duplicates: count.Draw(t, "duplicates"), Bytes: count.Draw(t, "bytes"),
	}
}

func TestReadGivesWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.Custom(attempts)).Draw(t, "attempts")
		var file bytes.Buffer
		w := NewWriter(&file)
		for _, a := range want {
			w.Write(a)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var got []Attempt
		for a, err := range Read(&file) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, a)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("read %+v, wrote %+v", got, want)
		}
	})
}

// More attempts than may be pending, from many senders, while the disk is slow.
func TestConcurrentWritersLoseNothing(t *testing.T) {
	const senders, each = 8, maxPending / 4
	var file bytes.Buffer
	w := NewWriter(&file)
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				w.Write(Attempt{Request: uint64(s*each + i), Attempt: 1})
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	seen := make([]bool, senders*each)
	for a, err := range Read(&file) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[a.Request] {
			t.Fatalf("request %d twice", a.Request)
		}
		seen[a.Request] = true
	}
	if i := slices.Index(seen, false); i >= 0 {
		t.Fatalf("request %d is missing", i)
	}
}

type failing struct{}

var errDisk = errors.New("no space left on device")

func (failing) Write([]byte) (int, error) { return 0, errDisk }

// A full disk is told once, by Close, and does not stop the senders before.
func TestCloseTellsTheWritersError(t *testing.T) {
	w := NewWriter(failing{})
	for i := range maxPending * 2 {
		w.Write(Attempt{Request: uint64(i)})
	}
	if err := w.Close(); !errors.Is(err, errDisk) {
		t.Fatalf("Close: %v", err)
	}
}

// A server's code cannot end a row or add a column.
func TestCauseCannotForgeARow(t *testing.T) {
	var file bytes.Buffer
	w := NewWriter(&file)
	w.Write(Attempt{Request: 1, Status: 503, Cause: "a,b\n2,1,0\"é"})
	w.Close()
	for a, err := range Read(&file) {
		if err != nil || a.Request != 1 || a.Cause != "a?b?2?1?0???" {
			t.Fatalf("%+v, %v", a, err)
		}
	}
}

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.Bytes()
}

func TestReadRefuses(t *testing.T) {
	good := "1,1,0,10,11,12,202,,500,0,0,1000\n"
	whole := zipped(header + strings.Repeat(good, 1000))
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"not gzip":         {[]byte(header), "gzip"},
		"no header":        {zipped(""), "line 1"},
		"another header":   {zipped("a,b\n"), "line 1"},
		"a column missing": {zipped(header + good + "1,1,0\n"), "line 3"},
		"not a number":     {zipped(header + strings.Replace(good, "500", "5OO", 1)), "line 2"},
		"negative request": {zipped(header + "-" + good), "line 2"},
		"endless line":     {zipped(header + strings.Repeat("x", 2*maxRowBytes)), "line 1"},
		"cut":              {whole[:len(whole)-20], "unexpected EOF"},
	} {
		var failed error
		for _, err := range Read(bytes.NewReader(c.file)) {
			failed = err
		}
		if failed == nil || !strings.Contains(failed.Error(), c.want) {
			t.Errorf("%s: %v, want one with %q", name, failed, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(header + "1,1,0,10,11,12,202,,500,0,0,1000\n"))
	f.Add([]byte(header + "1,0,0,10,10,10,0,not_sent,0,0,0,0\n"))
	f.Add([]byte("request\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for a, err := range Read(bytes.NewReader(zipped(string(text)))) {
			if err == nil { // what is read is written the same
				again, err := parseRow(strings.TrimSuffix(string(a.appendRow(nil)), "\n"))
				if err != nil || again.Request != a.Request || again.Status != a.Status {
					t.Fatalf("%+v became %+v, %v", a, again, err)
				}
			}
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	w := NewWriter(io.Discard)
	defer w.Close()
	n := uint64(0)
	for b.Loop() {
		n++
		w.Write(Attempt{Request: n, Attempt: 1, PlannedNS: int64(n) * 1e6, SentNS: int64(n)*1e6 + 81_337, DoneNS: int64(n)*1e6 + 1_381_337, Status: 202, Accepted: 500, Bytes: 145_211})
	}
}
