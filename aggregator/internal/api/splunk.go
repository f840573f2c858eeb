package api

import (
	"cmp"
	"encoding/json"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
	"sekali/aggregator/pipeline"
)

// The codes of Splunk's HTTP Event Collector.
const (
	hecSuccess       = 0
	hecTokenRequired = 2
	hecInvalidToken  = 4
	hecInvalidFormat = 6
	hecServerError   = 8
	hecBusy          = 9
	hecHealthy       = 17
)

// hecAnswer is what the collector answers, errors too.
type hecAnswer struct {
	Text    string `json:"text"`
	Code    int    `json:"code"`
	Invalid *int   `json:"invalid-event-number,omitempty"`
}

func hec(handle func(*Server, *fasthttp.RequestCtx)) route {
	return route{method: fasthttp.MethodPost, right: Publish, also: fasthttp.MethodOptions, handle: handle, problem: hecProblem}
}

func hecEnd(ctx *fasthttp.RequestCtx, answer hecAnswer) {
	b, _ := json.Marshal(answer) // strings and numbers: it cannot fail
	ctx.SetContentType(jsonType)
	ctx.SetBody(b)
}

func (a *Server) hecEvents(ctx *fasthttp.RequestCtx) { a.hec(ctx, ingest.Splunk) }

// hecRaw takes lines, of which the query alone says where they are from.
func (a *Server) hecRaw(ctx *fasthttp.RequestCtx) {
	args := ctx.QueryArgs()
	arg := func(name string) string { return string(args.Peek(name)) }
	topic, source := cmp.Or(arg("topic"), arg("index"), arg("sourcetype")), cmp.Or(arg("host"), arg("source"))
	args.Del("topic") // neither is a pointer into an event
	args.Del("source")
	a.hec(ctx, func(in *ingest.Input) (*event.Request, error) {
		in.Topic, in.Source = topic, source
		return ingest.SplunkRaw(in)
	})
}

func (a *Server) hec(ctx *fasthttp.RequestCtx, m mapper) {
	if ctx.IsOptions() { // Docker's driver asks before it starts a container
		hecEnd(ctx, hecAnswer{Text: "Success", Code: hecSuccess})
		return
	}
	a.takeMapped(ctx, m, func(r *event.Request, _ pipeline.Outcome) {
		if len(r.Rejections) > 0 {
			ctx.SetUserValue(hecInvalid{}, r.Rejections[0].Index)
			problem(ctx, fasthttp.StatusBadRequest, string(r.Rejections[0].Code), r.Rejections[0].Detail)
			return
		}
		hecEnd(ctx, hecAnswer{Text: "Success", Code: hecSuccess})
	})
}

// hecInvalid is under which a request keeps the number of the event that cannot be read.
type hecInvalid struct{}

func (a *Server) hecHealth(ctx *fasthttp.RequestCtx) {
	if err := a.Ready(); err != nil && !ctx.IsOptions() {
		refuse(ctx, err)
		return
	}
	hecEnd(ctx, hecAnswer{Text: "HEC is healthy", Code: hecHealthy})
}

// hecProblem writes an error as the collector does.
func hecProblem(ctx *fasthttp.RequestCtx, status int, code, detail string) {
	answer := hecAnswer{Text: detail, Code: hecServerError}
	switch status {
	case fasthttp.StatusServiceUnavailable:
		answer = hecAnswer{Text: "Server is busy", Code: hecBusy}
	case fasthttp.StatusUnauthorized:
		answer = hecAnswer{Text: "Token is required", Code: hecTokenRequired}
	case fasthttp.StatusForbidden:
		answer.Code = hecInvalidToken
	case fasthttp.StatusBadRequest, fasthttp.StatusRequestEntityTooLarge:
		answer = hecAnswer{Text: "Invalid data format: " + detail, Code: hecInvalidFormat}
		if n, ok := ctx.UserValue(hecInvalid{}).(int); ok {
			answer.Invalid = &n
		}
	}
	hecEnd(ctx, answer)
}
