package api

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"
)

const (
	// bodiesBytes bounds the request bodies in memory, from their headers until they are decoded: the
	// announced lengths of those that are arriving, what has arrived of those that announce none, and
	// what they decompress to. It is eight of the largest at the default -max-body-bytes, or one of
	// 256 KiB, which is 900 usual events, for each connection.
	bodiesBytes = 128 << 20
	// bodyFirst is the first buffer of a body of unknown length, and bodyGrowth how much larger each
	// next one is.
	bodyFirst  = 64 << 10
	bodyGrowth = 4
	// bodyKept is the largest buffer that is kept for the next body.
	bodyKept = 256 << 10
)

var (
	errEncoding = errors.New("unknown encoding")
	errWaiting  = errors.New("as many requests as may wait to be stored")
	errBusy     = errors.New("the bytes of all requests together are at their bound")
)

var bodyBuffers sync.Pool // of *[]byte, bodyFirst to bodyKept

// body is bytes that are counted in a budget until release.
type body struct {
	data   []byte
	counts *budget
	kept   *[]byte // of bodyBuffers, or nil
}

// readBody reads r to its end, of which announced (-1: unknown) bytes are expected: errBusy beyond
// the budget, fasthttp.ErrBodyTooLarge beyond limit.
func readBody(r io.Reader, announced, limit int, counts *budget) (*body, error) {
	if announced > limit {
		return nil, fasthttp.ErrBodyTooLarge
	}
	b := &body{counts: counts}
	whole := false
	defer func() {
		if !whole { // an error, or a panic of r
			b.release()
		}
	}()
	// One byte more than is expected shows the end, or that it is not.
	size := announced + 1
	if announced < 0 {
		size = bodyFirst
	}
	for {
		if len(b.data) == cap(b.data) {
			if !b.grow(min(max(size, bodyGrowth*cap(b.data)), limit+1)) {
				return nil, errBusy
			}
		}
		n, err := r.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		switch {
		case len(b.data) > limit:
			return nil, fasthttp.ErrBodyTooLarge
		case err == io.EOF:
			whole = true
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}

// grow moves the bytes into a larger buffer and reports whether the budget had room for it.
func (b *body) grow(size int) bool {
	next := body{counts: b.counts}
	if size <= bodyKept {
		if kept, ok := bodyBuffers.Get().(*[]byte); ok && cap(*kept) >= size {
			next.data, next.kept = (*kept)[:0], kept
		}
	}
	if cap(next.data) == 0 {
		next.data = make([]byte, 0, max(size, bodyFirst))
	}
	if !b.counts.take(cap(next.data)) {
		return false
	}
	next.data = append(next.data, b.data...)
	b.release()
	*b = next
	return true
}

// release gives the bytes back; b is empty after it.
func (b *body) release() {
	b.counts.put(cap(b.data))
	if n := cap(b.data); n > 0 && n <= bodyKept {
		if b.kept == nil {
			b.kept = new([]byte)
		}
		*b.kept = b.data[:0]
		bodyBuffers.Put(b.kept)
	}
	b.data, b.kept = nil, nil
}

// grow takes room among all bodies for n bytes that are made of a body, beside its own.
func (h *held) grow(n int) error {
	if !h.resize(min(n, bodiesBytes/2)) { // one alone must find room
		return errBusy
	}
	return nil
}

// decompressing bounds how many bodies are decompressed at a time, each of which holds up to
// zstdWindow beside its bytes: it is work for a processor, and more at a time than there are
// processors would end no sooner.
var decompressing = make(chan struct{}, runtime.GOMAXPROCS(0))

// zstdWindow is what a zstd decoder may hold beside the body, so that a few bytes cannot ask for
// more.
const zstdWindow = 8 << 20

var (
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
	zstdReaders = sync.Pool{New: func() any {
		r, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow)) // fails only for bad options
		return r
	}}
)

// decompress returns what a body decompresses to, with readBody's errors.
func decompress(encoding string, compressed []byte, limit int, counts *budget) (*body, error) {
	decompressing <- struct{}{}
	defer func() { <-decompressing }()
	switch encoding {
	case "gzip":
		z := gzipReaders.Get().(*gzip.Reader)
		defer gzipReaders.Put(z)
		if err := z.Reset(bytes.NewReader(compressed)); err != nil {
			return nil, err
		}
		return readBody(z, -1, limit, counts)
	case "zstd":
		z := zstdReaders.Get().(*zstd.Decoder)
		defer func() {
			_ = z.Reset(nil) // forget the body
			zstdReaders.Put(z)
		}()
		if err := z.Reset(bytes.NewReader(compressed)); err != nil {
			return nil, err
		}
		return readBody(z, -1, limit, counts)
	}
	return nil, errEncoding
}

// receive reads a request's body as its headers say, decompressed, or answers why not.
func (a *Server) receive(ctx *fasthttp.RequestCtx) (*body, bool) {
	announced := max(ctx.Request.Header.ContentLength(), -1) // -2: no body and no length
	if ctx.Request.Header.ContentLength() == -2 {
		announced = 0
	}
	receiveBody(ctx.Conn())
	b, err := readBody(bodyStream(ctx), announced, a.cfg.MaxBodyBytes, &a.bodies)
	serve(ctx.Conn())
	if err == nil && announced > len(b.data) {
		b.release()
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		a.unreceived(ctx, err)
		return nil, false
	}
	encoding := strings.TrimPrefix(strings.ToLower(string(ctx.Request.Header.ContentEncoding())), "x-") // x-gzip is gzip
	if encoding == "" || encoding == "identity" {
		return b, true
	}
	defer b.release()
	plain, err := decompress(encoding, b.data, a.cfg.MaxBodyBytes, &a.bodies)
	switch {
	case err == nil:
		return plain, true
	case errors.Is(err, errEncoding):
		ctx.Response.Header.Set("Accept-Encoding", "gzip, zstd")
		problem(ctx, fasthttp.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Encoding must be gzip or zstd")
	case errors.Is(err, errBusy), errors.Is(err, fasthttp.ErrBodyTooLarge):
		a.unreceived(ctx, err)
	default:
		problem(ctx, fasthttp.StatusBadRequest, "malformed", "the body is not "+encoding+": "+err.Error())
	}
	return nil, false
}

// unreceived answers a request whose body was not read to its end. What is still to come of it is
// not waited for. If there was no room for it, the body that has been on its way longest makes some
// for the next.
func (a *Server) unreceived(ctx *fasthttp.RequestCtx, err error) {
	if errors.Is(err, errBusy) {
		a.conns.evictBody()
		problem(ctx, fasthttp.StatusServiceUnavailable, "busy", err.Error())
		ctx.SetConnectionClose()
		return
	}
	a.badRequest(ctx, err)
}
