// Package api is the HTTP side of the aggregator: it decodes, validates, hands over to
// the pipeline, and reads from the store. Nothing of a request outlives its handler
// but what event.Request has copied.
package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/pipeline"
	"sekali/aggregator/stage"
	"sekali/aggregator/store"
)

const (
	// A request's line and headers must arrive, then its body, and an answer leave, within these times.
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	// headerBytes bounds a request's line and headers: 431 beyond.
	headerBytes = 16 << 10
	// retryAfterSeconds is what a 503 advises. The queue drains in about a second.
	retryAfterSeconds = 1
)

// Config is what the API needs.
type Config struct {
	Ack          pipeline.Level // for requests that name none
	MaxBodyBytes int            // after decompression too
	Token        string         // "" lets everybody in
	Version      string
}

// Server serves the public API.
type Server struct {
	cfg      Config
	pipeline *pipeline.Pipeline
	store    *store.Store
	log      *slog.Logger
	http     *fasthttp.Server
	started  time.Time
	closing  chan struct{} // closed by Shutdown; ends the streams
	streams  atomic.Int32
	bodies   budget
	pages    budget
	conns    connections
	token    atomic.Pointer[[sha256.Size]byte]

	bodyTimeout time.Duration // readTimeout, but in tests
}

// New returns a Server that is not yet serving.
func New(cfg Config, p *pipeline.Pipeline, s *store.Store, log *slog.Logger) *Server {
	a := &Server{cfg: cfg, pipeline: p, store: s, log: log, started: time.Now(), closing: make(chan struct{}), bodies: budget{most: bodiesBytes}, pages: budget{most: pagesBytes}, bodyTimeout: readTimeout,
		conns: connections{open: map[net.Conn]*connection{}}}
	a.SetToken(cfg.Token)
	a.http = &fasthttp.Server{
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
		MaxRequestBodySize:            cfg.MaxBodyBytes,
		CloseOnShutdown:               true,
		ConnState:                     a.conns.track,
		NoDefaultServerHeader:         true,
		NoDefaultContentType:          true,
		DisablePreParseMultipartForm:  true,
		DisableHeaderNamesNormalizing: false,
		Logger:                        slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return a
}

// Serve serves until Shutdown, over TLS if there are certificates.
func (a *Server) Serve(ln net.Listener, certificates []tls.Certificate) error {
	ln = patientListener{ln, a.log}
	if len(certificates) > 0 {
		ln = tls.NewListener(ln, &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	return a.http.Serve(listener{ln, &a.conns})
}

type route struct {
	method string
	public bool // needs no token
	handle func(*Server, *fasthttp.RequestCtx)
}

var routes = map[string]route{
	"/publish":       {fasthttp.MethodPost, false, (*Server).publish},
	"/events":        {fasthttp.MethodGet, false, (*Server).events},
	"/dead-letters":  {fasthttp.MethodGet, false, (*Server).deadLetters},
	"/events/stream": {fasthttp.MethodGet, false, (*Server).stream},
	"/stats":         {fasthttp.MethodGet, false, (*Server).stats},
	"/livez":         {fasthttp.MethodGet, true, (*Server).livez},
	"/readyz":        {fasthttp.MethodGet, true, (*Server).readyz},
}

// cutOff ends a streamed answer that panicked: its writer runs in a goroutine of fasthttp's, where handle's recover does not reach.
func (a *Server) cutOff(conn net.Conn) {
	if r := recover(); r != nil {
		a.log.Error("panic in a stream", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		conn.Close()
	}
}

func (a *Server) handle(ctx *fasthttp.RequestCtx) {
	stage.HTTP.Enter() // the goroutine keeps the label, reads and writes of its connection included
	defer func() {
		if r := recover(); r != nil {
			a.log.Error("panic in a handler", "path", string(ctx.Path()), "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			problem(ctx, fasthttp.StatusInternalServerError, "internal", "this is a bug; the log has its trace")
		}
	}()
	r, ok := a.route(ctx)
	if !ok {
		return
	}
	if r.method == fasthttp.MethodGet {
		a.conns.serve(ctx.Conn())
	}
	r.handle(a, ctx)
}

// headers looks at a request before its body is read. To one that must be refused it adds the question that expect
// answers, for fasthttp would wait for the body's first bytes before it calls a handler.
func (a *Server) headers(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if n := h.ContentLength(); n > a.cfg.MaxBodyBytes || !a.bodies.fits(n) {
		h.Set(fasthttp.HeaderExpect, "100-continue")
	}
	return fasthttp.RequestConfig{ReadTimeout: a.bodyTimeout}
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

// route finds what serves a request, or answers why nothing does.
func (a *Server) route(ctx *fasthttp.RequestCtx) (r route, ok bool) {
	r, ok = routes[string(ctx.Path())]
	method := string(ctx.Method())
	switch {
	case !ok:
		problem(ctx, fasthttp.StatusNotFound, "not_found", "there is /publish, /events, /events/stream, /dead-letters, /stats, /livez and /readyz")
	case method != r.method && !(method == fasthttp.MethodHead && r.method == fasthttp.MethodGet):
		ctx.Response.Header.Set("Allow", r.method)
		problem(ctx, fasthttp.StatusMethodNotAllowed, "method_not_allowed", "use "+r.method)
	case !r.public && !a.authorized(ctx):
		ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
		problem(ctx, fasthttp.StatusUnauthorized, "unauthorized", "a bearer token is wanted")
	default:
		return r, true
	}
	return r, false
}

// SetToken replaces the bearer token: of the requests that come from now on, only those that carry it are let in.
func (a *Server) SetToken(token string) {
	digest := sha256.Sum256([]byte(token))
	a.token.Store(&digest)
}

// authorized compares digests, so that neither the token's bytes nor its length show
// in the time it takes.
func (a *Server) authorized(ctx *fasthttp.RequestCtx) bool {
	if a.cfg.Token == "" {
		return true
	}
	given, ok := strings.CutPrefix(string(ctx.Request.Header.Peek("Authorization")), "Bearer ")
	digest := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(digest[:], a.token.Load()[:]) == 1 && ok
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

func (a *Server) bodyTooLarge(ctx *fasthttp.RequestCtx) {
	problem(ctx, fasthttp.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("a body has %d bytes at most, decompressed too", a.cfg.MaxBodyBytes))
}

// problem answers as RFC 9457, with a code that programs can rely on.
func problem(ctx *fasthttp.RequestCtx, status int, code, detail string) {
	ctx.Response.ResetBody()
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/problem+json")
	if status == fasthttp.StatusServiceUnavailable {
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	ctx.SetBody(problemBody(status, code, detail))
}

func problemBody(status int, code, detail string) []byte {
	body, _ := json.Marshal(struct { // strings and an int: it cannot fail
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{fasthttp.StatusMessage(status), status, code, detail})
	return body
}

// refuse answers a request that the pipeline did not take.
func refuse(ctx *fasthttp.RequestCtx, err error) {
	code := "internal"
	status := fasthttp.StatusServiceUnavailable
	switch {
	case errors.Is(err, pipeline.ErrTooLarge):
		status, code = fasthttp.StatusRequestEntityTooLarge, "too_large"
	case errors.Is(err, pipeline.ErrQueueFull):
		code = "queue_full"
	case errors.Is(err, pipeline.ErrBacklogFull):
		code = "backlog_full"
	case errors.Is(err, pipeline.ErrDiskFull):
		code = "disk_full"
	case errors.Is(err, pipeline.ErrShuttingDown):
		code = "shutting_down"
	case errors.Is(err, pipeline.ErrDiskFailing):
		code = "disk_failing"
	default:
		status = fasthttp.StatusInternalServerError
	}
	problem(ctx, status, code, err.Error())
}

// query reads the named parameters; any other, or one given twice, is refused.
func query(ctx *fasthttp.RequestCtx, names ...string) (map[string]string, error) {
	values := map[string]string{}
	_, err := url.QueryUnescape(string(ctx.URI().QueryString())) // fasthttp takes %zz for what it says
	for key, value := range ctx.QueryArgs().All() {
		name := string(key)
		known := false
		for _, n := range names {
			known = known || n == name
		}
		_, twice := values[name]
		switch {
		case !known:
			err = fmt.Errorf("unknown query parameter %.80q", name)
		case twice:
			err = fmt.Errorf("query parameter %s is given twice", name)
		}
		values[name] = string(value)
	}
	return values, err
}

func (a *Server) livez(ctx *fasthttp.RequestCtx) { ok(ctx) }

func ok(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString("ok\n")
}

func (a *Server) readyz(ctx *fasthttp.RequestCtx) {
	if err := a.pipeline.Counters().Failing; err != nil {
		refuse(ctx, err)
		return
	}
	ok(ctx)
}

// Shutdown stops taking requests and waits up to budget for those that are here.
// Connections without a request are closed at once; those that are slow beyond the budget
// are left to the end of the process.
func (a *Server) Shutdown(budget time.Duration) error {
	close(a.closing)
	a.conns.close()
	ctx, cancel := context.WithTimeout(context.Background(), budget)
	defer cancel()
	if err := a.http.ShutdownWithContext(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("api: shutdown: %w", err)
	}
	return nil
}
