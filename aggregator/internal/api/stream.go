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
	f := &follower{server: a, page: page, conn: ctx.Conn(), watch: a.pipeline.Watch(page.Topic), revoked: revoked(ctx)}
	handed := false
	defer func() {
		if !handed {
			f.close()
		}
	}()
	if f.next, f.through, err = f.read(); err != nil && !errors.Is(err, errBusy) {
		a.unreadable(ctx, err)
		return
	}
	f.isRead = err == nil
	handed = true
	a.streamed(ctx, f.close, func(w *bufio.Writer) (whole bool) {
		f.w = w
		return f.run()
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
	rested  time.Time // when the next page may be sent

	// The first page is read before the answer begins: what cannot be read is an error of the
	// request, and not a stream that ends at once, comes again, and says nothing.
	isRead  bool // next and through are what read returned, and not sent yet
	next    *page
	through int64
}

// close gives back what the stream holds.
func (f *follower) close() {
	f.watch.Stop()
	if f.next != nil {
		f.next.release()
	}
	f.server.streams.Add(-1)
}

// run writes events until the client goes, its token is revoked, or the server stops. It reports
// whether that is all that ended it: a page that cannot be read cuts the stream off. Else a stream
// has no end of its own, and its reader comes again.
func (f *follower) run() (whole bool) {
	if f.write("retry: "+strconv.FormatInt(streamRetry.Milliseconds(), 10)+"\n") != nil || f.keep() != nil {
		return true
	}
	keep := time.NewTicker(streamKeep)
	defer keep.Stop()
	for {
		sent, more, err := f.send()
		if errors.Is(err, errGone) {
			return true
		}
		if err != nil {
			if n := f.server.cuts.take(1, time.Now()); n > 0 {
				f.server.log.Warn("a stream was cut off, since its next page cannot be read; this is the latest",
					"streams", n, "after", f.page.After, "error", err)
			}
			return false
		}
		if sent || more {
			f.rested = time.Now().Add(streamPoll)
		}
		if sent {
			keep.Reset(streamKeep)
		}
		if !f.wait(more, keep.C) {
			return true
		}
	}
}

// read is the next page, and up to which seq nothing of the stream is behind it, unless it is full;
// nil: there is none.
func (f *follower) read() (p *page, through int64, err error) {
	if f.isRead {
		p, through = f.next, f.through
		f.isRead, f.next = false, nil
		return p, through, nil
	}
	events, through, ok := f.watch.Since(f.page.After)
	switch {
	case ok && len(events) == 0:
		return nil, through, nil
	case ok:
		p, err = f.server.recentPage(f.page, events, store.SSE)
		return p, through, err
	}
	if through = f.server.pipeline.Counters().LastSeq; through <= f.page.After {
		return nil, through, nil
	}
	p, err = f.server.page(f.page, store.SSE)
	return p, through, err
}

// send writes what is new. It reports whether it wrote anything, and whether there may be more that
// nobody will tell of: the page was full, or there was no room. errGone: the client has gone.
func (f *follower) send() (sent, more bool, err error) {
	p, through, err := f.read()
	switch {
	case errors.Is(err, errBusy):
		return false, true, nil
	case err != nil:
		return false, false, err
	case p == nil:
		f.page.After = max(f.page.After, through)
		return false, false, nil
	}
	defer p.release()
	f.page.After = p.last
	if !p.full {
		f.page.After = max(p.last, through) // the rest up to there are other topics'
	}
	if p.events == 0 {
		return false, p.full, nil
	}
	if f.server.extend(f.conn)() != nil {
		return false, false, errGone
	}
	if _, err := f.w.Write(p.data); err != nil || f.w.Flush() != nil {
		return false, false, errGone
	}
	return true, p.full, nil
}

// wait waits for new events, unless there are more already, and then until the stream has rested.
// Meanwhile it keeps the connection alive. It reports false at the end.
func (f *follower) wait(more bool, keep <-chan time.Time) bool {
	var rest <-chan time.Time // nil: there is nothing to rest for
	for {
		if more && rest == nil {
			left := time.Until(f.rested)
			if left <= 0 {
				return true
			}
			rest = time.After(left)
		}
		select {
		case <-f.watch.C:
			more = true
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
