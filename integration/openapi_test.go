package integration_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
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
	{"GET", "/stats", "", "", 200},
	{"GET", "/stats?histograms=true", "", "", 200},
	{"GET", "/stats?histograms=perhaps", "", "", 400},
	{"GET", "/livez", "", "", 200},
	{"GET", "/readyz", "", "", 200},
	{"GET", "/openapi.json", "", "", 200},
	{"POST", "/v1/logs", "application/json", `{"resourceLogs":[]}`, 200},
	{"POST", "/v1/logs", "application/json", `{`, 400},
	{"POST", "/v1/traces", "application/json", `{}`, 404},
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
}

// TestOpenAPI: the description that is served is valid, and what each endpoint really answers is in
// it.
func TestOpenAPI(t *testing.T) {
	a := start(t, dataFolder(t))
	text, err := a.get("/openapi.json", "")
	if err != nil {
		t.Fatal(err)
	}
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil // any
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
		seen[route.Path] = true
		input := &openapi3filter.RequestValidationInput{Request: request, Route: route, Options: &openapi3filter.Options{IncludeResponseStatus: true}}
		err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: input, Status: answer.StatusCode, Header: answer.Header,
			Body: io.NopCloser(bytes.NewReader(body)), Options: input.Options,
		})
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
		}
	}
	for path := range doc.Paths.Map() {
		if !seen[path] {
			t.Errorf("%s is described and was not tried", path)
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
