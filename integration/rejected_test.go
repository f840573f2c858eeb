package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const invalidEvents = `[{"topic":"t","event_id":"1","timestamp":"2026-11-23T06:41:10Z"},
	{"event_id":"2","timestamp":"2026-11-23T06:41:10Z"}, {"topic":"t","event_id":"3","timestamp":"yesterday"}, {"topic":"t","timestamp":"2026-11-23T06:41:10Z"}]`

// TestRejectedAreCounted: events that are refused are counted by code, and logged by sample: one
// line, however many requests are wrong.
func TestRejectedAreCounted(t *testing.T) {
	a, log := startLogged(t, dataFolder(t))
	for range 20 {
		a.mustPublish(t, []byte(invalidEvents), "journal")
	}
	if status, _, _ := a.send(t, http.MethodPost, sent{path: "/_bulk", body: `{"create":{"_index":"i","_id":"1"}}` + "\n{}\n" + `{"delete":{"_id":"1"}}` + "\n"}); status != http.StatusOK {
		t.Errorf("bulk: %d", status)
	}
	text, err := a.get("/stats", applicationJSON)
	if err != nil {
		t.Fatal(err)
	}
	var stats struct {
		Rejected int            `json:"rejected"`
		ByCode   map[string]int `json:"rejected_by_code"`
	}
	if err := json.Unmarshal(text, &stats); err != nil || stats.Rejected != 61 || len(stats.ByCode) != 3 ||
		stats.ByCode["missing_field"] != 40 || stats.ByCode["invalid_timestamp"] != 20 || stats.ByCode["not_supported"] != 1 {
		t.Errorf("%v: %+v", err, stats)
	}
	if text := log.String(); strings.Count(text, "were refused") != 1 || !strings.Contains(text, `"refused":3,"path":"/publish","code":"missing_field"`) {
		t.Errorf("logged: %s", text)
	}
}

// letter is what is kept of something that was refused.
type letter struct {
	ID                            int64
	Topic, Source, Payload, Error string
	Attempts                      int
}

// letters lists the dead letters.
func (a *aggregator) letters(t *testing.T) (all []letter) {
	t.Helper()
	for after := int64(0); ; {
		text, err := a.get(fmt.Sprintf("/dead-letters?after=%d", after), applicationJSON)
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			DeadLetters []letter `json:"dead_letters"`
			NextAfter   *int64   `json:"next_after"`
		}
		if err := json.Unmarshal(text, &page); err != nil {
			t.Fatal(err)
		}
		if all = append(all, page.DeadLetters...); page.NextAfter == nil {
			return all
		}
		after = *page.NextAfter
	}
}

// TestRejectedAreKept: with -keep-rejected what /publish refuses is a dead letter, once however
// often it is sent, with its code and its text, when the answer has come: a kill right behind it
// changes nothing. Without the flag there is none.
func TestRejectedAreKept(t *testing.T) {
	data := dataFolder(t)
	a := start(t, data, "-keep-rejected")
	a.mustPublish(t, []byte(invalidEvents), "journal")
	a.mustPublish(t, []byte(invalidEvents), "store")
	if status, _, _ := a.send(t, http.MethodPost, sent{path: "/publish", body: "[1,", kind: applicationJSON}); status != http.StatusBadRequest {
		t.Errorf("malformed: %d", status)
	}
	ndjson := `{"topic":"t","event_id":"1","timestamp":"2026-11-23T06:41:10Z"}` + "\n{\"topic\":\n"
	if status, _, _ := a.send(t, http.MethodPost, sent{path: "/publish", body: ndjson, kind: "application/x-ndjson"}); status != http.StatusAccepted {
		t.Errorf("NDJSON: %d", status)
	}
	a.kill()
	a = start(t, data)
	a.mustPublish(t, []byte(`[{"topic":"u"}, {"topic":"t","event_id":"2","timestamp":"2026-11-23T06:41:10Z"}]`), "store")
	want := []struct{ payload, code string }{
		{`{"event_id":"2","timestamp":"2026-11-23T06:41:10Z"}`, "missing_field: topic is missing"},
		{`{"topic":"t","event_id":"3","timestamp":"yesterday"}`, "invalid_timestamp: "},
		{`{"topic":"t","timestamp":"2026-11-23T06:41:10Z"}`, "missing_field: event_id is missing"},
		{"[1,", "malformed: "},
		{`{"topic":`, "invalid_json: "},
	}
	got := a.letters(t)
	for i, l := range got {
		if len(got) != len(want) || l.Topic != "" || l.Attempts != 0 || l.Source != "/publish" || l.Payload != want[i].payload || !strings.HasPrefix(l.Error, want[i].code) {
			t.Fatalf("%+v\nwant %q", got, want)
		}
	}
	if len(got) == 0 {
		t.Fatal("nothing is kept")
	}
	a.drained(t)
	a.stop(t)
	if code, out := tool(t, "check", "-data", data); code != 0 {
		t.Errorf("check: exit %d: %s", code, out)
	}
}

// TestTooLargeIsNotKept: of a request that is too large as a whole nothing is a dead letter, at any
// endpoint and whatever else is wrong with it. Its sender sends less at once, and then its events
// are taken, or kept for what is wrong with each.
func TestTooLargeIsNotKept(t *testing.T) {
	a := start(t, dataFolder(t), "-keep-rejected", "-queue-events=10")
	many := "[" + strings.Repeat("1,", 100_000) + "1]"
	waits := make([]string, 11)
	for i := range waits {
		waits[i] = oneEvent(fmt.Sprint(i))
	}
	bulk := strings.Repeat("{\"create\":{}}\n{}\n", 11)
	for name, s := range map[string]sent{
		"more events than a request may have":           {path: "/publish", kind: applicationJSON, body: many},
		"more lines":                                    {path: "/publish", kind: "application/x-ndjson", body: strings.Repeat("1\n", 100_001)},
		"more than may wait, and one that is wrong":     {path: "/publish", kind: applicationJSON, body: "[1," + strings.Join(waits, ",") + "]"},
		"more of any JSON":                              {path: "/ingest/t", kind: applicationJSON, body: many},
		"more actions":                                  {path: "/_bulk", body: strings.Repeat("{\"delete\":{}}\n", 100_001)},
		"more actions than may wait, and a refused one": {path: "/_bulk", body: bulk + "{\"delete\":{}}\n"},
		"more of OTLP's objects than are decoded":       {path: "/v1/logs", kind: applicationJSON, body: `{"resourceLogs":[` + strings.Repeat("{},", 1_000_000) + "{}]}"},
		"more than may wait, and what is no object":     {path: "/services/collector", body: strings.Repeat("{}", 11) + "x"},
	} {
		if status, text, _ := a.send(t, http.MethodPost, s); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %.200s", name, status, text)
		}
	}
	if got := a.letters(t); len(got) != 0 {
		t.Errorf("%d letters, the first of %s: %s", len(got), got[0].Source, got[0].Error)
	}
	a.mustPublish(t, []byte("[1,"+strings.Join(waits[:10], ",")+"]"), "journal")
	if got := a.letters(t); len(got) != 1 || got[0].Payload != "1" {
		t.Errorf("of a smaller request %+v, want the event that is none", got)
	}
}

// TestSendersBodiesAreKept: what another program's endpoint cannot save is a dead letter, with its
// reason and its body, of which 64 KiB are kept; the newest 1000 are kept.
func TestSendersBodiesAreKept(t *testing.T) {
	data := dataFolder(t)
	a := start(t, data)
	long := "\x0a\xff\x00" + strings.Repeat("x", 100<<10)
	for _, s := range []sent{
		{path: "/v1/logs", kind: "application/x-protobuf", body: long},
		{path: "/v1/logs", kind: applicationJSON, body: "x"},
		{path: "/loki/api/v1/push", kind: applicationJSON, body: `{"streams":[{"values":7}]}`},
		{path: "/services/collector", body: `{"event":"a"} 7 {"event":"b"}`},
		{path: "/_bulk", body: "x"},
	} {
		if status, text, _ := a.send(t, http.MethodPost, s); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", s.path, status, text)
		}
	}
	bulk := `{"create":{"_index":"i","_id":"1"}}` + "\n{}\n" + `{"update":{"_id":"1"}}` + "\n" + `{"doc":{}}` + "\nz\n"
	if status, _, _ := a.send(t, http.MethodPost, sent{path: "/_bulk", body: bulk}); status != http.StatusOK {
		t.Errorf("bulk: %d", status)
	}
	a.kill()
	a = start(t, data)
	got := a.letters(t)
	want := []letter{{Source: "/v1/logs", Payload: "\n?\x00" + strings.Repeat("x", 64<<10-3)}, {Source: "/v1/logs", Payload: "x"},
		{Source: "/loki/api/v1/push", Payload: `{"streams":[{"values":7}]}`}, {Source: "/services/collector", Payload: ` 7 {"event":"b"}`}, {Source: "/_bulk", Payload: "x"},
		{Source: "/_bulk", Payload: `{"update":{"_id":"1"}}` + "\n" + `{"doc":{}}`}, {Source: "/_bulk", Payload: "z"}}
	if len(got) != len(want) {
		t.Fatalf("%d letters, want %d", len(got), len(want))
	}
	for i, w := range want {
		if l := got[i]; l.Source != w.Source || l.Payload != w.Payload || l.Error == "" || l.Attempts != 0 {
			t.Errorf("%d: %s, %d bytes, %.80q, %s; want %s, %d bytes, %.80q", i, l.Source, len(l.Payload), l.Payload, l.Error, w.Source, len(w.Payload), w.Payload)
		}
	}
	if c := a.drained(t); c.Unique != 2 { // Splunk's first, and the bulk request's
		t.Errorf("%+v", c)
	}
	for i := range 11 {
		lines := &strings.Builder{}
		for n := range 100 {
			fmt.Fprintf(lines, `{"delete":{"_id":"%d-%d"}}`+"\n", i, n)
		}
		if status, _, _ := a.send(t, http.MethodPost, sent{path: "/_bulk", body: lines.String()}); status != http.StatusOK {
			t.Errorf("bulk: %d", status)
		}
	}
	if got := a.letters(t); len(got) != 1000 || got[0].Payload != `{"delete":{"_id":"1-0"}}` || got[999].Payload != `{"delete":{"_id":"10-99"}}` {
		t.Errorf("%d letters, %+v to %+v", len(got), got[0], got[len(got)-1])
	}
}
