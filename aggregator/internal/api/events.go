package api

import (
	"bufio"
	"context"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/store"
)

const (
	defaultLimit = 100
	maxLimit     = 10_000
	// pageEvents is what an export reads in one query, if it is not pageBytes: few, so that no reader
	// holds the WAL back for long, and many, so that few blocks are read for two pages.
	pageEvents = 4000
	// pageBytes ends a page with the event that takes it there: the largest is one event longer.
	pageBytes = 1 << 20
	// pagesBytes bounds the pages, and other large answers, that are on their way to clients: 64 pages
	// at least, or some four of the largest events. Beside them every connection to the store may be
	// reading one.
	pagesBytes = 128 << 20
	// answerBytesMost bounds the answer to one request: there must be room for it at all.
	answerBytesMost = pagesBytes / 2
	// pageKept is the largest buffer that is kept for the next page.
	pageKept = 2 * pageBytes
	// writtenBytes is what a stream gathers for one chunk; a larger page is a chunk of its own.
	writtenBytes = 16 << 10
	// roomPoll is how often the export whose turn it is looks for room.
	roomPoll = 5 * time.Millisecond
	// readBudget bounds one page, waiting for a connection included.
	readBudget = 10 * time.Second

	// While more than restQueue events wait to be committed, an export rests after each page for
	// restShare times as long as the page took, and restMost at most: publishers come before it.
	restQueue = 10_000
	restShare = 2
	restMost  = 100 * time.Millisecond
)

// rest is how long an export leaves the processors to others.
func rest(queue int64, took time.Duration) time.Duration {
	if queue <= restQueue {
		return 0
	}
	return min(restShare*took, restMost)
}

// events answers one page as JSON, or all of them as NDJSON.
func (a *Server) events(ctx *fasthttp.RequestCtx) {
	values, err := query(ctx, "topic", "after", "since", "until", "limit")
	kind, export := prefersNDJSON(ctx)
	var page store.Page
	if err == nil {
		page, err = parsePage(values, export)
	}
	if err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
		return
	}
	page, ok := a.readFrom(ctx, page)
	if !ok {
		return
	}
	if export {
		ctx.SetContentType(kind)
		a.export(ctx, page)
		return
	}
	p, err := a.page(page, store.JSON)
	if err != nil {
		a.unreadable(ctx, err)
		return
	}
	ctx.SetContentType("application/json")
	setInMemory(ctx, p.data, p.release)
}

// readFrom moves the page to where its time begins; not ok: it is answered why the reader does not
// get it.
func (a *Server) readFrom(ctx *fasthttp.RequestCtx, page store.Page) (_ store.Page, ok bool) {
	if !mayRead(ctx, page) || !a.checkCursor(ctx, page.After, a.lastSeq(page.After)) {
		return page, false
	}
	c, cancel := context.WithTimeout(context.Background(), readBudget)
	defer cancel()
	page, err := a.store.Skip(c, page)
	if err != nil {
		a.unreadable(ctx, err)
	}
	return page, err == nil
}

// unreadable answers a read that the store refused, or that found no free connection or no room for
// its page.
func (a *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	if !errors.Is(err, errBusy) { // a reader of what is damaged comes again and again
		if n := a.unread.take(1, time.Now()); n > 0 {
			a.log.Warn("reads failed; this is the latest", "requests", n, "path", string(ctx.Path()), "error", err)
		}
	}
	code, detail := "disk_failing", "the events could not be read now"
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errBusy):
		code = "busy"
	case errors.Is(err, store.ErrDamaged): // and stays so: its reader has to go on behind it
		detail = "the events could not be read: " + err.Error()
	}
	problem(ctx, fasthttp.StatusServiceUnavailable, code, detail)
}

// export streams page after page, each a short read of its own.
func (a *Server) export(ctx *fasthttp.RequestCtx, page store.Page) {
	if ctx.IsHead() {
		return
	}
	conn, revoked := ctx.Conn(), revoked(ctx)
	e := &exporter{server: a, page: page, left: page.Limit, extend: a.extend(conn)}
	a.streamed(ctx, func() {}, func(w *bufio.Writer) (whole bool) {
		for {
			began := time.Now()
			more, err := e.send(w)
			if err != nil && !errors.Is(err, errGone) {
				a.log.Warn("export cut off", "error", err)
			}
			if err != nil || !more {
				return err == nil
			}
			if w.Flush() != nil {
				return false
			}
			select {
			case <-revoked:
				return false
			case <-time.After(rest(a.pipeline.Counters().QueueDepth, time.Since(began))):
			}
		}
	})
}

// errGone says that the client takes nothing any more.
var errGone = errors.New("the client has gone")

// exporter writes one export.
type exporter struct {
	server *Server
	page   store.Page // the next
	left   int        // events that it is limited to; 0: it is not
	extend func() error
}

// send writes the next page and reports whether there may be another.
func (e *exporter) send(w *bufio.Writer) (more bool, err error) {
	e.page.Limit = pageEvents
	if e.left > 0 {
		e.page.Limit = min(e.left, pageEvents)
	}
	p, err := e.server.roomFor(e.page)
	if err != nil {
		return false, err
	}
	defer p.release()
	e.page.After = p.last
	if e.extend() != nil {
		return false, errGone
	}
	if _, err := w.Write(p.data); err != nil {
		return false, errGone
	}
	if e.left > 0 {
		if e.left -= p.events; e.left == 0 {
			return false, nil
		}
	}
	return p.full, nil
}

// roomFor reads a page as soon as there is room for it, within readBudget. Exports that wait have
// their turns in the order in which they came: who has just sent a page is behind those that had
// none, or it would take the room that it gave back.
func (a *Server) roomFor(of store.Page) (*page, error) {
	if a.exports.Load() == 0 {
		if p, err := a.page(of, store.NDJSON); !errors.Is(err, errBusy) {
			return p, err
		}
	}
	a.exports.Add(1)
	defer a.exports.Add(-1)
	end := time.NewTimer(readBudget)
	defer end.Stop()
	select {
	case a.turn <- struct{}{}: // which lets the first in that has come to it
		defer func() { <-a.turn }()
	case <-end.C:
		return nil, errBusy
	}
	for {
		p, err := a.page(of, store.NDJSON)
		if !errors.Is(err, errBusy) {
			return p, err
		}
		select {
		case <-time.After(roomPoll):
		case <-end.C:
			return nil, err
		}
	}
}
