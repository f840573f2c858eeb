package integration_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// described is a request to each endpoint, and to those with a body of their own a bad one.
var described = []struct {
	method, path, kind, body string
	status                   int
}{
	{"POST", "/publish", "application/json", oneEvent("e"), 202},
	{"POST", "/publish?ack=store&results=true", "application/json", "[" + oneEvent("e") + "," + oneEvent("f") + ",{}]", 200},
	{"POST", "/publish", "application/x-ndjson", oneEvent("g"), 202},
	{"POST", "/publish", "application/json", `{"topic":"t"}`, 422},
	{"POST", "/publish", "application/json", `{"topic`, 400},
	{"POST", "/publish?ack=never", "application/json", oneEvent("e"), 400},
	{"POST", "/publish", "image/png", "x", 415},
	{"GET", "/publish", "", "", 405},
	{"GET", "/events", "", "", 200},
	{"GET", "/events?limit=1", "", "", 200},
	{"GET", "/events?limit=0", "", "", 400},
	{"GET", "/events?after=1000000", "", "", 409},
	{"GET", "/events/stream?after=1000000", "", "", 409},
	{"GET", "/dead-letters", "", "", 200},
	{"GET", "/dead-letters?after=x", "", "", 400},
	{"GET", "/backup", "", "", 200},
	{"GET", "/backup?to=x", "", "", 400},
	{"GET", "/stats", "", "", 200},
	{"GET", "/stats?histograms=true", "", "", 200},
	{"GET", "/stats?histograms=perhaps", "", "", 400},
	{"GET", "/livez", "", "", 200},
	{"GET", "/readyz", "", "", 200},
	{"GET", "/openapi.json", "", "", 200},
	{"POST", "/v1/logs", "application/json", `{"resourceLogs":[]}`, 200},
	{"POST", "/v1/logs", "application/json", `{`, 400},
	{"POST", "/v1/logs", "application/x-protobuf", "", 200},
	{"POST", "/v1/logs", "application/x-protobuf", "x", 400},
	{"POST", "/v1/traces", "application/json", `{}`, 404},
	{"POST", "/v1/traces", "application/x-protobuf", "", 404},
	{"POST", "/v1/metrics", "application/json", `{}`, 404},
	{"POST", "/_bulk", "application/x-ndjson", `{"index":{"_index":"i","_id":"1"}}` + "\n{}\n", 200},
	{"POST", "/things/_bulk", "application/x-ndjson", `{"index":{"_id":"1"}}` + "\n{}\n", 200},
	{"POST", "/ingest/orders", "application/json", `{"a":1}`, 202},
	{"POST", "/ingest/orders?ack=never", "application/json", `{"a":1}`, 400},
	{"POST", "/cloudevents", "application/cloudevents+json", `{"specversion":"1.0","id":"1","source":"s","type":"t"}`, 202},
	{"POST", "/services/collector", "application/json", `{"event":"x"}`, 200},
	{"POST", "/services/collector/event", "application/json", `{"event":"x"}`, 200},
	{"POST", "/services/collector/event/1.0", "application/json", `{`, 400},
	{"POST", "/services/collector/raw", "text/plain", `x`, 200},
	{"POST", "/services/collector/raw/1.0", "text/plain", `x`, 200},
	{"GET", "/services/collector/health", "", "", 200},
	{"GET", "/services/collector/health/1.0", "", "", 200},
	{"POST", "/loki/api/v1/push", "application/json", `{"streams":[]}`, 204},
	{"POST", "/loki/api/v1/push", "application/json", `{`, 400},
	{"POST", "/upload", "application/vnd.fdo.journal", "__CURSOR=s=1;i=1\n\n", 202},
	{"POST", "/upload", "application/vnd.fdo.journal", "=\n\n", 400},
	{"PUT", "/_bulk", "application/x-ndjson", `{"index":{"_index":"i","_id":"1"}}` + "\n{}\n", 200},
	{"PUT", "/things/_bulk", "application/x-ndjson", `{"index":{"_id":"1"}}` + "\n{}\n", 200},
	{"GET", "/", "", "", 200},
	{"GET", "/_license", "", "", 200},
	{"GET", "/_cluster/health", "", "", 200},
	{"GET", "/_cat/health", "", "", 200},
	{"GET", "/_nodes/http", "", "", 200},
	{"GET", "/_index_template/x", "", "", 200},
	{"PUT", "/_index_template/x", "application/json", "{}", 200},
	{"GET", "/_component_template/x", "", "", 200},
	{"PUT", "/_component_template/x", "application/json", "{}", 200},
	{"GET", "/_template/x", "", "", 200},
	{"PUT", "/_template/x", "application/json", "{}", 200},
	{"GET", "/_ilm/policy/x", "", "", 200},
	{"PUT", "/_ilm/policy/x", "application/json", "{}", 200},
	{"GET", "/_ingest/pipeline/x", "", "", 200},
	{"PUT", "/_ingest/pipeline/x", "application/json", "{}", 200},
	{"GET", "/_data_stream/x", "", "", 200},
	{"PUT", "/_data_stream/x", "application/json", "{}", 200},
	{"OPTIONS", "/cloudevents", "", "", 200},
	{"OPTIONS", "/ingest/x", "", "", 200},
	{"OPTIONS", "/services/collector", "", "", 200},
	{"OPTIONS", "/services/collector/event", "", "", 200},
	{"OPTIONS", "/services/collector/event/1.0", "", "", 200},
	{"OPTIONS", "/services/collector/raw", "", "", 200},
	{"OPTIONS", "/services/collector/raw/1.0", "", "", 200},
	{"OPTIONS", "/services/collector/health", "", "", 200},
	{"OPTIONS", "/services/collector/health/1.0", "", "", 200},
}

// TestOpenAPI: the description that is served is valid, and what each endpoint really answers is in
// it.
func TestOpenAPI(t *testing.T) {
	a := start(t, dataFolder(t))
	doc := description(t, a)
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range described {
		request, err := http.NewRequestWithContext(t.Context(), c.method, a.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.kind != "" {
			request.Header.Set("Content-Type", c.kind)
		}
		answer, err := a.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d: %s, %v", c.method, c.path, answer.StatusCode, c.status, body, err)
			continue
		}
		route := routeOf(t, router, doc, request, c.status)
		seen[route.Method+" "+route.Path] = true
		compare(t, route, request, answer, body)
	}
	for _, m := range regexp.MustCompile("`(/[a-z_][^` ?]*)`").FindAllStringSubmatch(read(t, "../docs/reference/http.md"), -1) {
		if doc.Paths.Find(m[1]) == nil {
			t.Errorf("http.md has %s, which is not described", m[1])
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !seen[method+" "+path] && path != "/events/stream" { // which answers for ever
				t.Errorf("%s %s is described and was not tried", method, path)
			}
		}
	}
}

// description is what an aggregator says of itself.
func description(t *testing.T, a *aggregator) *openapi3.T {
	t.Helper()
	text, err := a.get("/openapi.json", "")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil // any
	return doc
}

// compare holds an answer against its description.
func compare(t *testing.T, route *routers.Route, request *http.Request, answer *http.Response, body []byte) {
	t.Helper()
	input := &openapi3filter.RequestValidationInput{Request: request, Route: route, Options: &openapi3filter.Options{IncludeResponseStatus: true}}
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: answer.StatusCode, Header: answer.Header,
		Body: io.NopCloser(bytes.NewReader(body)), Options: input.Options,
	})
	if err != nil {
		t.Errorf("%s %s: %d: %v", request.Method, request.URL.Path, answer.StatusCode, err)
	}
}

func init() {
	openapi3filter.RegisterBodyDecoder("application/x-protobuf", openapi3filter.FileBodyDecoder) // any bytes
	openapi3filter.RegisterBodyDecoder("application/vnd.sqlite3", openapi3filter.FileBodyDecoder)
}

// TestOpenAPIRefusals: each endpoint refuses as it is described, and describes each refusal that
// can be had.
func TestOpenAPIRefusals(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const most = 1 << 20
	closed, open := start(t, dataFolder(t), "-token-file="+token, fmt.Sprint("-max-body-bytes=", most)), start(t, dataFolder(t))
	doc := description(t, open)
	var large bytes.Buffer // decompressed: of a longer body the rest would not be read
	packed := gzip.NewWriter(&large)
	if _, err := packed.Write(bytes.Repeat([]byte("x"), most+1)); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("{topic}", "x", "{index}", "x", "{name}", "x")
	tried := map[int]int{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			kinds := map[string]*openapi3.MediaType{"image/png": nil}
			if operation.RequestBody != nil {
				kinds = operation.RequestBody.Value.Content
			}
			try := func(a *aggregator, want int, method, query, kind string, body []byte, header ...string) {
				t.Helper()
				request, err := http.NewRequestWithContext(t.Context(), method, a.URL+filled.Replace(path)+query, bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Content-Type", kind)
				for i := 0; i < len(header); i += 2 {
					request.Header.Set(header[i], header[i+1])
				}
				answer, err := a.client.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if err != nil || answer.StatusCode != want {
					t.Errorf("%s %s%s: %d, want %d: %.200s, %v", method, path, query, answer.StatusCode, want, got, err)
					return
				}
				tried[want]++
				compare(t, &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: operation}, request, answer, got)
			}
			has := func(status int) bool { return operation.Responses.Status(status) != nil }
			auth := []string{"Authorization", "Bearer secret"}
			for kind := range kinds {
				if has(405) {
					try(closed, 405, "DELETE", "", kind, nil, auth...)
				}
				if has(401) {
					try(closed, 401, method, "", kind, nil)
				}
				if has(403) {
					try(open, 403, method, "", kind, nil, "Origin", "http://elsewhere.example")
				}
				if has(413) {
					try(closed, 413, method, "", kind, large.Bytes(), append(auth, "Content-Encoding", "gzip")...)
				}
				if has(415) {
					try(closed, 415, method, "", kind, []byte("{}"), append(auth, "Content-Encoding", "lzma")...)
				}
				if operation.Parameters.GetByInAndName("query", "ack") != nil {
					try(closed, 400, method, "?ack=never", kind, []byte("{}"), auth...)
				}
			}
		}
	}
	for _, status := range []int{400, 401, 403, 405, 413, 415} {
		if tried[status] < 10 {
			t.Errorf("%d was met %d times", status, tried[status])
		}
	}
	t.Logf("answers by status: %v", tried)
	// What is left are states of the whole server, which are described for each endpoint alike.
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for _, status := range []int{403, 431, 500, 503, 505} {
				if operation.Responses.Status(status) == nil {
					t.Errorf("%s %s does not describe %d", method, path, status)
				}
			}
		}
	}
}

// routeOf is the operation that describes a request. One with a wrong method is described by the
// path's only operation.
func routeOf(t *testing.T, router routers.Router, doc *openapi3.T, request *http.Request, status int) *routers.Route {
	t.Helper()
	if status != http.StatusMethodNotAllowed {
		route, _, err := router.FindRoute(request)
		if err != nil {
			t.Fatalf("%s %s: %v", request.Method, request.URL.Path, err)
		}
		return route
	}
	item := doc.Paths.Find(request.URL.Path)
	for method, operation := range item.Operations() {
		return &routers.Route{Spec: doc, Path: request.URL.Path, PathItem: item, Method: method, Operation: operation}
	}
	return nil
}
