package api

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
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

// elasticPath is a path as Elasticsearch has it, without the /elasticsearch under which all of its
// paths are served too. An index may have a name that begins so.
func elasticPath(path string) string {
	under, ok := strings.CutPrefix(path, "/elasticsearch")
	if ok && (under == "" || under[0] == '/') {
		return cmp.Or(under, "/")
	}
	return path
}

// elasticRoute is the route of what Elasticsearch's senders ask for.
func elasticRoute(path string) (route, bool) {
	path = elasticPath(path)
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

// elasticProduct is the header by which clients know Elasticsearch.
const elasticProduct, elasticName = "X-Elastic-Product", "Elasticsearch"

// elastic writes an answer of which clients look whether it is Elasticsearch's.
func elastic(ctx *fasthttp.RequestCtx, status int, body []byte) {
	ctx.Response.Header.Set(elasticProduct, elasticName)
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

// bulk takes an Elasticsearch bulk request. Every action has its item: 201 for what is taken, 200
// with "noop" for a known duplicate, never 409, at which senders publish under another id.
func (a *Server) bulk(ctx *fasthttp.RequestCtx) {
	path := elasticPath(string(ctx.Path())) // decoded
	index := strings.Trim(strings.TrimSuffix(path, "/_bulk"), "/")
	var items []ingest.BulkItem
	a.takeCounted(ctx, func(in *ingest.Input) (r *event.Request, err error) {
		r, items, err = ingest.Bulk(in, index)
		return r, err
	}, func(r *event.Request) int {
		kept, sent := bulkBytes(r, items)
		return counted(kept + sent)
	}, func(r *event.Request, out pipeline.Outcome, room *held) {
		ctx.Response.Header.Set(elasticProduct, elasticName)
		a.send(ctx, fasthttp.StatusOK, bulkAnswer(r, items, out, string(ctx.QueryArgs().Peek("filter_path"))), room)
	})
}

// The largest that an item has beside its texts, and what stands around all of them.
const (
	deadLetterReason = "the database refused it: see /dead-letters"
	bulkResultBytes  = len(`{"create":{"_index":"","_id":"","status":400,"error":{"reason":"` + deadLetterReason + `","type":"dead_letter"}}},`)
	bulkAroundBytes  = len(`{"took":0,"errors":false,"items":[]}`)
)

// bulkBytes bounds what the items of a bulk request take until they are answered, and the answer to
// them.
func bulkBytes(r *event.Request, items []ingest.BulkItem) (kept, sent int) {
	sent = bulkAroundBytes
	for _, item := range items {
		kept += ingest.BulkItemBytes + len(item.Index) + len(item.ID)
		sent += bulkResultBytes + quotedBytes(item.Index) + quotedBytes(item.ID)
	}
	for _, rejection := range r.Rejections {
		kept += rejectionBytes + len(rejection.Detail)
		sent += len(rejection.Code) + 2*len(rejection.Detail)
	}
	return kept, sent
}

// quotedBytes is the length of a text without control characters as a JSON string, without the
// quotes.
func quotedBytes(text string) int {
	return len(text) + strings.Count(text, `"`) + strings.Count(text, `\`)
}

// bulkAnswer is the answer's body. filter says what the sender wants of it; "" is all.
func bulkAnswer(r *event.Request, items []ingest.BulkItem, out pipeline.Outcome, filter string) []byte {
	failed := len(r.Rejections) > 0 || slices.Contains(out.Failed, true)
	onlyErrors := filter != "" && !strings.Contains(filter, "items.*.status") && strings.Contains(filter, "error")
	lists := len(items) > 0 && wanted(filter, "items") && (failed || !onlyErrors)
	size := bulkAroundBytes
	if lists {
		_, size = bulkBytes(r, items)
	}
	to := append(make([]byte, 0, size), '{')
	member := func(name string) {
		if len(to) > 1 {
			to = append(to, ',')
		}
		to = append(append(append(to, '"'), name...), `":`...)
	}
	if wanted(filter, "took") {
		member("took")
		to = append(to, '0')
	}
	if wanted(filter, "errors") {
		member("errors")
		to = strconv.AppendBool(to, failed)
	}
	if lists {
		member("items")
		to = appendBulkItems(append(to, '['), r, items, out)
		to[len(to)-1] = ']' // in the place of the last comma
	}
	return append(to, '}')
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

// appendBulkItems appends the items, each with a comma behind it.
func appendBulkItems(to []byte, r *event.Request, items []ingest.BulkItem, out pipeline.Outcome) []byte {
	rejections, taken := r.Rejections, 0
	for i, item := range items {
		to = appendBulkHead(to, item)
		if len(rejections) > 0 && rejections[0].Index == i {
			to = appendBulkError(to, string(rejections[0].Code), rejections[0].Detail)
			rejections = rejections[1:]
			continue
		}
		switch {
		case taken < len(out.Failed) && out.Failed[taken]:
			to = appendBulkError(to, "dead_letter", deadLetterReason)
		case taken < len(out.Stored) && !out.Stored[taken]:
			to = append(appendBulkStatus(to, fasthttp.StatusOK), `"result":"noop"}},`...)
		default:
			to = append(appendBulkStatus(to, fasthttp.StatusCreated), `"result":"created"}},`...)
		}
		taken++
	}
	return to
}

// appendBulkHead appends the beginning of an item.
func appendBulkHead(to []byte, item ingest.BulkItem) []byte {
	to = append(append(append(to, `{"`...), item.Action...), `":{`...)
	if item.Index != "" {
		to = append(appendText(append(to, `"_index":`...), item.Index), ',')
	}
	if item.ID != "" {
		to = append(appendText(append(to, `"_id":`...), item.ID), ',')
	}
	return to
}

func appendBulkStatus(to []byte, status int) []byte {
	return append(strconv.AppendInt(append(to, `"status":`...), int64(status), 10), ',')
}

// appendBulkError appends the end of an item that was not taken.
func appendBulkError(to []byte, kind, reason string) []byte {
	to = appendText(append(appendBulkStatus(to, fasthttp.StatusBadRequest), `"error":{"reason":`...), reason)
	return append(appendText(append(to, `,"type":`...), kind), `}}},`...)
}

// appendText appends a JSON string; what is not UTF-8 becomes U+FFFD.
func appendText(to []byte, text string) []byte {
	to, _ = jsontext.AppendQuote(to, text) // the error tells of the U+FFFD
	return to
}
