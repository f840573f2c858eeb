package api

import (
	"bufio"
	"errors"
	"fmt"
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
	var page store.Page
	if err == nil {
		page, err = parsePage(values, false)
	}
	page.After, page.Limit = a.pipeline.Counters().LastSeq, pageEvents
	if id := string(ctx.Request.Header.Peek(lastEventID)); id != "" && err == nil {
		if page.After, err = parseSeq(id); err != nil {
			err = fmt.Errorf("%s: %w", lastEventID, err)
		}
	}
	if err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
		return
	}
	ctx.SetContentType("text/event-stream")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	if ctx.IsHead() {
		return
	}
	if a.streams.Add(1) > maxStreams {
		a.streams.Add(-1)
		problem(ctx, fasthttp.StatusServiceUnavailable, "busy", fmt.Sprintf("%d streams are open, that is the most", maxStreams))
		return
	}
	conn := ctx.Conn()
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		defer a.streams.Add(-1)
		defer a.cutOff(conn)
		a.follow(w, page, func() error { return conn.SetWriteDeadline(time.Now().Add(a.http.WriteTimeout)) })
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
	for {
		wrote := false
		if a.pipeline.Counters().LastSeq > page.After {
			switch p, err := a.page(page, store.SSE); {
			case err == nil:
				page.After, wrote = p.last, p.events > 0
				err = p.writeTo(w)
				p.release()
				if err != nil {
					return
				}
			case !errors.Is(err, errBusy): // then the next poll may find room
				return
			}
		}
		if !wrote && time.Since(written) > streamKeep {
			wrote = true
			if _, err := w.WriteString(": keep\n\n"); err != nil {
				return
			}
		}
		if wrote {
			written = time.Now()
			if extend() != nil || w.Flush() != nil {
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
