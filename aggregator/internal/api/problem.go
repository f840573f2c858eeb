package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/pipeline"
)

func (a *Server) bodyTooLarge(ctx *fasthttp.RequestCtx) {
	problem(ctx, fasthttp.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("a body has %d bytes at most, decompressed too", a.cfg.MaxBodyBytes))
}

// problemWriter writes an error's body in the form of an endpoint's own protocol.
type problemWriter func(ctx *fasthttp.RequestCtx, status int, code, detail string)

// problemKey is under which a request keeps its route's problemWriter.
type problemKey struct{}

// problem answers with a code that programs can rely on: as RFC 9457, unless the route has a form
// of its own.
func problem(ctx *fasthttp.RequestCtx, status int, code, detail string) {
	ctx.Response.ResetBody()
	ctx.SetStatusCode(status)
	ctx.SetUserValue(codeKey{}, code)
	ctx.SetUserValue(detailKey{}, detail)
	if status == fasthttp.StatusServiceUnavailable {
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	if write, ok := ctx.UserValue(problemKey{}).(problemWriter); ok {
		write(ctx, status, code, detail)
		return
	}
	ctx.SetContentType("application/problem+json")
	ctx.SetBody(problemBody(status, code, detail))
}

func problemBody(status int, code, detail string) []byte {
	body, _ := json.Marshal(struct { // strings and an int: it cannot fail
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{fasthttp.StatusMessage(status), status, code, detail})
	return body
}

// refuse answers a request that the pipeline did not take.
func refuse(ctx *fasthttp.RequestCtx, err error) {
	code := "internal"
	status := fasthttp.StatusServiceUnavailable
	switch {
	case errors.Is(err, pipeline.ErrTooLarge):
		status, code = fasthttp.StatusRequestEntityTooLarge, "too_large"
	case errors.Is(err, errBusy), errors.Is(err, errWaiting):
		code = "busy"
	case errors.Is(err, pipeline.ErrQueueFull):
		code = "queue_full"
	case errors.Is(err, pipeline.ErrBacklogFull):
		code = "backlog_full"
	case errors.Is(err, pipeline.ErrDiskFull):
		code = "disk_full"
	case errors.Is(err, pipeline.ErrLocked):
		code = "database_locked"
	case errors.Is(err, pipeline.ErrShuttingDown):
		code = "shutting_down"
	case errors.Is(err, pipeline.ErrNoQuorum):
		code = "no_quorum"
	case errors.Is(err, cluster.ErrHalted):
		code = "halted"
	case errors.Is(err, cluster.ErrUnproven):
		code = "log_not_synced"
	case errors.Is(err, cluster.ErrFull):
		code = "log_full"
	case errors.Is(err, cluster.ErrLagging):
		code = "lagging"
	case errors.Is(err, cluster.ErrStarting):
		code = "starting"
	case errors.Is(err, pipeline.ErrDiskFailing):
		code = "disk_failing"
	default:
		status = fasthttp.StatusInternalServerError
	}
	problem(ctx, status, code, err.Error())
}
