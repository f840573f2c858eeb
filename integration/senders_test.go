package integration_test

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
)

// sent is a request of a sender, and what a sender that got no answer sends again.
type sent struct {
	path, kind, body string
	header           map[string]string
}

// send posts a request and returns the status and the body of the answer.
func (a *aggregator) send(t *testing.T, method string, s sent) (int, string, http.Header) {
	t.Helper()
	request, err := http.NewRequest(method, a.URL+s.path, strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	if s.kind != "" {
		request.Header.Set("Content-Type", s.kind)
	}
	for name, value := range s.header {
		request.Header.Set(name, value)
	}
	answer, err := a.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text), answer.Header
}

const (
	applicationJSON    = "application/json"
	sendersPerProtocol = 50 // requests of each protocol, an event each
)

// requestsOf are requests of every protocol, one event each.
func requestsOf(n int) map[string]sent {
	return map[string]sent{
		"otlp": {path: "/v1/logs", kind: applicationJSON, body: fmt.Sprintf(`{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"otlp"}}]},`+
			`"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d","body":{"stringValue":"line %d"}}]}]}]}`, 1764295200000000000+n, n)},
		"bulk":        {path: "/_bulk", kind: "application/vnd.elasticsearch+x-ndjson", body: fmt.Sprintf("{\"create\":{\"_index\":\"bulk\",\"_id\":\"id-%d\"}}\n{\"message\":\"line %d\"}\n", n, n)},
		"ingest":      {path: "/ingest/ingest", kind: applicationJSON, body: fmt.Sprintf(`{"alert":%d}`, n)},
		"cloudevents": {path: "/cloudevents", kind: "application/cloudevents+json", body: fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"s","type":"cloudevents"}`, n)},
		"splunk":      {path: "/services/collector/event", kind: applicationJSON, body: fmt.Sprintf(`{"index":"splunk","event":"line %d"}`, n)},
		"loki":        {path: "/loki/api/v1/push", kind: applicationJSON, body: fmt.Sprintf(`{"streams":[{"stream":{"job":"loki"},"values":[["%d","line"]]}]}`, 1764295200000000000+n)},
	}
}

// TestSendersAreStoredOnce: each protocol's requests are sent, sent again as by a sender that got
// no answer, and sent once more to the next lives of an aggregator that was killed: every event is
// stored once.
func TestSendersAreStoredOnce(t *testing.T) {
	data := dataFolder(t)
	for life := range 3 {
		a := start(t, data)
		for n := range sendersPerProtocol {
			for name, s := range requestsOf(n) {
				if status, text, _ := a.send(t, http.MethodPost, s); status < 200 || status > 299 {
					t.Fatalf("%s: %d %s", name, status, text)
				}
			}
		}
		if life < 2 {
			a.kill()
			continue
		}
		c := a.drained(t)
		want := sendersPerProtocol * len(requestsOf(0))
		if c.Unique != want || c.Received != 3*want {
			t.Errorf("%+v, want %d stored of %d", c, want, 3*want)
		}
		text, err := a.get("/stats", applicationJSON)
		if err != nil {
			t.Fatal(err)
		}
		var stats struct {
			Topics []struct {
				Name   string `json:"name"`
				Events int    `json:"events"`
			} `json:"topics"`
		}
		if err := json.Unmarshal(text, &stats); err != nil || len(stats.Topics) != len(requestsOf(0)) {
			t.Fatalf("%v, %s", err, text)
		}
		for _, topic := range stats.Topics {
			if topic.Events != sendersPerProtocol {
				t.Errorf("%s has %d events, want %d", topic.Name, topic.Events, sendersPerProtocol)
			}
		}
		a.stop(t)
	}
}

// TestSendersAnswers: what each protocol's client looks at.
func TestSendersAnswers(t *testing.T) {
	a := start(t, dataFolder(t), "-ack=store")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, `{"index":{"_index":"i","_id":"1"}}`+"\n{}\n")
	_ = z.Close()
	bulk := `{"index":{"_index":"i","_id":"1"}}` + "\n{}\n" + `{"delete":{"_id":"9"}}` + "\n"
	block := string(s2.EncodeSnappy(nil, nil))
	const cloud = `{"specversion":"1.0","id":"1","source":"s","type":"kind","subject":"about"}`
	for _, tc := range []struct {
		name, method string
		sent         sent
		status       int
		body         string // a part of it
	}{
		{"OTLP in JSON", "POST", sent{path: "/v1/logs", kind: applicationJSON, body: "{}"}, 200, "{}"},
		{"OTLP in protobuf, empty", "POST", sent{path: "/v1/logs", kind: "application/x-protobuf"}, 200, ""},
		{"OTLP, not protobuf", "POST", sent{path: "/v1/logs", kind: "application/x-protobuf", body: "\x0a\xff"}, 400, "malformed"},
		{"OTLP, not JSON", "POST", sent{path: "/v1/logs", kind: applicationJSON, body: "x"}, 400, `"code":3`},
		{"OTLP traces", "POST", sent{path: "/v1/traces", kind: applicationJSON, body: "{}"}, 404, `"code":5`},
		{"bulk, zipped", "POST", sent{path: "/_bulk", kind: applicationJSON, body: zipped.String(), header: map[string]string{"Content-Encoding": "gzip"}}, 200, `"status":201`},
		{"bulk, a repeat and a delete", "POST", sent{path: "/elasticsearch/_bulk", body: bulk}, 200, `{"took":0,"errors":true,"items":[{"index":{"_index":"i","_id":"1","status":200,"result":"noop"}},{"delete":{`},
		{"bulk, filtered", "POST", sent{path: "/i/_bulk?filter_path=errors,items.*.error", body: "{\"create\":{}}\n{}\n"}, 200, `{"errors":false}`},
		{"bulk, malformed", "POST", sent{path: "/_bulk", body: "x"}, 400, `"error":{`},
		{"version", "GET", sent{path: "/"}, 200, `"number":"8.`},
		{"license", "GET", sent{path: "/_license"}, 200, `"active"`},
		{"a template", "PUT", sent{path: "/_index_template/filebeat", body: "{}"}, 200, `"acknowledged":true`},
		{"HEC health", "GET", sent{path: "/services/collector/health"}, 200, `"code":17`},
		{"HEC options", "OPTIONS", sent{path: "/services/collector/event/1.0"}, 200, `"code":0`},
		{"HEC", "POST", sent{path: "/services/collector", body: `{"event":"a"}{"event":"b"}`}, 200, `{"text":"Success","code":0}`},
		{"HEC, not an object", "POST", sent{path: "/services/collector", body: `{"event":"c"} 7`}, 400, `"code":6,"invalid-event-number":1`},
		{"HEC raw", "POST", sent{path: "/services/collector/raw?topic=raw", body: "one\ntwo\n"}, 200, `"code":0`},
		{"CloudEvents handshake", "OPTIONS", sent{path: "/cloudevents", header: map[string]string{"WebHook-Request-Origin": "here"}}, 200, ""},
		{"ingest", "POST", sent{path: "/ingest/hooks", body: `{"a":1}`, kind: applicationJSON}, 200, `"accepted":1`},
		{"ingest, unsigned", "POST", sent{path: "/ingest/hooks?hmac=github", body: `{"a":1}`, kind: applicationJSON}, 401, "without -hmac-secret-file"},
		{"ingest, a long pointer", "POST", sent{path: "/ingest/hooks?id=" + strings.Repeat("/a", 17), body: `{"a":1}`, kind: applicationJSON}, 400, "more than 16 steps"},
		{"ingest handshake", "OPTIONS", sent{path: "/ingest/hooks", header: map[string]string{"WebHook-Request-Origin": "here"}}, 200, ""},
		{"ingest, a percent sign", "POST", sent{path: "/ingest/50%25?ack=store", body: `{"a":1}`, kind: applicationJSON}, 200, `"accepted":1`},
		{"its topic", "GET", sent{path: "/events?topic=50%25"}, 200, `"topic":"50%"`},
		{"ingest, a slash in the topic", "POST", sent{path: "/ingest/up%2Fdown?ack=store", body: `{"a":1}`, kind: applicationJSON}, 200, `"accepted":1`},
		{"its topic", "GET", sent{path: "/events?topic=up%2Fdown"}, 200, `"topic":"up/down"`},
		{"ingest, an escape twice", "POST", sent{path: "/ingest/up%252Fdown?ack=store", body: `{"a":1}`, kind: applicationJSON}, 200, `"accepted":1`},
		{"its topic", "GET", sent{path: "/events?topic=up%252Fdown"}, 200, `"topic":"up%2Fdown"`},
		{"ingest, two parts", "POST", sent{path: "/ingest/up/down", body: `{"a":1}`, kind: applicationJSON}, 404, "not_found"},
		{"bulk, a percent sign", "POST", sent{path: "/50%25/_bulk?ack=store", body: "{\"create\":{}}\n{}\n"}, 200, `"_index":"50%"`},
		{"bulk, an index of that name", "POST", sent{path: "/elasticsearch-2026/_bulk", body: "{\"create\":{}}\n{}\n"}, 200, `"_index":"elasticsearch-2026"`},
		{"bulk, the same below", "POST", sent{path: "/elasticsearch/elasticsearch/_bulk", body: "{\"create\":{}}\n{}\n"}, 200, `"_index":"elasticsearch"`},
		{"ingest, a CloudEvent for a path", "POST", sent{path: "/ingest/%2Fup?ack=store", body: cloud, kind: "application/cloudevents+json"}, 200, `"accepted":1`},
		{"its topic", "GET", sent{path: "/events?topic=%2Fup"}, 200, `"topic":"/up"`},
		{"ingest, a CloudEvent with another topic", "POST", sent{path: "/ingest/down?ack=store&topic=/subject", body: cloud, kind: "application/cloudevents+json"}, 200, `"accepted":1`},
		{"its topic", "GET", sent{path: "/events?topic=about"}, 200, `"topic":"about"`},
		{"ingest, no topic", "POST", sent{path: "/ingest/", body: `{"a":1}`, kind: applicationJSON}, 404, "not_found"},
		{"Loki", "POST", sent{path: "/loki/api/v1/push", body: `{"streams":[]}`, kind: applicationJSON}, 204, ""},
		{"Loki, a block that the headers name", "POST", sent{path: "/loki/api/v1/push", body: block, kind: "application/x-protobuf", header: map[string]string{"Content-Encoding": "snappy"}}, 204, ""},
		{"Loki, JSON in a block", "POST", sent{path: "/loki/api/v1/push", body: block, kind: applicationJSON, header: map[string]string{"Content-Encoding": "snappy"}}, 415, ""},
		{"Loki, malformed", "POST", sent{path: "/loki/api/v1/push", body: `{"streams":[{"values":7}]}`, kind: applicationJSON}, 400, "malformed"},
	} {
		status, text, header := a.send(t, tc.method, tc.sent)
		if status != tc.status || !strings.Contains(text, tc.body) {
			t.Errorf("%s: %d %q, want %d with %q", tc.name, status, text, tc.status, tc.body)
		}
		if strings.HasPrefix(tc.name, "bulk") && header.Get("X-Elastic-Product") != "Elasticsearch" {
			t.Errorf("%s: no X-Elastic-Product", tc.name)
		}
	}
	a.stop(t)
}

// TestSignedWebhooks: a signature takes the place of the token, and only where it is right.
func TestSignedWebhooks(t *testing.T) {
	dir := t.TempDir()
	token, secret := filepath.Join(dir, "token"), filepath.Join(dir, "secret")
	for file, text := range map[string]string{token: "the token", secret: "the secret"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := start(t, dataFolder(t), "-token-file="+token, "-hmac-secret-file="+secret)
	body := `{"action":"opened"}`
	mac := hmac.New(sha256.New, []byte("the secret"))
	mac.Write([]byte(body))
	right := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	for _, tc := range []struct {
		path, signature string
		status          int
	}{
		{"/ingest/github?hmac=github", right, 202},
		{"/ingest/github?hmac=github", "sha256=00", 401},
		{"/ingest/github?hmac=github", "", 401},
		{"/ingest/github?hmac=other", right, 401},
		{"/ingest/github?hmac=", right, 401},
		{"/ingest/github?hmac", "", 401},
		{"/ingest/github?hmac=&hmac=github", right, 401},
		{"/ingest/github", right, 401},
		{"/v1/logs?hmac=github", right, 401},
	} {
		status, text, _ := a.send(t, http.MethodPost, sent{path: tc.path, kind: applicationJSON, body: body, header: map[string]string{"X-Hub-Signature-256": tc.signature}})
		if status != tc.status {
			t.Errorf("%s, signed %q: %d %s, want %d", tc.path, tc.signature, status, text, tc.status)
		}
	}
	a.stop(t)
}
