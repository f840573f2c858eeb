package api

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

const (
	// DefaultMaxStreams is how many streams may be open unless Config says otherwise.
	DefaultMaxStreams = 64
	// streamPoll is how long a stream rests after a page, so that many small commits are sent
	// together.
	streamPoll = 50 * time.Millisecond
	// streamKeep is how often a quiet stream is written to. A reader that has gone refuses what is
	// written first, and shows at the next: its place is free after twice that.
	streamKeep = 5 * time.Second
	// streamRetry is when a browser connects anew.
	streamRetry = time.Second
	lastEventID = "Last-Event-ID"
)

// stream sends committed events as they come, as server-sent events: those after Last-Event-ID,
// which a browser sends when it connects anew, else after the parameter, else from since on, else
// from now on.
func (a *Server) stream(ctx *fasthttp.RequestCtx) {
	page, err := a.streamPage(ctx)
	if err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
		return
	}
	page, ok := a.readFrom(ctx, page)
	if !ok {
		return
	}
	ctx.SetContentType("text/event-stream")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.Response.Header.Set("X-Accel-Buffering", "no") // or nginx keeps events back
	if ctx.IsHead() {
		return
	}
	if int(a.streams.Add(1)) > a.cfg.MaxStreams {
		a.streams.Add(-1)
		problem(ctx, fasthttp.StatusServiceUnavailable, "busy", fmt.Sprintf("%d streams are open, that is the most", a.cfg.MaxStreams))
		return
	}
	conn, revoked := ctx.Conn(), revoked(ctx)
	a.streamed(ctx, func() { a.streams.Add(-1) }, func(w *bufio.Writer) {
		f := &follower{server: a, w: w, page: page, conn: conn, watch: a.pipeline.Watch(page.Topic), revoked: revoked}
		defer f.watch.Stop()
		f.run()
	})
}

// streamPage is where a stream begins.
func (a *Server) streamPage(ctx *fasthttp.RequestCtx) (store.Page, error) {
	values, err := query(ctx, "topic", "after", "since")
	if err != nil {
		return store.Page{}, err
	}
	page, err := parsePage(values, false)
	if err != nil {
		return page, err
	}
	page.Limit = pageEvents
	if a.node != nil {
		page.Epoch, _ = a.node.Position()
	}
	if _, given := values["after"]; !given && page.Since == "" {
		page.After = a.pipeline.Counters().LastSeq
	}
	if id := string(ctx.Request.Header.Peek(lastEventID)); id != "" {
		if page.After, err = parseSeq(id); err != nil {
			return page, fmt.Errorf("%s: %w", lastEventID, err)
		}
	}
	return page, nil
}

// follower writes one stream.
type follower struct {
	server  *Server
	w       *bufio.Writer
	page    store.Page // the next; After is what the reader has seen
	conn    net.Conn
	watch   *pipeline.Watch
	revoked <-chan struct{}
}

// run writes events until the client goes, its token is revoked, or the server stops.
func (f *follower) run() {
	if f.write("retry: "+strconv.FormatInt(streamRetry.Milliseconds(), 10)+"\n") != nil || f.keep() != nil {
		return
	}
	keep := time.NewTicker(streamKeep)
	defer keep.Stop()
	for {
		again, err := f.send()
		if err != nil {
			return
		}
		var rest <-chan time.Time
		if again {
			rest = time.After(streamPoll)
		}
		if !f.wait(rest, keep.C) {
			return
		}
	}
}

// send writes what is new, and reports whether to look again soon: there was something, or no room
// for it.
func (f *follower) send() (again bool, err error) {
	seen := f.server.pipeline.Counters().LastSeq
	if seen <= f.page.After {
		return false, nil
	}
	p, err := f.server.page(f.page, store.SSE)
	if errors.Is(err, errBusy) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer p.release()
	f.page.After = p.last
	if !p.full {
		f.page.After = max(p.last, seen) // the rest up to there are other topics'
	}
	if p.events == 0 {
		return false, nil
	}
	if err := p.writeTo(f.w); err != nil {
		return false, err
	}
	return true, f.flush()
}

// wait waits for new events, or for a rest to end, and meanwhile keeps the connection alive. It
// reports false at the end.
func (f *follower) wait(rest, keep <-chan time.Time) bool {
	ready := f.watch.C
	if rest != nil {
		ready = nil
	}
	for {
		select {
		case <-ready:
			return true
		case <-rest:
			return true
		case <-keep:
			if f.keep() != nil {
				return false
			}
		case <-f.server.closing:
			return false
		case <-f.revoked:
			return false
		}
	}
}

// keep tells the reader how far it is. It has no data, so that a browser keeps the id and shows no
// event; a reader to whom nothing was sent yet goes on from there all the same when it connects
// anew.
func (f *follower) keep() error {
	if c, ok := f.conn.(*connection); ok && c.writing.Load() != nil {
		return nil // what was written before is not read: its time goes on
	}
	if err := f.write(string(append(f.page.AppendID(nil, f.page.After), '\n'))); err != nil {
		return err
	}
	return f.flush()
}

func (f *follower) write(text string) error {
	_, err := f.w.WriteString(text)
	return err
}

func (f *follower) flush() error {
	if err := f.server.extend(f.conn)(); err != nil {
		return err
	}
	return f.w.Flush()
}
