package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadersByTime: pages, exports and streams take the time from since up to until of
// received_at, to the nanosecond.
func TestReadersByTime(t *testing.T) {
	for _, layout := range []string{"blocks", "rows"} {
		t.Run(layout, func(t *testing.T) {
			a := start(t, dataFolder(t), "-layout", layout)
			for i := range 6 {
				a.store(t, "t", fmt.Sprint("a", i), fmt.Sprint("b", i))
			}
			var all []event
			for line := range bytes.Lines(a.export(t)) {
				var e event
				if err := json.Unmarshal(line, &e); err != nil {
					t.Fatal(err)
				}
				all = append(all, e)
			}
			at := func(i int) string { return url.QueryEscape(all[i].ReceivedAt) }
			for _, c := range []struct {
				query     string
				from, end int
			}{
				{"since=" + at(4), 4, 12}, {"until=" + at(4), 0, 4}, {"since=" + at(2) + "&until=" + at(8), 2, 8},
				{"since=" + at(2) + "&until=" + at(8) + "&after=5", 5, 8}, {"since=" + at(8) + "&until=" + at(2), 0, 0},
				{"since=2200-01-01T00:00:00Z", 0, 0}, {"since=0001-01-01T00:00:00%2B01:00&topic=t", 0, 12},
				{"until=2200-01-01T00:00:00Z&topic=none", 0, 0},
				// What a timestamp of /publish may be: a leap second, small letters, any offset.
				{"since=2016-12-31T23:59:60Z&until=9999-12-31t23:59:60.5z", 0, 12}, {"until=1990-12-31T15:59:60-08:00", 0, 0},
				{"since=9999-12-31T23:59:59-23:59", 0, 0}, {"until=9999-12-31T23:59:59-23:59", 0, 12},
			} {
				lines, err := a.get("/events?"+c.query, "application/x-ndjson")
				if err != nil {
					t.Fatal(err)
				}
				page, err := a.get("/events?limit=3&"+c.query, "application/json")
				if err != nil {
					t.Fatal(err)
				}
				want := min(3, c.end-c.from)
				if n, m := bytes.Count(lines, []byte("\n")), bytes.Count(page, []byte(`"seq"`)); n != c.end-c.from || m != want {
					t.Errorf("%s: %d exported, %d in a page; want %d and %d", c.query, n, m, c.end-c.from, want)
				}
				if c.end > c.from && !bytes.Contains(page, fmt.Appendf(nil, `[{"seq":%d,`, c.from+1)) {
					t.Errorf("%s begins with %.40s, want %d", c.query, page, c.from+1)
				}
			}
			next, end := a.follow(t, "?since="+at(10), "")
			defer end()
			for _, want := range []string{"a5", "b5"} {
				if _, id := next(); id != want {
					t.Errorf("the stream has %s, want %s", id, want)
				}
			}
			for _, bad := range []string{"/events?since=yesterday", "/events?until=2026-11-23T06:41:10", "/events/stream?until=2026-11-23T06:41:10Z",
				"/events?since=0000-06-01T00:00:00Z", "/events?until=2026-11-23T23:59:60Z", "/events?since=2026-11-23T6:41:10Z", "/events/stream?since=2026-11-23T06:41:10,5Z",
				"/events?since=2026-02-29T00:00:00Z"} {
				if status, body := send(t, a.Addr, get(bad)); status != 400 || !bytes.Contains(body, []byte(`"invalid_query"`)) {
					t.Errorf("%s: %d %s", bad, status, body)
				}
			}
		})
	}
}

// TestAnExportIsPublishedAgain: to an empty aggregator it brings the same events, and to the same
// one duplicates and no conflict.
func TestAnExportIsPublishedAgain(t *testing.T) {
	a := start(t, dataFolder(t))
	a.mustPublish(t, []byte("["+strings.Join([]string{
		oneEvent("none"), oneEvent("null", `,"payload":null`), oneEvent("object", `,"payload":{ "a" : [1,"é\u00e9"] }`),
		oneEvent("text", `,"payload":"line\nbreak"`, `,"source":"ü"`), oneEvent("empty", `,"source":"","payload":1e400`),
	}, ",")+"]"), "store")
	exported := a.export(t)
	b := start(t, dataFolder(t))
	for _, to := range []*aggregator{a, b} {
		answer, err := to.client.Post(to.URL+"/publish?ack=store", "application/x-ndjson", bytes.NewReader(exported))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != 200 {
			t.Errorf("published again: %s", answer.Status)
		}
	}
	without := func(export []byte) string {
		var all strings.Builder
		for line := range strings.Lines(string(export)) {
			_, rest, _ := strings.Cut(line, `"topic":`)
			rest, _, _ = strings.Cut(rest, `,"received_at":`)
			all.WriteString(rest + "\n")
		}
		return all.String()
	}
	if got, want := without(b.export(t)), without(exported); got != want || strings.Count(want, "\n") != 5 {
		t.Errorf("another aggregator has\n%s, want\n%s", got, want)
	}
	var stats struct {
		Duplicates int64 `json:"duplicate_dropped"`
		Conflicts  int64 `json:"conflicts"`
	}
	body, err := a.get("/stats", "application/json")
	if err == nil {
		err = json.Unmarshal(body, &stats)
	}
	if err != nil || stats.Duplicates != 5 || stats.Conflicts != 0 {
		t.Errorf("the same aggregator: %+v, %v; want 5 duplicates and no conflict", stats, err)
	}
}

// TestCORS: pages of -cors-origin, and no others, may read, and none may publish.
func TestCORS(t *testing.T) {
	const origin = "https://dashboard.example"
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	guarded := start(t, dataFolder(t), "-cors-origin", origin, "-token-file", token)
	open := start(t, dataFolder(t), "-cors-origin", origin)
	closed := start(t, dataFolder(t))
	for _, c := range []struct {
		name                 string
		to                   *aggregator
		method, path, origin string
		status               int
		allowed              bool
	}{
		{"read", open, "GET", "/events", origin, 200, true},
		{"stream", open, "HEAD", "/events/stream", origin, 200, true},
		{"another origin", open, "GET", "/events", "https://dashboard.example.evil", 403, false},
		{"publish", open, "POST", "/publish", origin, 403, false},
		{"asked before", guarded, "OPTIONS", "/stats", origin, 204, true},
		{"asked before, another origin", guarded, "OPTIONS", "/stats", "https://evil.example", 405, false},
		{"no token", guarded, "GET", "/stats", origin, 401, true},
		{"publish asked before", guarded, "OPTIONS", "/publish", origin, 405, false},
		{"without the flag", closed, "GET", "/events", origin, 403, false},
	} {
		request, err := http.NewRequest(c.method, c.to.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", c.origin)
		answer, err := c.to.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		allowed := answer.Header.Get("Access-Control-Allow-Origin")
		if answer.StatusCode != c.status || allowed != map[bool]string{true: origin}[c.allowed] {
			t.Errorf("%s: %s, allowed %q", c.name, answer.Status, allowed)
		}
	}
}
