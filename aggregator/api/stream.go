package api

import (
	"bufio"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/store"
)

const (
	maxStreams  = 64
	streamPoll  = 50 * time.Millisecond // how late a stream may see a commit
	streamKeep  = 15 * time.Second      // a comment line, so that a dead client shows
	lastEventID = "Last-Event-ID"
)

// stream sends committed events as they come, as server-sent events: from the one
// after Last-Event-ID, or from now on.
func (a *Server) stream(ctx *fasthttp.RequestCtx) {
	values, err := query(ctx, "topic")
	page := store.Page{Topic: values["topic"], After: a.pipeline.Counters().LastSeq, Limit: pageEvents}
	if id := string(ctx.Request.Header.Peek(lastEventID)); id != "" && err == nil {
		if page.After, err = strconv.ParseInt(id, 10, 64); err != nil || page.After < 0 {
			err = fmt.Errorf("%s: %.40q, want a seq", lastEventID, id)
		}
	}
	if err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
		return
	}
	if a.streams.Add(1) > maxStreams {
		a.streams.Add(-1)
		problem(ctx, fasthttp.StatusServiceUnavailable, "busy", fmt.Sprintf("%d streams are open, that is the most", maxStreams))
		return
	}
	ctx.SetContentType("text/event-stream")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	conn := ctx.Conn()
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		defer a.streams.Add(-1)
		defer a.cutOff(conn)
		a.follow(w, page, func() error { return conn.SetWriteDeadline(time.Now().Add(writeTimeout)) })
	})
}

// follow writes events after page.After until the client goes or the server stops.
func (a *Server) follow(w *bufio.Writer, page store.Page, extend func() error) {
	poll := time.NewTicker(streamPoll)
	defer poll.Stop()
	written := time.Now()
	if _, err := w.WriteString(": stream\n\n"); err != nil || w.Flush() != nil {
		return
	}
	var body []byte
	for {
		var n int
		if a.pipeline.Counters().LastSeq > page.After {
			var last int64
			var err error
			if body, last, n, err = a.page(body[:0], page, store.SSE); err != nil {
				return
			}
			page.After = last
		}
		if n == 0 && time.Since(written) > streamKeep {
			body, n = append(body[:0], ": keep\n\n"...), 1
		}
		if n > 0 {
			written = time.Now()
			if _, err := w.Write(body); err != nil || extend() != nil || w.Flush() != nil {
				return
			}
			continue
		}
		select {
		case <-poll.C:
		case <-a.closing:
			return
		}
	}
}
