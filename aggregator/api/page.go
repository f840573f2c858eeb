package api

import (
	"context"
	"io"
	"slices"
	"sync"

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

// page reads one: errBusy if other readers have not yet taken theirs.
func (a *Server) page(of store.Page, format store.Format) (*page, error) {
	c, cancel := context.WithTimeout(context.Background(), readBudget)
	defer cancel()
	if !a.pages.fits(pageBytes) {
		return nil, errBusy // without having the store read for nothing
	}
	of.Bytes = pageBytes
	data, last, n, err := a.store.Events(c, *pageBuffers.Get().(*[]byte), of, format)
	if err != nil {
		return nil, err
	}
	if !a.pages.take(cap(data)) {
		return nil, errBusy
	}
	return &page{data, last, n, of.Full(n, len(data)), &a.pages}, nil
}

// writeTo writes the page in pieces: fasthttp copies what it is given on its way to the connection, and what waits there
// for a slow reader is in nobody's count.
func (p *page) writeTo(w io.Writer) error {
	for piece := range slices.Chunk(p.data, writtenBytes) {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
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

// answered is a page as the body of an answer, which fasthttp closes when it is written or its client is gone.
type answered struct {
	io.Reader
	page *page
}

func (a *answered) Close() error {
	a.page.release()
	return nil
}
