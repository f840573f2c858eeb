package api

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
	"sekali/aggregator/pipeline"
)

// elasticVersion is what senders are told: the last one whose bulk requests all of them speak.
const elasticVersion = "8.17.0"

// elasticAnswers are what senders ask before they send. What sets templates, policies and pipelines
// is acknowledged, and does nothing.
var elasticAnswers = map[string]string{
	"/":                `{"name":"sekali","cluster_name":"sekali","cluster_uuid":"sekali","version":{"number":"` + elasticVersion + `","build_flavor":"default","build_type":"docker","minimum_wire_compatibility_version":"7.17.0","minimum_index_compatibility_version":"7.0.0"},"tagline":"You Know, for Search"}`,
	"/_license":        `{"license":{"status":"active","type":"basic","uid":"sekali"}}`,
	"/_cluster/health": `{"cluster_name":"sekali","status":"green","timed_out":false,"number_of_nodes":1,"number_of_data_nodes":1}`,
	"/_cat/health":     "sekali green\n",
	"/_nodes/http":     `{"_nodes":{"total":1,"successful":1,"failed":0},"cluster_name":"sekali","nodes":{}}`,
}

// elasticSettings are the beginnings of paths under which a sender looks for, or sets, what a store
// of events does not have.
var elasticSettings = []string{"/_index_template/", "/_component_template/", "/_template/", "/_ilm/policy/", "/_ingest/pipeline/", "/_data_stream/"}

// elasticRoute is the route of what Elasticsearch's senders ask for, also under /elasticsearch.
func elasticRoute(path string) (route, bool) {
	path = strings.TrimPrefix(path, "/elasticsearch")
	if path == "" {
		path = "/"
	}
	if index, ok := strings.CutSuffix(path, "/_bulk"); ok && strings.Count(index, "/") <= 1 {
		return route{method: fasthttp.MethodPost, right: Publish, also: fasthttp.MethodPut, handle: (*Server).bulk, problem: elasticProblem}, true
	}
	if answer, ok := elasticAnswers[path]; ok {
		return route{method: fasthttp.MethodGet, right: Publish, handle: func(_ *Server, ctx *fasthttp.RequestCtx) { elasticAnswer(ctx, answer) }, problem: elasticProblem}, true
	}
	for _, prefix := range elasticSettings {
		if strings.HasPrefix(path, prefix) {
			return route{method: fasthttp.MethodGet, right: Publish, also: fasthttp.MethodPut, handle: elasticSetting, problem: elasticProblem}, true
		}
	}
	return route{}, false
}

// elastic writes an answer of which clients look whether it is Elasticsearch's.
func elastic(ctx *fasthttp.RequestCtx, status int, body []byte) {
	ctx.Response.Header.Set("X-Elastic-Product", "Elasticsearch")
	ctx.SetContentType(jsonType)
	ctx.SetStatusCode(status)
	ctx.SetBody(body)
}

func elasticAnswer(ctx *fasthttp.RequestCtx, answer string) {
	elastic(ctx, fasthttp.StatusOK, []byte(answer))
	if answer[0] != '{' {
		ctx.SetContentType("text/plain; charset=utf-8")
	}
}

func elasticSetting(_ *Server, ctx *fasthttp.RequestCtx) {
	if ctx.IsPut() {
		elastic(ctx, fasthttp.StatusOK, []byte(`{"acknowledged":true}`))
		return
	}
	elastic(ctx, fasthttp.StatusOK, []byte("{}"))
}

// elasticProblem writes an error as Elasticsearch does.
func elasticProblem(ctx *fasthttp.RequestCtx, status int, code, detail string) {
	b, _ := json.Marshal(struct { // strings and a number: it cannot fail
		Error  map[string]string `json:"error"`
		Status int               `json:"status"`
	}{map[string]string{"type": code, "reason": detail}, status})
	elastic(ctx, status, b)
}

// bulkResult is one item of the answer to a bulk request.
type bulkResult struct {
	Index  string            `json:"_index,omitempty"`
	ID     string            `json:"_id,omitempty"`
	Status int               `json:"status"`
	Result string            `json:"result,omitempty"`
	Error  map[string]string `json:"error,omitempty"`
}

// bulk takes an Elasticsearch bulk request. Every action has its item: 201 for what is taken, 200
// with "noop" for a known duplicate, never 409, at which senders publish under another id.
func (a *Server) bulk(ctx *fasthttp.RequestCtx) {
	path, err := url.PathUnescape(strings.TrimPrefix(string(ctx.Path()), "/elasticsearch"))
	if err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
		return
	}
	index := strings.Trim(strings.TrimSuffix(path, "/_bulk"), "/")
	var items []ingest.BulkItem
	a.takeMapped(ctx, func(in *ingest.Input) (r *event.Request, err error) {
		r, items, err = ingest.Bulk(in, index)
		return r, err
	}, func(r *event.Request, out pipeline.Outcome) {
		elastic(ctx, fasthttp.StatusOK, bulkAnswer(r, items, out, string(ctx.QueryArgs().Peek("filter_path"))))
	})
}

// bulkAnswer is the answer's body. filter says what the sender wants of it; "" is all.
func bulkAnswer(r *event.Request, items []ingest.BulkItem, out pipeline.Outcome, filter string) []byte {
	answer := struct {
		Took   *int                    `json:"took,omitempty"`
		Errors *bool                   `json:"errors,omitempty"`
		Items  []map[string]bulkResult `json:"items,omitempty"`
	}{}
	failed := len(r.Rejections) > 0 || slices.Contains(out.Failed, true)
	if took := 0; wanted(filter, "took") {
		answer.Took = &took
	}
	if wanted(filter, "errors") {
		answer.Errors = &failed
	}
	onlyErrors := filter != "" && !strings.Contains(filter, "items.*.status") && strings.Contains(filter, "error")
	if wanted(filter, "items") && (failed || !onlyErrors) {
		answer.Items = bulkItems(r, items, out)
	}
	b, _ := json.Marshal(answer) // strings, numbers and bools: it cannot fail
	return b
}

// wanted reports whether a filter_path lets a top member through.
func wanted(filter, name string) bool {
	if filter == "" {
		return true
	}
	for one := range strings.SplitSeq(filter, ",") {
		if top, _, _ := strings.Cut(one, "."); top == name || top == "*" {
			return true
		}
	}
	return false
}

func bulkItems(r *event.Request, items []ingest.BulkItem, out pipeline.Outcome) []map[string]bulkResult {
	all := make([]map[string]bulkResult, 0, len(items))
	rejections, taken := r.Rejections, 0
	for i, item := range items {
		one := bulkResult{Index: item.Index, ID: item.ID, Status: fasthttp.StatusCreated, Result: "created"}
		switch {
		case len(rejections) > 0 && rejections[0].Index == i:
			one.Status, one.Result = fasthttp.StatusBadRequest, ""
			one.Error = map[string]string{"type": string(rejections[0].Code), "reason": rejections[0].Detail}
			rejections = rejections[1:]
		default:
			switch {
			case taken < len(out.Failed) && out.Failed[taken]:
				one.Status, one.Result = fasthttp.StatusBadRequest, ""
				one.Error = map[string]string{"type": "dead_letter", "reason": "the database refused it: see /dead-letters"}
			case taken < len(out.Stored) && !out.Stored[taken]:
				one.Status, one.Result = fasthttp.StatusOK, "noop"
			}
			taken++
		}
		all = append(all, map[string]bulkResult{item.Action: one})
	}
	return all
}
