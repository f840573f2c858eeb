package publisher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLinesOfAFile(t *testing.T) {
	a := newAggregator(t)
	c := testConfig(a.URL)
	c.Input, c.Lines, c.Topic, c.Ack, c.Count = writeFile(t, "app.log", strings.Repeat("2026-05-01 12:00:00 the same line\n", 35)), true, "app", "store", unbounded
	for run, duplicates := range []uint64{0, 35} {
		report, _, err := publish(t, t.Context(), c)
		if err != nil || report.Acknowledged != 35 || *report.Duplicates != duplicates || len(a.stored) != 35 {
			t.Errorf("run %d: %+v, %v, %d stored", run, report, err, len(a.stored))
		}
	}
}

func TestBadLinesAreNamed(t *testing.T) {
	a := newAggregator(t)
	c := testConfig(a.URL)
	good := `{"topic":"a","event_id":"%d","timestamp":"2026-01-01T00:00:00Z"}` + "\n"
	c.Input, c.Count = writeFile(t, "x", fmt.Sprintf(good, 1)+"not json\n{oops}\n"+`{"topic":"a","event_id":"2"}`+"\n"+strings.Repeat("x", maxLineBytes+1)+"\n"+fmt.Sprintf(good, 3)), unbounded
	report, complaints, err := publish(t, t.Context(), c)
	if err == nil || report.Acknowledged != 2 || report.Rejected != 1 || report.Skipped != 3 {
		t.Errorf("%+v, %v", report, err)
	}
	for _, want := range []string{c.Input + ": line 2: is no JSON object; -lines takes", "line 3: is not JSON: invalid character 'o'", "line 4: missing_field", "line 5: line is longer"} {
		if !strings.Contains(complaints, want) {
			t.Errorf("%q does not say %q", complaints, want)
		}
	}
}

func TestComplaintsAreBoundedAndHarmless(t *testing.T) {
	a := newAggregator(t)
	a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
		fmt.Fprintf(w, `{"accepted":9,"rejected":1,"errors":[{"index":0,"code":"x","detail":"a\u001b[2J\nb"}]}`)
		return true
	}
	c := testConfig(a.URL)
	c.Count = 1000
	report, complaints, err := publish(t, t.Context(), c)
	if err == nil || report.Acknowledged != 900 || report.Rejected != 100 || strings.Count(complaints, "\n") != maxComplaints+1 || strings.Contains(complaints, "\x1b") {
		t.Errorf("%+v, %v, %q", report, err, complaints)
	}
}

// An answer that names events which were not sent leaves open which ones are stored.
func TestAnAnswerAboutOtherEvents(t *testing.T) {
	a := newAggregator(t)
	a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
		fmt.Fprintf(w, `{"accepted":8,"rejected":2,"errors":[{"index":99},{"index":-1}]}`)
		return true
	}
	report, complaints, err := publish(t, t.Context(), testConfig(a.URL))
	if err == nil || report.Unknown != 10 || report.Acknowledged != 0 || !strings.Contains(complaints, "bad_answer") {
		t.Errorf("%+v, %v, %q", report, err, complaints)
	}
}

// An input that comes slowly is not held back until a request is full, and one
// that says nothing does not keep the publisher from stopping.
func TestASlowPipe(t *testing.T) {
	a := newAggregator(t)
	in, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := testConfig(a.URL)
	c.Input, c.Stdin, c.Lines, c.Topic, c.Count = "-", in, true, "t", unbounded
	var wg sync.WaitGroup
	wg.Go(func() {
		io.WriteString(out, "first\n")
		for {
			a.mu.Lock()
			stored := len(a.stored)
			a.mu.Unlock()
			if stored == 1 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
	})
	report, _, err := publish(t, ctx, c)
	wg.Wait()
	out.Close() // frees the reader that was left behind
	if err == nil || report.Acknowledged != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// What was read before the input broke is published, and the error is told.
func TestABrokenInput(t *testing.T) {
	a := newAggregator(t)
	c := testConfig(a.URL)
	c.Input, c.Lines, c.Topic, c.Count = "-", true, "t", unbounded
	c.Stdin = io.MultiReader(strings.NewReader("one line\n"), failingReader{})
	report, _, err := publish(t, t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "input/output") || report.Acknowledged != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

// However many events a request may have, its bytes are bounded; and the longest line fits, though
// each byte of it is escaped to six.
func TestBodiesAreBounded(t *testing.T) {
	a := newAggregator(t)
	longest, bodies := int64(0), 0
	a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
		longest, bodies = max(longest, r.ContentLength), n
		return false
	}
	plain, worst := strings.Repeat("x", maxLineBytes), strings.Repeat("\x01", maxLineBytes)
	c := testConfig(a.URL)
	c.Input, c.Lines, c.Topic, c.Count, c.PerRequest, c.Timeout = "-", true, "t", unbounded, maxPerBatch, time.Minute
	c.Stdin = strings.NewReader(strings.Repeat(plain+"\n", 10) + worst + "\n" + worst + "\n")
	report, complaints, err := publish(t, t.Context(), c)
	if err != nil || report.Acknowledged != 12 {
		t.Fatalf("%+v, %q, %v", report, complaints, err)
	}
	if longest > batchBytes || longest < 6*maxLineBytes || bodies < 4 {
		t.Errorf("%d bodies, the longest of %d bytes", bodies, longest)
	}
}
