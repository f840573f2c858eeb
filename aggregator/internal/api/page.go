package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strconv"
	"sync"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

var pageBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 64<<10)
	return &b
}} // up to pageKept

// page is a piece of the stored events, counted until it is released.
type page struct {
	data   []byte
	last   int64 // seq
	events int
	full   bool // there may be more
	counts *budget
}

// pageHead is what a page begins with in JSON.
const pageHead = `{"events":[`

// page reads one, in JSON with what is around the events: errBusy if other readers have not yet
// taken theirs.
func (a *Server) page(of store.Page, format store.Format) (*page, error) {
	c, cancel := context.WithTimeout(context.Background(), readBudget)
	defer cancel()
	if !a.pages.fits(pageBytes) {
		return nil, a.noRoom() // without having the store read for nothing
	}
	of.Bytes = pageBytes
	data := *pageBuffers.Get().(*[]byte)
	if format == store.JSON {
		data = append(data, pageHead...)
	}
	head := len(data)
	data, last, n, err := a.store.Events(c, data, of, format)
	if err != nil {
		return nil, err
	}
	full := of.Full(n, len(data)-head)
	switch {
	case format == store.JSON && full:
		data = append(strconv.AppendInt(append(data, `],"next_after":`...), last, 10), '}')
	case format == store.JSON:
		data = append(data, `],"next_after":null}`...)
	}
	return a.counted(data, last, n, full)
}

// recentPage is page, of events that are in memory.
func (a *Server) recentPage(of store.Page, events [][]pipeline.Committed, format store.Format) (*page, error) {
	if !a.pages.fits(pageBytes) {
		return nil, a.noRoom()
	}
	of.Bytes = pageBytes
	data, last, n := *pageBuffers.Get().(*[]byte), of.After, 0
	for _, piece := range events {
		for i := range piece {
			if of.Full(n, len(data)) {
				break
			}
			if e := &piece[i]; e.Seq > of.After && e.ReceivedAt >= of.Since {
				data, last = of.AppendEvent(data, e.Seq, e.Row, format, n == 0), e.Seq
				n++
			}
		}
	}
	return a.counted(data, last, n, of.Full(n, len(data)))
}

// counted is what was read of a page, if there is room for it.
func (a *Server) counted(data []byte, last int64, n int, full bool) (*page, error) {
	if !a.pages.take(cap(data)) {
		return nil, a.noRoom()
	}
	return &page{data, last, n, full, &a.pages}, nil
}

// noRoom is errBusy, of the pages' budget. The answer that has not been read for longest makes room
// for the next.
func (a *Server) noRoom() error {
	a.conns.evictUnread()
	return errBusy
}

// release gives the page's bytes back; it is empty after that.
func (p *page) release() {
	p.counts.put(cap(p.data))
	if n := cap(p.data); n > 0 && n <= pageKept {
		kept := p.data[:0]
		pageBuffers.Put(&kept)
	}
	p.data = nil
}

// answered is a counted body of an answer, which fasthttp closes when it is written or its client
// is gone.
type answered struct {
	io.Reader
	release func()
}

func (a *answered) Close() error {
	a.release()
	return nil
}

// inMemory is one that is at hand. fasthttp would copy it to the kernel in pieces of 4 KB, each of
// which wakes the client.
type inMemory struct {
	answered
	data []byte
}

// WriteTo takes the place of Read.
func (m *inMemory) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m.data) // the connection cuts it into pieces
	return int64(n), err
}

// setInMemory answers with data, and then calls release.
func setInMemory(ctx *fasthttp.RequestCtx, data []byte, release func()) {
	ctx.SetBodyStream(&inMemory{answered{bytes.NewReader(data), release}, data}, len(data))
}

// uncountedBytes is how large an answer may be that is not counted: as large as the headers that
// every connection has room for.
const uncountedBytes = headerBytes

// counted is n, or 0 of an answer that is not counted.
func counted(n int) int {
	if n <= uncountedBytes {
		return 0
	}
	return n
}

// answer sends v as JSON. A large answer is counted among the pages until it is sent: in room, of
// which the rest stays with the caller, or, if that is nil or holds nothing, anew.
func (a *Server) answer(ctx *fasthttp.RequestCtx, status int, v any, room *held) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // it makes six bytes of one
	if err := encoder.Encode(v); err != nil {
		problem(ctx, fasthttp.StatusInternalServerError, "internal", err.Error())
		return
	}
	a.send(ctx, status, bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), room)
}

// send sends JSON, as answer does.
func (a *Server) send(ctx *fasthttp.RequestCtx, status int, body []byte, room *held) {
	if len(body) <= uncountedBytes {
		ctx.SetStatusCode(status)
		ctx.SetContentType(jsonType)
		ctx.SetBody(body)
		return
	}
	if room == nil {
		room = &held{of: &a.pages}
	}
	if !room.resize(len(body)) {
		a.unreadable(ctx, a.noRoom())
		return
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType(jsonType)
	setInMemory(ctx, body, room.handOver().release)
}
