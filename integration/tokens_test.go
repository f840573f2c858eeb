package integration_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tokenEndpoint is a request of an endpoint whose events, or whose page, are of the topic a1.
type tokenEndpoint struct{ method, path, kind, body string }

// tokenEndpoints are the requests behind the table of rights in docs/reference/http.md.
var tokenEndpoints = map[string]tokenEndpoint{
	"/publish":                   {"POST", "/publish", applicationJSON, `{"topic":"%s","event_id":"p","timestamp":"2026-11-23T06:41:10Z"}`},
	"/v1/logs":                   {"POST", "/v1/logs?topic=%s", applicationJSON, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","body":{"stringValue":"x"}}]}]}]}`},
	"/_bulk":                     {"POST", "/%s/_bulk", "application/x-ndjson", `{"create":{"_id":"b"}}` + "\n{}\n"},
	"/ingest/{topic}":            {"POST", "/ingest/%s", applicationJSON, `{"a":1}`},
	"/cloudevents":               {"POST", "/cloudevents?topic=%s", "application/cloudevents+json", `{"specversion":"1.0","id":"c","source":"s","type":"t"}`},
	"/services/collector":        {"POST", "/services/collector?topic=%s", applicationJSON, `{"event":"x","time":1}`},
	"/loki/api/v1/push":          {"POST", "/loki/api/v1/push?topic=%s", applicationJSON, `{"streams":[{"stream":{"a":"b"},"values":[["1","x"]]}]}`},
	"/upload":                    {"POST", "/upload", "application/vnd.fdo.journal", "__CURSOR=s=1;i=1\nMESSAGE=x\nSYSLOG_IDENTIFIER=%s\n\n"},
	"/events":                    {"GET", "/events?topic=%s", "", ""},
	"/events/stream":             {"GET", "/events/stream?topic=%s", "", ""},
	"/stats":                     {"GET", "/stats", "", ""},
	"/dead-letters":              {"GET", "/dead-letters", "", ""},
	"/backup":                    {"GET", "/backup", "", ""},
	"/openapi.json":              {"GET", "/openapi.json", "", ""},
	"/livez":                     {"GET", "/livez", "", ""},
	"/readyz":                    {"GET", "/readyz", "", ""},
	"/services/collector/health": {"GET", "/services/collector/health", "", ""},
}

// as sends a request with a token, and returns its status and the beginning of the answer; of a
// stream that is let in the rest is not waited for.
func (e tokenEndpoint) as(t *testing.T, a *aggregator, token, topic string) (int, string) {
	t.Helper()
	fill := func(text string) string { return strings.ReplaceAll(text, "%s", topic) }
	request, err := http.NewRequestWithContext(t.Context(), e.method, a.URL+fill(e.path), strings.NewReader(fill(e.body)))
	if err != nil {
		t.Fatal(err)
	}
	if e.kind != "" {
		request.Header.Set("Content-Type", e.kind)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := a.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	// Some senders show a password only to who asks for one; a browser would ask its user.
	schemes := strings.Join(answer.Header.Values("WWW-Authenticate"), ", ")
	if asks := strings.Contains(schemes, "Basic "); answer.StatusCode == http.StatusUnauthorized && asks != (e.method == "POST") {
		t.Errorf("%s %s asks for %q", e.method, e.path, schemes)
	}
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		return answer.StatusCode, ""
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// rights reads the table of docs/reference/http.md: the right that each endpoint needs.
func rights(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/reference/http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| endpoint | right |")
	table, _, _ = strings.Cut(table, "\n\n")
	all := map[string]string{}
	for _, row := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(row, "|")
		for name := range strings.SplitSeq(cells[1], ",") {
			all[strings.Trim(name, " `")] = strings.TrimSpace(cells[2])
		}
	}
	return all
}

func writeTokens(t *testing.T, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestRightOfEachEndpoint: each endpoint wants the right that the reference says, for the topic of
// the request: with another right, or for another's topic, it is 403, without a token 401.
func TestRightOfEachEndpoint(t *testing.T) {
	a := start(t, dataFolder(t), "-tokens", writeTokens(t, "pub publish a*", "get read a*", "adm admin *", "pub-b publish,read b"))
	table := rights(t)
	for name, e := range tokenEndpoints {
		right, ok := table[name]
		if !ok {
			t.Errorf("docs/reference/http.md does not say which right %s needs", name)
		}
		for token, has := range map[string]string{"pub": "publish", "get": "read", "adm": "admin", "": "", "none": ""} {
			ok := right == has || right == "none"
			status, text := e.as(t, a, token, "a1")
			switch {
			case ok && status/100 != 2, !ok && has != "" && status != 403, !ok && has == "" && status != 401:
				t.Errorf("%s needs %s; with %q: %d %s", name, right, token, status, text)
			}
		}
		status, text := e.as(t, a, "pub-b", "a1")
		want := 403
		if right == "none" || name == "/stats" { // which shows b alone
			want = 200
		}
		if status != want || strings.Contains(text, `"a1"`) && want == 200 {
			t.Errorf("%s of another's topic: %d %s, want %d", name, status, text, want)
		}
	}
	for name := range table {
		if _, ok := tokenEndpoints[name]; !ok {
			t.Errorf("the right of %s is not tested", name)
		}
	}
}

// TestPublishersAreApart: a request with an event of another's topic is refused whole, a reader
// must name a topic of its own, and each sender's protocol says 403 in its form.
func TestPublishersAreApart(t *testing.T) {
	a := start(t, dataFolder(t), "-tokens", writeTokens(t, "both-a publish,read a", "both-b publish,read b", "all publish,read,admin *"))
	event := func(topic, id string) string {
		return fmt.Sprintf(`{"topic":"%s","event_id":"%s","timestamp":"2026-11-23T06:41:10Z"}`, topic, id)
	}
	post := func(token, body string, want int) {
		t.Helper()
		if status, text := (tokenEndpoint{"POST", "/publish?ack=store", applicationJSON, body}).as(t, a, token, ""); status != want {
			t.Errorf("%s publishes %s: %d %s, want %d", token, body, status, text, want)
		}
	}
	post("both-a", event("a", "1"), 200)
	post("both-b", event("b", "1"), 200)
	post("both-a", "["+event("a", "2")+","+event("b", "2")+"]", 403)
	post("both-a", event("aa", "1"), 403)
	for target, want := range map[string]int{"/events": 403, "/events?topic=b": 403, "/events/stream": 403, "/events?topic=a": 200} {
		if status, text := (tokenEndpoint{"GET", target, "", ""}).as(t, a, "both-a", ""); status != want {
			t.Errorf("%s: %d %s, want %d", target, status, text, want)
		}
	}
	stats := tokenEndpoint{"GET", "/stats", "", ""}
	if _, text := stats.as(t, a, "both-a", ""); !strings.Contains(text, `"a"`) || strings.Contains(text, `"b"`) {
		t.Errorf("both-a sees in /stats: %s", text)
	}
	if _, text := (tokenEndpoint{"GET", "/events", "", ""}).as(t, a, "all", ""); strings.Count(text, `"event_id"`) != 2 {
		t.Errorf("not the two events that were permitted: %s", text)
	}
	for name, want := range map[string]string{"/v1/logs": `"code":7`, "/services/collector": `"code":4`, "/_bulk": `"type":"forbidden"`, "/publish": `"code":"forbidden"`} {
		if status, text := tokenEndpoints[name].as(t, a, "both-a", "b"); status != 403 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want 403 with %s", name, status, text, want)
		}
	}
}

// TestRevokedTokenEndsItsStreams: SIGHUP reads the file again; the streams of a token that is gone
// end, those of one that stays go on, and a file with a bad line changes nothing.
func TestRevokedTokenEndsItsStreams(t *testing.T) {
	stays := fmt.Sprintf("sha256:%x read a", sha256.Sum256([]byte("stays-s3cret")))
	file := writeTokens(t, "goes-s3cret read a", stays)
	a, log := startLogged(t, dataFolder(t), "-tokens", file)
	follow := func(token string) <-chan error {
		answer, err := a.client.Get(a.URL + "/events/stream?topic=a&access_token=" + token)
		if err != nil || answer.StatusCode != 200 {
			t.Fatal(answer, err)
		}
		ended := make(chan error, 1)
		go func() {
			defer answer.Body.Close()
			_, err := io.Copy(io.Discard, answer.Body)
			ended <- err
		}()
		return ended
	}
	hangup := func(text, logs string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := a.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		log.wait(t, logs, 1)
	}
	goes, remains := follow("goes-s3cret"), follow("stays-s3cret")
	hangup("goes-s3cret write a\n", "the tokens stay as they were")
	if !strings.Contains(log.String(), file+":1: ") {
		t.Errorf("the log does not name the file and the line:\n%s", log)
	}
	hangup(stays+"\n", "tokens reloaded")
	select {
	case <-goes:
	case <-time.After(requestTimeout):
		t.Error("the stream of a revoked token goes on")
	}
	select {
	case err := <-remains:
		t.Errorf("the stream of a token that stays has ended: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("the log has a token:\n%s", log)
	}
}
