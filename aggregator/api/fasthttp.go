package api

// This file works around fasthttp: how it is set up, and what it leaves to us.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"
)

// newHTTP returns fasthttp's server with our handlers and bounds.
func (a *Server) newHTTP() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                       a.handle,
		ErrorHandler:                  a.badRequest,
		HeaderReceived:                a.headers,
		ExpectHandler:                 a.expect,
		StreamRequestBody:             true,               // handlers read bodies, against the budget
		Concurrency:                   2 * maxConnections, // connections bounds them; one that was closed may still be ending
		ReadBufferSize:                headerBytes,
		ReadTimeout:                   headerTimeout,
		WriteTimeout:                  writeTimeout,
		IdleTimeout:                   idleTimeout,
		MaxRequestBodySize:            a.cfg.MaxBodyBytes,
		CloseOnShutdown:               true,
		ConnState:                     a.conns.track,
		NoDefaultServerHeader:         true,
		NoDefaultContentType:          true,
		DisablePreParseMultipartForm:  true,
		DisableHeaderNamesNormalizing: false,
		Logger:                        slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

// headers looks at a request before its body is read. To one that must be refused it adds the question that expect
// answers, for fasthttp would wait for the body's first bytes before it calls a handler.
func (a *Server) headers(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if n := h.ContentLength(); n > a.cfg.MaxBodyBytes || !a.bodies.fits(n) {
		h.Set(fasthttp.HeaderExpect, "100-continue")
	}
	return fasthttp.RequestConfig{ReadTimeout: a.bodyTimeout}
}

// bodyStream is the request's body. fasthttp has none, not even an empty one, for a request without a length.
func bodyStream(ctx *fasthttp.RequestCtx) io.Reader {
	if r := ctx.RequestBodyStream(); r != nil {
		return r
	}
	return http.NoBody
}

// expect answers a client that asks by Expect: 100-continue whether to send its body.
func (a *Server) expect(ctx *fasthttp.RequestCtx) (status int) {
	if _, ok := a.route(ctx); !ok {
		return ctx.Response.StatusCode()
	}
	switch n := ctx.Request.Header.ContentLength(); {
	case n > a.cfg.MaxBodyBytes:
		a.bodyTooLarge(ctx)
	case !a.bodies.fits(n):
		a.unreceived(ctx, errBusy)
	default:
		return fasthttp.StatusContinue
	}
	return ctx.Response.StatusCode()
}

// badRequest answers what fasthttp could not read as a request.
func (a *Server) badRequest(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &small):
		problem(ctx, fasthttp.StatusRequestHeaderFieldsTooLarge, "too_large", fmt.Sprintf("request line and headers have %d bytes at most", headerBytes))
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		a.bodyTooLarge(ctx)
	case errors.As(err, &network) && network.Timeout():
		problem(ctx, fasthttp.StatusRequestTimeout, "timeout", fmt.Sprintf("headers must arrive within %v, a body within %v", headerTimeout, readTimeout))
	default:
		problem(ctx, fasthttp.StatusBadRequest, "malformed", "not a well-formed HTTP request")
	}
	ctx.SetConnectionClose()
}

// extend gives what is written next the time for an answer to leave.
func (a *Server) extend(conn net.Conn) func() error {
	return func() error { return conn.SetWriteDeadline(time.Now().Add(a.http.WriteTimeout)) }
}

// streamed answers with what write writes, and then calls release. HTTP/1.0 knows no chunks, where fasthttp has no other
// way: it is written here, until the connection ends. It is the connection's last answer; one to a request before it that is
// not sent by then is lost, but nobody pipelines HTTP/1.0.
func (a *Server) streamed(ctx *fasthttp.RequestCtx, release func(), write func(w *bufio.Writer)) {
	conn := ctx.Conn()
	run := func(w *bufio.Writer) {
		defer release()
		defer a.cutOff(conn)
		write(w)
	}
	if ctx.Request.Header.IsHTTP11() {
		ctx.SetBodyStreamWriter(run)
		return
	}
	defer conn.Close()
	w := bufio.NewWriterSize(conn, writtenBytes)
	fmt.Fprintf(w, "%s 200 OK\r\nConnection: close\r\n", ctx.Request.Header.Protocol())
	for key, value := range ctx.Response.Header.All() {
		if name := string(key); name != fasthttp.HeaderContentLength && name != fasthttp.HeaderConnection {
			fmt.Fprintf(w, "%s: %s\r\n", name, value)
		}
	}
	_, _ = w.WriteString("\r\n") // the writer keeps its error
	_ = a.extend(conn)()         // fails only with the connection
	run(w)
	_ = w.Flush()
}

// cutOff ends a streamed answer that panicked: its writer runs in a goroutine of fasthttp's, where handle's recover does not reach.
func (a *Server) cutOff(conn net.Conn) {
	if r := recover(); r != nil {
		a.log.Error("panic in a stream", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		conn.Close()
	}
}

// recovered answers a request whose handler panicked. What it took its own defers have given back; what is left of its body
// is not looked for.
func (a *Server) recovered(ctx *fasthttp.RequestCtx) {
	if r := recover(); r != nil {
		a.log.Error("panic in a handler", "path", string(ctx.Path()), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		a.conns.serve(ctx.Conn())
		problem(ctx, fasthttp.StatusInternalServerError, "internal", "this is a bug; the log has its trace")
		ctx.SetConnectionClose()
	}
}
