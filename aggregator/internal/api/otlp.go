package api

import (
	"encoding/json"
	"strings"

	"github.com/valyala/fasthttp"
	"google.golang.org/protobuf/encoding/protowire"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
	"sekali/aggregator/pipeline"
)

const protobuf = "application/x-protobuf"

// speaksProtobuf reports whether an OTLP request is in protobuf; its answer is in the same form.
func speaksProtobuf(ctx *fasthttp.RequestCtx) bool {
	return strings.HasPrefix(string(ctx.Request.Header.ContentType()), protobuf)
}

// otlpLogs takes logs by OTLP over HTTP.
func (a *Server) otlpLogs(ctx *fasthttp.RequestCtx) {
	m := ingest.OTLP
	switch {
	case speaksProtobuf(ctx):
	case strings.HasPrefix(string(ctx.Request.Header.ContentType()), jsonType):
		m = ingest.OTLPJSON
	default:
		problem(ctx, fasthttp.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Type must be "+protobuf+" or "+jsonType)
		return
	}
	a.takeMapped(ctx, m, func(*event.Request, pipeline.Outcome) {
		// An ExportLogsServiceResponse without partial_success: all of it is saved.
		if speaksProtobuf(ctx) {
			ctx.SetContentType(protobuf)
			return
		}
		ctx.SetContentType(jsonType)
		ctx.SetBodyString("{}")
	})
}

// otherSignal answers for traces and metrics, which are not events.
func otherSignal(_ *Server, ctx *fasthttp.RequestCtx) {
	problem(ctx, fasthttp.StatusNotFound, "not_found", "only logs are stored here: /v1/logs")
}

// The codes of google.rpc.Code that an HTTP status comes to.
const (
	rpcInvalid         = 3
	rpcNotFound        = 5
	rpcDenied          = 7
	rpcExhausted       = 8
	rpcUnimplemented   = 12
	rpcUnavailable     = 14
	rpcUnauthenticated = 16
)

var rpcCodes = map[int]uint64{
	fasthttp.StatusUnauthorized: rpcUnauthenticated, fasthttp.StatusForbidden: rpcDenied, fasthttp.StatusNotFound: rpcNotFound, fasthttp.StatusMethodNotAllowed: rpcUnimplemented,
	fasthttp.StatusRequestEntityTooLarge: rpcExhausted, fasthttp.StatusServiceUnavailable: rpcUnavailable,
}

// otlpProblem writes a google.rpc.Status in the request's own form.
func otlpProblem(ctx *fasthttp.RequestCtx, status int, code, detail string) {
	rpc, ok := rpcCodes[status]
	if !ok {
		rpc = rpcInvalid
	}
	text := code + ": " + detail
	if speaksProtobuf(ctx) {
		b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), rpc)
		ctx.SetContentType(protobuf)
		ctx.SetBody(protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), text))
		return
	}
	b, _ := json.Marshal(struct { // a number and a string: it cannot fail
		Code    uint64 `json:"code"`
		Message string `json:"message"`
	}{rpc, text})
	ctx.SetContentType(jsonType)
	ctx.SetBody(b)
}
