// Package api is the HTTP side of the aggregator: it decodes, validates, hands over to
// the pipeline, and reads from the store. Nothing of a request outlives its handler
// but what event.Request has copied.
package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/stage"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

const (
	// A request's line and headers must arrive, then its body, and an answer leave, within these
	// times.
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	// headerBytes bounds a request's line and headers: 431 beyond.
	headerBytes = 16 << 10
	// maxWaiting bounds the requests that wait for a commit or a sync: while the database or the disk
	// stands still, the other connections are for probes, readers, and publishers who are told so at
	// once.
	maxWaiting = maxConnections - 64
	// maxCommits bounds those of them that wait for a commit: while the database is locked, the
	// journal goes on.
	maxCommits = 320
	// retryAfterSeconds is what a 503 advises. The queue drains in about a second.
	retryAfterSeconds = 1
)

// Config is what the API needs.
type Config struct {
	Ack          pipeline.Level // for requests that name none
	MaxBodyBytes int            // after decompression too
	Tokens       []Token        // none lets everybody in
	CORSOrigin   string         // whose pages may read; "": none
	MaxStreams   int            // that may be open; 0: DefaultMaxStreams
	KeepRejected bool           // what /publish refuses becomes dead letters, as it does elsewhere
	HMACSecret   string         // of signed webhooks; "": none is let in by its signature
	Version      string
}

// Server serves the public API.
type Server struct {
	cfg      Config
	pipeline *pipeline.Pipeline
	store    *store.Store
	node     *cluster.Node // nil: it is alone
	log      *slog.Logger
	http     *fasthttp.Server
	started  time.Time
	closing  chan struct{} // closed by Shutdown; ends the streams
	streams  atomic.Int32
	waiting  atomic.Int32  // for a commit or a sync
	commits  atomic.Int32  // of them, for a commit
	copying  atomic.Bool   // a copy of the store is made or sent
	exports  atomic.Int32  // that wait for room
	turn     chan struct{} // held by the one of them that looks for it
	bodies   budget
	pages    budget
	conns    connections
	metrics  answerMetrics
	open     bool // there are no tokens
	tokens   atomic.Pointer[[]*credential]
	tokenMu  sync.Mutex // held while tokens are replaced
	rejected rejections
	waits    sampled                // publishers that are to come again
	cuts     sampled                // streams that were cut off
	unread   sampled                // reads that the store refused
	lastHost atomic.Pointer[string] // that checkHost let in last
	loopback bool                   // the listener is for this machine; set before the first request

	bodyTimeout  time.Duration // readTimeout, but in tests
	backupBase   time.Duration // as the constant, but in tests
	backupBudget time.Duration // so too
}

// New returns a Server that is not yet serving.
func New(cfg Config, p *pipeline.Pipeline, s *store.Store, log *slog.Logger) *Server {
	if cfg.MaxStreams == 0 {
		cfg.MaxStreams = DefaultMaxStreams
	}
	a := &Server{
		cfg: cfg, pipeline: p, store: s, log: log, started: time.Now(), closing: make(chan struct{}), turn: make(chan struct{}, 1),
		bodies: budget{most: bodiesBytes}, pages: budget{most: pagesBytes}, bodyTimeout: readTimeout, backupBase: backupBase, backupBudget: backupBudget,
		conns: connections{open: map[*connection]struct{}{}, most: mostConnections(cfg.MaxStreams)}, metrics: newAnswerMetrics(),
		rejected: rejections{byCode: map[event.Code]int64{}},
	}
	if p != nil { // as in a test
		a.node = p.Node()
	}
	a.open = len(cfg.Tokens) == 0
	a.tokens.Store(&[]*credential{})
	a.SetTokens(cfg.Tokens)
	a.http = a.newHTTP()
	return a
}

// Certificate is what a handshake is answered with.
type Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// Serve serves until Shutdown, over TLS if there is a certificate.
func (a *Server) Serve(ln net.Listener, certificate Certificate) error {
	if address, ok := ln.Addr().(*net.TCPAddr); ok {
		a.loopback = address.IP.IsLoopback()
	}
	ln = deadlineListener{patientListener{ln, a.log}}
	if certificate != nil {
		ln = tls.NewListener(ln, &tls.Config{GetCertificate: certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	return a.http.Serve(listener{ln, &a.conns})
}

type route struct {
	method  string
	also    string // another method that is served; "": none
	public  bool   // needs no token
	right   Right  // that the token must have
	shared  bool   // pages of -cors-origin may read it
	pieces  bool   // its body is of any length: the handler reads it piece by piece
	sender  bool   // other programs' senders ask for it
	signed  bool   // ?hmac= takes the token's place: the handler checks the body's signature
	handle  func(*Server, *fasthttp.RequestCtx)
	problem problemWriter // nil: as RFC 9457
}

// senderKey is under which a request says that it is one of another program's sender.
type senderKey struct{}

// note keeps with a request what its errors are answered by.
func (r route) note(ctx *fasthttp.RequestCtx) {
	if r.problem != nil {
		ctx.SetUserValue(problemKey{}, r.problem)
	}
	if r.sender {
		ctx.SetUserValue(senderKey{}, true)
	}
}

// allow are the methods of a route, as the header Allow has them.
func (r route) allow() string {
	methods := r.method
	if r.method == fasthttp.MethodGet {
		methods += ", " + fasthttp.MethodHead
	}
	if r.also != "" {
		methods += ", " + r.also
	}
	return methods
}

// publishPath is where most requests go.
const publishPath = "/publish"

var routes = map[string]route{
	publishPath:      {method: fasthttp.MethodPost, right: Publish, handle: (*Server).publish},
	"/events":        {method: fasthttp.MethodGet, right: Read, shared: true, handle: (*Server).events},
	"/dead-letters":  {method: fasthttp.MethodGet, right: Admin, shared: true, handle: (*Server).deadLetters},
	"/events/stream": {method: fasthttp.MethodGet, right: Read, shared: true, handle: (*Server).stream},
	"/backup":        {method: fasthttp.MethodGet, right: Admin, handle: (*Server).backup},
	"/stats":         {method: fasthttp.MethodGet, right: Read, shared: true, handle: (*Server).stats},
	"/livez":         {method: fasthttp.MethodGet, public: true, handle: (*Server).livez},
	"/readyz":        {method: fasthttp.MethodGet, public: true, handle: (*Server).readyz},
	"/openapi.json":  {method: fasthttp.MethodGet, public: true, handle: (*Server).openapi},
}

func (a *Server) handle(ctx *fasthttp.RequestCtx) {
	stage.HTTP.Enter() // the goroutine keeps the label, reads and writes of its connection included
	defer a.observe(ctx, time.Now())
	defer a.recovered(ctx)
	r, ok := a.route(ctx)
	if !ok {
		return
	}
	if r.method == fasthttp.MethodGet {
		serveReader(ctx.Conn())
	}
	if a.node != nil && !a.atPosition(ctx, r.right) {
		return
	}
	r.handle(a, ctx)
}

// elsewhere says where to go from paths that people and probes try.
var elsewhere = map[string]string{
	"/health":  "for a probe there are /livez and /readyz",
	"/healthz": "for a probe there are /livez and /readyz",
	"/metrics": "metrics are served at the address of -admin, which is 127.0.0.1:8081 unless it was given",
}

// whereTo says what there is instead of a path that is not served.
func whereTo(path string) string {
	if detail, ok := elsewhere[path]; ok {
		return detail
	}
	if without := strings.TrimRight(path, "/"); without != path {
		if _, ok := routes[without]; ok {
			return "there is " + without + ", without the slash at its end"
		}
	}
	return "there is /publish, /events, /events/stream, /dead-letters, /backup, /stats, /openapi.json, /livez and /readyz; for other senders " +
		"/v1/logs, /_bulk, /ingest/{topic}, /cloudevents, /services/collector, /loki/api/v1/push and /upload"
}

// refused answers a request whatever its path, because of its form or of where it comes from, and
// reports whether it did.
func (a *Server) refused(ctx *fasthttp.RequestCtx) bool {
	h := &ctx.Request.Header
	foreignHost, foreignOrigin, malformed := "", "", ""
	if a.open && !a.shares(ctx) {
		if origin := h.Peek(fasthttp.HeaderOrigin); len(origin) > 0 {
			foreignOrigin = CheckOrigin(string(origin), string(h.Host()))
		} else if !ctx.IsPost() { // a browser posts with an Origin
			foreignOrigin = CheckFetch(string(h.Peek("Sec-Fetch-Site")), string(h.Peek("Sec-Fetch-Dest")))
		}
		if a.loopback {
			foreignHost = a.checkHost(h.Host())
		}
	}
	if ctx.Request.MayContinue() { // headers has looked at every request, and sees to it if it found something
		malformed = framing(h)
	}
	switch {
	case !knownVersion(h):
		problem(ctx, fasthttp.StatusHTTPVersionNotSupported, "malformed", "HTTP/1.1 and HTTP/1.0 are spoken here")
	case malformed != "":
		problem(ctx, fasthttp.StatusBadRequest, "malformed", "not a well-formed HTTP request: "+malformed)
	case foreignHost != "":
		problem(ctx, fasthttp.StatusForbidden, "foreign_host", foreignHost)
	case foreignOrigin != "":
		problem(ctx, fasthttp.StatusForbidden, "foreign_origin", foreignOrigin)
	default:
		return false
	}
	ctx.SetConnectionClose()
	return true
}

// checkHost is CheckHost, which most clients pass with the same name each time.
func (a *Server) checkHost(host []byte) string {
	if last := a.lastHost.Load(); last != nil && *last == string(host) {
		return ""
	}
	name := string(host)
	why := CheckHost(name)
	if why == "" {
		a.lastHost.Store(&name)
	}
	return why
}

// route finds what serves a request, or answers why nothing does.
func (a *Server) route(ctx *fasthttp.RequestCtx) (r route, ok bool) {
	if r, ok = findRoute(string(ctx.Path())); asksForPage(ctx) {
		r = dashboardRoute
	}
	method := string(ctx.Method())
	if ok {
		r.note(ctx)
	}
	switch {
	case a.refused(ctx):
	case a.preflight(ctx):
	case !ok:
		problem(ctx, fasthttp.StatusNotFound, "not_found", whereTo(string(ctx.Path())))
	case method != r.method && method != r.also && !(method == fasthttp.MethodHead && r.method == fasthttp.MethodGet):
		ctx.Response.Header.Set("Allow", r.allow())
		problem(ctx, fasthttp.StatusMethodNotAllowed, "method_not_allowed", "use "+r.method)
	case !r.public && method != fasthttp.MethodOptions && !(r.signed && ctx.QueryArgs().Has("hmac")) && !a.authorized(ctx, r.right):
	default:
		return r, true
	}
	return r, false
}

func (a *Server) livez(ctx *fasthttp.RequestCtx) { ok(ctx) }

func ok(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString("ok\n")
}

func (a *Server) readyz(ctx *fasthttp.RequestCtx) {
	if err := a.Ready(); err != nil {
		refuse(ctx, err)
		return
	}
	ok(ctx)
	for _, warning := range a.pipeline.Warnings() {
		ctx.Response.AppendBodyString("warning: " + warning + "\n")
	}
}

// Ready says why no event could be taken now, or nil: the disk, the bounds of what waits, or the
// bodies' budget.
func (a *Server) Ready() error {
	if !a.bodies.fits(bodyFirst) {
		return errBusy
	}
	return a.pipeline.Ready(a.cfg.Ack)
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
