package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// store posts events with the given ids at ack=store.
func (a *aggregator) store(t *testing.T, topic string, ids ...string) {
	t.Helper()
	var events []string
	for _, id := range ids {
		events = append(events, fmt.Sprintf(`{"topic":%q,"event_id":%q,"timestamp":"2026-11-23T06:41:10Z","payload":{"id":%q}}`, topic, id, id))
	}
	answer, err := a.client.Post(a.URL+"/publish?ack=store", "application/json", strings.NewReader("["+strings.Join(events, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(answer.Body)
		t.Fatalf("%s: %s", answer.Status, body)
	}
}

// follow opens /events/stream and returns its events' ids and seqs as they come.
func (a *aggregator) follow(t *testing.T, query, lastEventID string) (next func() (seq, id string), end func()) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, a.URL+"/events/stream"+query, nil)
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
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("%s, Content-Type %q", answer.Status, kind)
	}
	lines := bufio.NewScanner(answer.Body)
	return func() (seq, id string) {
		for lines.Scan() {
			if s, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				seq = s
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var e event
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Fatalf("%v: %s", err, data)
				}
				return seq, e.ID
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return "", ""
	}, func() { answer.Body.Close() }
}

func TestStreamResumes(t *testing.T) {
	a := start(t, t.TempDir()+"/data")
	a.store(t, "t", "before")
	next, end := a.follow(t, "?topic=t", "")
	a.store(t, "other", "x")
	a.store(t, "t", "a", "b", "a")
	seq, id := next()
	if id != "a" {
		t.Fatalf("first %s, want a", id)
	}
	if _, id := next(); id != "b" {
		t.Fatalf("second %s, want b", id)
	}
	end()
	a.store(t, "t", "c")
	next, end = a.follow(t, "?topic=t", seq)
	defer end()
	for _, want := range []string{"b", "c"} {
		if _, id := next(); id != want {
			t.Fatalf("resumed with %s, want %s", id, want)
		}
	}
}

// TestStreamsAreBounded: there are 64, or as many as a flag says; the next is told to come again,
// and HEAD takes none of their places.
func TestStreamsAreBounded(t *testing.T) {
	t.Run("64", func(t *testing.T) { streamsAreBounded(t, 64) })
	t.Run("600", func(t *testing.T) { streamsAreBounded(t, 600, "-max-streams=600") }) // more than connections otherwise
}

func streamsAreBounded(t *testing.T, streams int, flags ...string) {
	a := start(t, t.TempDir()+"/data", flags...)
	for range streams + 1 {
		answer, err := a.client.Head(a.URL + "/events/stream")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if kind := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || kind != "text/event-stream" {
			t.Fatalf("HEAD: %s, Content-Type %q", answer.Status, kind)
		}
	}
	var ends []func()
	for range streams {
		_, end := a.follow(t, "", "")
		ends = append(ends, end)
	}
	answer, err := a.client.Get(a.URL + "/events/stream")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" || !strings.Contains(string(body), `"code":"busy"`) {
		t.Errorf("one more: %s %v %s, want 503 with Retry-After and code busy", answer.Status, answer.Header, body)
	}
	for _, end := range ends {
		end()
	}
}

// TestTopicsInStatsAreBounded: the first 1000 by name are listed; all are stored.
func TestTopicsInStatsAreBounded(t *testing.T) {
	const most = 1000
	a := start(t, t.TempDir()+"/data")
	events := make([]string, most+1)
	for i := range events {
		events[i] = fmt.Sprintf(`{"topic":"t%04d","event_id":"x","timestamp":"2026-11-23T06:41:10Z"}`, most-i)
	}
	a.mustPublish(t, []byte("["+strings.Join(events, ",")+"]"), "store")
	body, err := a.get("/stats", "application/json")
	if err != nil {
		t.Fatal(err)
	}
	var stats struct {
		Unique int `json:"unique_processed"`
		Topics []struct{ Name string }
	}
	if err := json.Unmarshal(body, &stats); err != nil {
		t.Fatal(err)
	}
	if len(stats.Topics) != most || stats.Topics[0].Name != "t0000" || stats.Topics[most-1].Name != "t0999" || stats.Unique != most+1 {
		t.Errorf("%d stored, %d topics listed, want %d and t0000 to t0999", stats.Unique, len(stats.Topics), most)
	}
}

// TestStopEndsStreams: a reader that listens for ever must not hold up a stop.
func TestStopEndsStreams(t *testing.T) {
	a := start(t, t.TempDir()+"/data")
	_, end := a.follow(t, "", "")
	defer end()
	begin := time.Now()
	a.stop(t)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

func TestPagesAndExportAgree(t *testing.T) {
	a := start(t, t.TempDir()+"/data")
	const events = 2500 // more than two of the export's own pages
	for from := 0; from < events; from += 500 {
		var ids []string
		for i := from; i < from+500; i++ {
			ids = append(ids, fmt.Sprint(i))
		}
		a.store(t, fmt.Sprint("t", from%1000), ids...)
	}
	for _, topic := range []string{"", "t0"} {
		var paged []string
		after := int64(0)
		for pages := 0; ; pages++ {
			var page struct {
				Events []event `json:"events"`
				Next   *int64  `json:"next_after"`
			}
			url := fmt.Sprintf("%s/events?limit=700&after=%d", a.URL, after)
			if topic != "" {
				url += "&topic=" + topic
			}
			answer, err := a.client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			err = json.NewDecoder(answer.Body).Decode(&page)
			answer.Body.Close()
			if err != nil || pages > events {
				t.Fatal(pages, err)
			}
			for _, e := range page.Events {
				paged = append(paged, e.ID)
			}
			if page.Next == nil {
				break
			}
			after = *page.Next
		}
		request, _ := http.NewRequest(http.MethodGet, a.URL+"/events?topic="+topic, nil)
		if topic == "" {
			request.URL.RawQuery = ""
		}
		request.Header.Set("Accept", "application/x-ndjson")
		answer, err := a.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var exported []string
		decoder := json.NewDecoder(answer.Body)
		for decoder.More() {
			var e event
			if err := decoder.Decode(&e); err != nil {
				t.Fatal(err)
			}
			exported = append(exported, e.ID)
		}
		answer.Body.Close()
		want := events
		if topic != "" {
			want = events / 500 * 500 * 3 / 5
		}
		if len(paged) != want || strings.Join(paged, " ") != strings.Join(exported, " ") {
			t.Errorf("topic %q: %d paged, %d exported, want %d", topic, len(paged), len(exported), want)
		}
	}
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := start(t, t.TempDir()+"/data", "-token-file", file)
	for _, tc := range []struct {
		path, token string
		want        int
	}{
		{"/stats", "", 401}, {"/stats", "Bearer wrong", 401}, {"/stats", "s3cret", 401}, {"/stats", "Bearer s3cret", 200},
		{"/events", "", 401}, {"/events/stream", "", 401}, {"/events", "Bearer s3cret", 200}, {"/dead-letters", "", 401}, {"/dead-letters", "Bearer s3cret", 200}, {"/livez", "", 200}, {"/readyz", "", 200},
	} {
		request, _ := http.NewRequest(http.MethodGet, a.URL+tc.path, nil)
		if tc.token != "" {
			request.Header.Set("Authorization", tc.token)
		}
		answer, err := a.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != tc.want {
			t.Errorf("%s with %q: %s, want %d", tc.path, tc.token, answer.Status, tc.want)
		}
	}
	if status, _ := send(t, a.Addr, post(jsonType, oneEvent("x"))); status != 401 {
		t.Errorf("publish without a token: %d", status)
	}
}
