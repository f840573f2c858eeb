package api

// This file works around fasthttp: how it is set up, and what it leaves to us.

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/internal/ingest"
)

// newHTTP returns fasthttp's server with our handlers and bounds.
func (a *Server) newHTTP() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                       a.handle,
		ErrorHandler:                  a.unreadRequest,
		HeaderReceived:                a.headers,
		ExpectHandler:                 a.expect,
		StreamRequestBody:             true,             // handlers read bodies, against the budget
		Concurrency:                   2 * a.conns.most, // connections bounds them; one that was closed may still be ending
		ReadBufferSize:                headerBytes,
		ReadTimeout:                   headerTimeout,
		WriteTimeout:                  writeTimeout,
		IdleTimeout:                   idleTimeout,
		MaxRequestBodySize:            a.cfg.MaxBodyBytes,
		CloseOnShutdown:               true,
		ConnState:                     track,
		NoDefaultServerHeader:         true,
		NoDefaultContentType:          true,
		DisablePreParseMultipartForm:  true,
		LazyRequestTime:               true, // nobody asks for it
		DisableHeaderNamesNormalizing: false,
		Logger:                        slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

// headers looks at a request before its body is read. To one that must be refused it adds the
// question that expect answers, for fasthttp would wait for the body's first bytes before it calls
// a handler.
func (a *Server) headers(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	n := h.ContentLength()
	if path, _, _ := bytes.Cut(h.RequestURI(), []byte{'?'}); string(path) == uploadPath {
		n = 0 // it takes room piece by piece
	}
	if n > a.cfg.MaxBodyBytes || !a.bodies.fits(n) || !knownVersion(h) || framing(h) != "" {
		h.Set(fasthttp.HeaderExpect, "100-continue")
	}
	return fasthttp.RequestConfig{ReadTimeout: a.bodyTimeout}
}

// bodyStream is the request's body. fasthttp has none, not even an empty one, for a request without
// a length.
func bodyStream(ctx *fasthttp.RequestCtx) io.Reader {
	if r := ctx.RequestBodyStream(); r != nil {
		return r
	}
	return http.NoBody
}

// expect answers a client that asks by Expect: 100-continue whether to send its body.
func (a *Server) expect(ctx *fasthttp.RequestCtx) (status int) {
	begun := time.Now()
	a.extendOwn(ctx)
	defer func() {
		if status != fasthttp.StatusContinue { // else handle counts the request
			a.observe(ctx, begun)
		}
	}()
	r, ok := a.route(ctx)
	if !ok {
		return ctx.Response.StatusCode()
	}
	switch n := ctx.Request.Header.ContentLength(); {
	case r.pieces && a.bodies.fits(ingest.UploadHeld):
		return fasthttp.StatusContinue
	case n > a.cfg.MaxBodyBytes:
		a.bodyTooLarge(ctx)
	case !a.bodies.fits(n):
		a.unreceived(ctx, errBusy)
	default:
		return fasthttp.StatusContinue
	}
	return ctx.Response.StatusCode()
}

// unreadRequest answers what never reaches a handler. fasthttp has forgotten the request, also
// where only its body is late, but the connection knows what it asked for.
func (a *Server) unreadRequest(ctx *fasthttp.RequestCtx, err error) {
	begun := time.Now()
	a.extendOwn(ctx)
	path := ""
	if own, ok := ctx.Conn().(*connection); ok && len(own.requestLine.target()) > 0 {
		ctx.Request.SetRequestURIBytes(own.requestLine.target())
		path = string(ctx.Path())
	}
	if r, ok := findRoute(path); ok {
		r.note(ctx)
	}
	a.badRequest(ctx, err)
	a.observeAt(ctx, path, begun)
}

// badRequest answers what fasthttp could not read as a request.
func (a *Server) badRequest(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small):
		problem(ctx, fasthttp.StatusRequestHeaderFieldsTooLarge, "too_large", fmt.Sprintf("request line and headers have %d bytes at most", headerBytes))
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		a.bodyTooLarge(ctx)
	case isLate(ctx.Conn(), err):
		status := fasthttp.StatusRequestTimeout
		if ctx.UserValue(senderKey{}) != nil { // some drop what is answered 408
			status = fasthttp.StatusServiceUnavailable
		}
		problem(ctx, status, "timeout", fmt.Sprintf("headers must arrive within %v, a body within %v", headerTimeout, readTimeout))
	default:
		problem(ctx, fasthttp.StatusBadRequest, "malformed", "not a well-formed HTTP request")
	}
	ctx.SetConnectionClose()
}

// isLate reports whether a request was not read because it did not come in time, which fasthttp
// does not say of the end of a chunk.
func isLate(conn net.Conn, err error) bool {
	own, ok := conn.(*connection)
	return isTimeout(err) || ok && own.late
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// requestLine finds a request line that ends in LF alone, which fasthttp takes and RawHeaders does
// not show. It puts a NUL in the place of the LF, and fasthttp refuses the line. A request that was
// pipelined behind another is not looked at.
type requestLine struct {
	at    lineState
	empty bool // nothing of the line has come but a CR
	last  byte
	text  []byte // what has come of the line, lineKept bytes at most
}

// lineKept is more than the line of a request for any path that is served.
const lineKept = 1 << 10

// keep takes a piece of the line into text.
func (l *requestLine) keep(piece []byte) {
	l.text = append(l.text, piece[:min(len(piece), lineKept-len(l.text))]...)
}

// target is what the request asks for; nil: it has not come, or it is too long.
func (l *requestLine) target() []byte {
	_, rest, _ := bytes.Cut(bytes.TrimLeft(l.text, "\r\n"), []byte{' '})
	target, _, whole := bytes.Cut(rest, []byte{' '})
	if !whole {
		return nil
	}
	return target
}

type lineState int

const (
	lineAwaited lineState = iota // the next that is read begins a request
	lineBegun
	lineEnded
)

// track says what the connection is at. A request that becomes active with nothing read was read
// before.
func (l *requestLine) track(state fasthttp.ConnState) {
	switch {
	case state == fasthttp.StateIdle:
		l.at, l.text = lineAwaited, l.text[:0]
	case state == fasthttp.StateActive && l.at == lineAwaited:
		l.at = lineEnded
	}
}

func (l *requestLine) look(b []byte) {
	if l.at == lineEnded || len(b) == 0 {
		return
	}
	if l.at == lineAwaited {
		l.at, l.empty, l.last = lineBegun, true, 0
	}
	for i, c := range b {
		if c == '\n' && !l.empty {
			if l.last != '\r' {
				b[i] = 0
			}
			l.at = lineEnded
			l.keep(b[:i])
			return
		}
		l.empty = l.empty && (c == '\r' || c == '\n')
		l.last = c
	}
	l.keep(b)
}

func knownVersion(h *fasthttp.RequestHeader) bool {
	version := string(h.Protocol())
	return version == "HTTP/1.1" || version == "HTTP/1.0"
}

// framing says what of a request's headers another reader of HTTP may understand differently than
// fasthttp does, which takes it all the same; "" if there is nothing. Behind a proxy such a
// difference lets one request pass for two.
func framing(h *fasthttp.RequestHeader) string {
	length, encoding, host := false, false, false
	for line := range bytes.Lines(h.RawHeaders()) {
		if bytes.HasSuffix(line, []byte{'\n'}) && !bytes.HasSuffix(line, []byte("\r\n")) {
			return "a line ends in LF alone"
		}
		if line[0] == ' ' || line[0] == '\t' {
			return "a header goes on in another line"
		}
		switch at := bytes.IndexByte(line, ':'); {
		case isHeader(line, at, fasthttp.HeaderContentLength):
			length = true
		case isHeader(line, at, fasthttp.HeaderTransferEncoding):
			encoding = true
		case isHeader(line, at, fasthttp.HeaderHost):
			host = true
		}
	}
	switch {
	case length && encoding:
		return "it has both Content-Length and Transfer-Encoding"
	case !host && h.IsHTTP11():
		return "it has no Host"
	}
	return ""
}

// isHeader reports that a line, whose colon is at a place, is of the header.
func isHeader(line []byte, colon int, name string) bool {
	return colon == len(name) && strings.EqualFold(string(line[:colon]), name)
}

// extend gives what is written next the time for an answer to leave.
func (a *Server) extend(conn net.Conn) func() error {
	return func() error { return conn.SetWriteDeadline(time.Now().Add(a.http.WriteTimeout)) }
}

// extendOwn is for what fasthttp writes without a handler: it has the time of the connection's
// answer before, which may be over.
func (a *Server) extendOwn(ctx *fasthttp.RequestCtx) {
	_ = a.extend(ctx.Conn())() // fails only with the connection
}

// streamed answers with what write writes, and then calls release. write reports whether that is
// the whole answer; one that is not is cut off. HTTP/1.0 knows no chunks, where fasthttp has no
// other way: it is written here, until the connection ends. It is the connection's last answer; one
// to a request before it that is not sent by then is lost, but nobody pipelines HTTP/1.0.
func (a *Server) streamed(ctx *fasthttp.RequestCtx, release func(), write func(w *bufio.Writer) (whole bool)) {
	conn := ctx.Conn()
	body := &streamedBody{release: release, write: func(w *bufio.Writer) (whole bool) {
		defer a.cutOff(conn, &whole)
		return write(w)
	}}
	if ctx.Request.Header.IsHTTP11() {
		ctx.SetBodyStream(body, -1)
		return
	}
	defer body.Close()
	defer conn.Close()
	// The end of the connection is that of the body, so until that is written any other end is a
	// reset: that of a process that is killed, too. To a proxy that speaks HTTP/1.0, as nginx does
	// unless told otherwise, a part would be the whole.
	tcp := tcpOf(conn)
	if tcp != nil {
		_ = tcp.SetLinger(0) // fails only with the connection
	}
	w := bufio.NewWriterSize(conn, writtenBytes)
	fmt.Fprintf(w, "%s 200 OK\r\nConnection: close\r\n", ctx.Request.Header.Protocol())
	for key, value := range ctx.Response.Header.All() {
		if name := string(key); name != fasthttp.HeaderContentLength && name != fasthttp.HeaderConnection {
			fmt.Fprintf(w, "%s: %s\r\n", name, value)
		}
	}
	_, _ = w.WriteString("\r\n") // the writer keeps its error
	_ = a.extend(conn)()         // fails only with the connection
	if body.write(w) && w.Flush() == nil && tcp != nil {
		_ = tcp.SetLinger(-1)
	}
}

// streamedBody is written piece by piece as it is made, by the goroutine of its connection: a pipe
// to it, which is fasthttp's own way, copies all of it and cuts it into pieces of 4 KB. fasthttp
// closes it when it is written, or is not to be.
type streamedBody struct {
	write   func(w *bufio.Writer) (whole bool)
	release func() // nil: it was called
}

// SupportsBodyWriteTo says that WriteTo takes the place of Read.
func (*streamedBody) SupportsBodyWriteTo() bool { return true }

func (*streamedBody) Read([]byte) (int, error) {
	return 0, errors.New("a streamed answer is written, not read")
}

var errCutOff = errors.New("the answer was cut off")

// WriteTo writes all of it.
func (b *streamedBody) WriteTo(to io.Writer) (int64, error) {
	w := bufio.NewWriterSize(to, writtenBytes)
	if !b.write(w) {
		return 0, errCutOff
	}
	return 0, w.Flush()
}

// Close releases what the answer held.
func (b *streamedBody) Close() error {
	if b.release != nil {
		b.release()
		b.release = nil
	}
	return nil
}

// cutOff ends the connection of a streamed answer that is not whole: its status is sent, and there
// is no other way to tell. One that panicked is not: its writer runs behind the handler, where
// handle's recover does not reach.
func (a *Server) cutOff(conn net.Conn, whole *bool) {
	if r := recover(); r != nil {
		a.log.Error("panic in a stream", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		*whole = false
	}
	if *whole {
		return
	}
	if tcp := tcpOf(conn); tcp != nil {
		tcp.Close() // before TLS could say goodbye, as to one who has got all
	}
	conn.Close()
}

// tcpOf is the connection under all that is laid over it; nil: it is another, as in a test.
func tcpOf(conn net.Conn) *net.TCPConn {
	for {
		switch c := conn.(type) {
		case *connection:
			conn = c.Conn
		case *tls.Conn:
			conn = c.NetConn()
		case *deadlineConn:
			conn = c.Conn
		case *net.TCPConn:
			return c
		default:
			return nil
		}
	}
}

// recovered answers a request whose handler panicked. What it took its own defers have given back;
// what is left of its body is not looked for.
func (a *Server) recovered(ctx *fasthttp.RequestCtx) {
	if r := recover(); r != nil {
		a.log.Error("panic in a handler", "path", string(ctx.Path()), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		serve(ctx.Conn())
		problem(ctx, fasthttp.StatusInternalServerError, "internal", "this is a bug; the log has its trace")
		ctx.SetConnectionClose()
	}
}
