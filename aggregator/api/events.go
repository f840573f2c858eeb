package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/store"
)

const (
	defaultLimit = 100
	maxLimit     = 10_000
	// pageEvents is what an export reads in one query: short, so that no reader holds
	// the WAL back for long.
	pageEvents = 1000
	// readBudget bounds one page, waiting for a connection included.
	readBudget = 10 * time.Second

	ndjson = "application/x-ndjson"
)

// events answers one page as JSON, or all of them as NDJSON.
func (a *Server) events(ctx *fasthttp.RequestCtx) {
	values, err := query(ctx, "topic", "after", "limit")
	export := accepts(ctx, ndjson)
	var page store.Page
	if err == nil {
		page, err = parsePage(values, export)
	}
	if err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
		return
	}
	if export {
		a.export(ctx, page)
		return
	}
	body, last, n, err := a.page(append(make([]byte, 0, 64<<10), `{"events":[`...), page, store.JSON)
	if err != nil {
		a.unreadable(ctx, err)
		return
	}
	next := "null"
	if n == page.Limit {
		next = strconv.FormatInt(last, 10)
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(append(body, `],"next_after":`+next+"}"...))
}

func (a *Server) page(dst []byte, page store.Page, format store.Format) (body []byte, last int64, n int, err error) {
	c, cancel := context.WithTimeout(context.Background(), readBudget)
	defer cancel()
	return a.store.Events(c, dst, page, format)
}

// unreadable answers a read that the store refused or that found no free connection.
func (a *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	a.log.Warn("read failed", "path", string(ctx.Path()), "error", err)
	code := "disk_failing"
	if errors.Is(err, context.DeadlineExceeded) {
		code = "busy"
	}
	problem(ctx, fasthttp.StatusServiceUnavailable, code, "the events could not be read now")
}

// parsePage checks topic, after and limit. An export has no limit unless one is given.
func parsePage(values map[string]string, export bool) (store.Page, error) {
	page := store.Page{Topic: values["topic"], Limit: defaultLimit}
	if _, ok := values["topic"]; ok && page.Topic == "" {
		return page, errors.New("topic is empty")
	}
	var err error
	if v, ok := values["after"]; ok {
		if page.After, err = strconv.ParseInt(v, 10, 64); err != nil || page.After < 0 {
			return page, fmt.Errorf("after=%.40q, want a seq", v)
		}
	}
	if export {
		page.Limit = 0
	}
	if v, ok := values["limit"]; ok {
		if page.Limit, err = strconv.Atoi(v); err != nil || page.Limit < 1 || page.Limit > maxLimit && !export {
			return page, fmt.Errorf("limit=%.40q, want 1 to %d", v, maxLimit)
		}
	}
	return page, nil
}

// accepts reports whether the client names a media type in Accept.
func accepts(ctx *fasthttp.RequestCtx, kind string) bool {
	for _, part := range strings.Split(string(ctx.Request.Header.Peek("Accept")), ",") {
		if t, _, err := mime.ParseMediaType(part); err == nil && t == kind {
			return true
		}
	}
	return false
}

// export streams page after page, each a short read of its own.
func (a *Server) export(ctx *fasthttp.RequestCtx, page store.Page) {
	ctx.SetContentType(ndjson)
	if ctx.IsHead() {
		return
	}
	conn, left := ctx.Conn(), page.Limit
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		defer a.cutOff(conn)
		var body []byte
		for {
			page.Limit = pageEvents
			if left > 0 {
				page.Limit = min(left, pageEvents)
			}
			var n int
			var err error
			body, page.After, n, err = a.page(body[:0], page, store.NDJSON)
			if err != nil {
				// The status is sent: a connection cut short is the only way to tell.
				a.log.Warn("export cut off", "error", err)
				conn.Close()
				return
			}
			_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails only with the connection
			if _, err := w.Write(body); err != nil {
				return
			}
			if left > 0 {
				left -= n
			}
			if n < page.Limit || page.Limit < pageEvents {
				return
			}
			if w.Flush() != nil {
				return
			}
		}
	})
}
