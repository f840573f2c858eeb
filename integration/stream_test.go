package integration_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// frames opens a stream and returns what comes, frame by frame without the empty line, and the
// answer's headers.
func (a *aggregator) frames(t *testing.T, target, lastEventID string) (next func() string, end func(), header http.Header) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, a.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastEventID != "" {
		request.Header.Set("Last-Event-ID", lastEventID)
	}
	answer, err := a.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(answer.Body)
	return func() string {
		var frame strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("the stream ended: %v", err)
			}
			if line == "\n" {
				return frame.String()
			}
			frame.WriteString(line)
		}
	}, func() { answer.Body.Close() }, answer.Header
}

// TestStreamSaysWhereItIs: a reader that has received nothing yet has an id all the same, from the
// first frame and from each that keeps the connection alive, and so loses nothing of what comes
// while it connects anew.
func TestStreamSaysWhereItIs(t *testing.T) {
	t.Parallel()
	a := start(t, dataFolder(t))
	a.store(t, "t", "1", "2")
	next, end, header := a.frames(t, "/events/stream?topic=t", "")
	if header.Get("X-Accel-Buffering") != "no" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", header)
	}
	if frame := next(); frame != "retry: 1000\nid: 2\n" {
		t.Errorf("first frame %q, want an id without data, and retry", frame)
	}
	a.store(t, "other", "3")
	if frame := next(); frame != "id: 2\n" && frame != "id: 3\n" {
		t.Errorf("kept alive by %q, want an id without data", frame)
	}
	end()
	a.store(t, "t", "4")
	next, end, _ = a.frames(t, "/events/stream?topic=t", "2")
	next()
	if frame := next(); !strings.HasPrefix(frame, "id: 4\ndata: ") {
		t.Errorf("after connecting anew: %q, want the event of the pause", frame)
	}
	end()
	next, end, _ = a.frames(t, "/events/stream?after=0", "")
	defer end()
	if frame := next(); frame != "retry: 1000\nid: 0\n" {
		t.Errorf("after=0: first frame %q", frame)
	}
	for seq := 1; seq <= 4; seq++ {
		if frame := next(); !strings.HasPrefix(frame, fmt.Sprintf("id: %d\ndata: ", seq)) {
			t.Errorf("after=0: %q, want %d", frame, seq)
		}
	}
}

// cursors are the requests that go on after a number, of events and of dead letters.
func (a *aggregator) cursors(after string) map[string]*http.Request {
	requests := map[string]*http.Request{}
	for name, target := range map[string]string{
		"page": "/events?after=" + after, "a topic's page": "/events?topic=t&after=" + after, "export": "/events?after=" + after,
		"stream": "/events/stream?after=" + after, "Last-Event-ID": "/events/stream", "dead letters": "/dead-letters?after=" + after,
	} {
		r, _ := http.NewRequest(http.MethodGet, a.URL+target, nil) // the URL is well-formed
		switch name {
		case "export":
			r.Header.Set("Accept", "application/x-ndjson")
		case "Last-Event-ID":
			r.Header.Set("Last-Event-ID", after)
		}
		requests[name] = r
	}
	return requests
}

// checkCursors wants every kind of cursor answered so.
func (a *aggregator) checkCursors(t *testing.T, after string, want int) {
	t.Helper()
	for name, request := range a.cursors(after) {
		if want == 200 && name == "dead letters" {
			continue // there are none
		}
		answer, err := a.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body := ""
		if answer.StatusCode != 200 {
			b, _ := io.ReadAll(answer.Body)
			body = string(b)
		}
		answer.Body.Close()
		if answer.StatusCode != want || want == 409 && !strings.Contains(body, `"code":"cursor_beyond_end"`) {
			t.Errorf("%s after %s: %s %s, want %d", name, after, answer.Status, body, want)
		}
	}
}

// TestCursorBeyondTheEnd: a cursor that this store has never given is refused, and not waited for
// in silence: of pages, exports, streams and dead letters, also after a restart, and after a
// restore of an older copy.
func TestCursorBeyondTheEnd(t *testing.T) {
	data, restored := dataFolder(t), dataFolder(t)
	a := start(t, data, "-retention", "1s")
	a.store(t, "t", "1", "2")
	a.checkCursors(t, "2", 200)
	a.checkCursors(t, "3", 409)
	a.checkCursors(t, "9223372036854775807", 409)
	if err := os.MkdirAll(restored, 0o700); err != nil {
		t.Fatal(err)
	}
	if code, out := tool(t, "backup", "-data", data, "-to", filepath.Join(restored, "events.db")); code != 0 {
		t.Fatal(out)
	}
	a.store(t, "t", "3", "4")
	a.checkCursors(t, "4", 200)
	a.stop(t)

	a = start(t, data, "-retention", "1s")
	a.checkCursors(t, "4", 200)
	a.checkCursors(t, "5", 409)
	time.Sleep(2 * time.Second) // all have expired
	a.checkCursors(t, "1", 200)
	a.checkCursors(t, "4", 200)
	a.checkCursors(t, "5", 409)
	a.stop(t)

	a = start(t, restored)
	a.checkCursors(t, "2", 200)
	a.checkCursors(t, "4", 409)
}

// TestGoneReadersFreeTheirStreams: readers that have gone free their places within 15 s, although
// nothing is committed.
func TestGoneReadersFreeTheirStreams(t *testing.T) {
	t.Parallel()
	const streams, within = 64, 15 * time.Second
	a := start(t, dataFolder(t))
	var ends []func()
	for range streams {
		next, end, _ := a.frames(t, "/events/stream", "")
		next()
		ends = append(ends, end)
	}
	for _, end := range ends {
		end()
	}
	began := time.Now()
	for free := 0; free < streams; {
		answer, err := a.client.Get(a.URL + "/events/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode == 200 {
			free++
			continue
		}
		if time.Since(began) > within {
			t.Fatalf("%d of %d places are free after %v", free, streams, within)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("free after %v", time.Since(began))
}
