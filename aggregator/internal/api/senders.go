package api

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
	"sekali/aggregator/pipeline"
)

// senderRoutes are the endpoints that other programs' senders ask for by name.
var senderRoutes = map[string]route{
	"/v1/logs":     {method: fasthttp.MethodPost, right: Publish, handle: (*Server).otlpLogs, problem: otlpProblem},
	"/v1/traces":   {method: fasthttp.MethodPost, right: Publish, handle: otherSignal, problem: otlpProblem},
	"/v1/metrics":  {method: fasthttp.MethodPost, right: Publish, handle: otherSignal, problem: otlpProblem},
	"/cloudevents": {method: fasthttp.MethodPost, right: Publish, also: fasthttp.MethodOptions, handle: (*Server).cloudEvents},

	uploadPath: {method: fasthttp.MethodPost, right: Publish, pieces: true, handle: (*Server).upload},

	"/loki/api/v1/push": {method: fasthttp.MethodPost, right: Publish, handle: (*Server).loki},

	"/services/collector":            hec((*Server).hecEvents),
	"/services/collector/event":      hec((*Server).hecEvents),
	"/services/collector/event/1.0":  hec((*Server).hecEvents),
	"/services/collector/raw":        hec((*Server).hecRaw),
	"/services/collector/raw/1.0":    hec((*Server).hecRaw),
	"/services/collector/health":     {method: fasthttp.MethodGet, also: fasthttp.MethodOptions, public: true, handle: (*Server).hecHealth, problem: hecProblem},
	"/services/collector/health/1.0": {method: fasthttp.MethodGet, also: fasthttp.MethodOptions, public: true, handle: (*Server).hecHealth, problem: hecProblem},
}

// findRoute is the route of a path, of which a part may be a name.
func findRoute(path string) (route, bool) {
	if r, ok := routes[path]; ok {
		return r, true
	}
	r, ok := senderRoute(path)
	r.sender = true
	return r, ok
}

func senderRoute(path string) (route, bool) {
	if r, ok := senderRoutes[path]; ok {
		return r, true
	}
	if topic, ok := strings.CutPrefix(path, ingestPath); ok && topic != "" { // of which a slash may be: see ingestTopic
		return route{method: fasthttp.MethodPost, right: Publish, also: fasthttp.MethodOptions, handle: (*Server).ingestJSON, signed: true}, true
	}
	return elasticRoute(path)
}

// mapper is one of package ingest.
type mapper func(*ingest.Input) (*event.Request, error)

// takeMapped reads the body, maps it, hands its events over, and answers, by what is always small.
func (a *Server) takeMapped(ctx *fasthttp.RequestCtx, m mapper, answer func(*event.Request, pipeline.Outcome)) {
	a.takeCounted(ctx, m, nil, func(r *event.Request, out pipeline.Outcome, _ *held) { answer(r, out) })
}

// takeCounted is takeMapped with an answer of any length.
func (a *Server) takeCounted(ctx *fasthttp.RequestCtx, m mapper, room func(*event.Request) int, answer func(*event.Request, pipeline.Outcome, *held)) {
	level, ok := a.levelOf(ctx)
	if !ok || !pointersAreShort(ctx) {
		return
	}
	a.take(ctx, intake{
		level: level, keep: true,
		decode: func(body []byte) (*event.Request, error) {
			room := &held{of: &a.bodies}
			defer room.release()
			in := a.input(ctx, body)
			in.Most = a.pipeline.MostBytes(level)
			in.Grow = room.grow
			return m(in)
		},
		room:   room,
		answer: answer,
	})
}

// maxPointerSteps bounds a JSON pointer in a query: each step decodes what is left of an event.
const maxPointerSteps = 16

// pointersAreShort answers a request whose JSON pointers are too long.
func pointersAreShort(ctx *fasthttp.RequestCtx) bool {
	for _, name := range []string{"topic", "id", "time", "source"} {
		path := ctx.QueryArgs().Peek(name)
		if bytes.HasPrefix(path, []byte("/")) && bytes.Count(path, []byte("/")) > maxPointerSteps {
			problem(ctx, fasthttp.StatusBadRequest, "invalid_query", fmt.Sprintf("?%s= is a JSON pointer of more than %d steps", name, maxPointerSteps))
			return false
		}
	}
	return true
}

// levelOf is ?ack=, or the level for requests that name none; it answers if there is no such level.
func (a *Server) levelOf(ctx *fasthttp.RequestCtx) (pipeline.Level, bool) {
	name := ctx.QueryArgs().Peek("ack")
	if len(name) == 0 {
		return a.cfg.Ack, true
	}
	level, err := a.parseLevel(string(name))
	if err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
	}
	return level, err == nil
}

// input is a request as a mapper sees it.
func (a *Server) input(ctx *fasthttp.RequestCtx, body []byte) *ingest.Input {
	args := ctx.QueryArgs()
	return &ingest.Input{
		Body: body, Received: time.Now(),
		Header: func(name string) string { return string(ctx.Request.Header.Peek(name)) },
		Each: func(do func(name, value string)) {
			for name, value := range ctx.Request.Header.All() {
				do(string(name), string(value))
			}
		},
		Topic: string(args.Peek("topic")), ID: string(args.Peek("id")), Time: string(args.Peek("time")), Source: string(args.Peek("source")),
	}
}

// ingestPath is what stands before a topic.
const ingestPath = "/ingest/"

// ingestTopic is the topic that the path names as its last part, or it answers why there is none.
// ctx.Path is decoded, and does not tell a slash that was sent from one that was sent as %2F.
func ingestTopic(ctx *fasthttp.RequestCtx) (string, bool) {
	sent, usual := strings.CutPrefix(string(ctx.URI().PathOriginal()), ingestPath)
	if !usual { // as //ingest/a, or a proxy's
		return strings.TrimPrefix(string(ctx.Path()), ingestPath), true
	}
	topic, err := url.PathUnescape(sent)
	switch {
	case strings.Contains(sent, "/"):
		problem(ctx, fasthttp.StatusNotFound, "not_found", whereTo(string(ctx.Path()))+"; a slash in a topic is %2F")
	case err != nil:
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
	default:
		return topic, true
	}
	return "", false
}

// ingestJSON takes any JSON for a topic.
func (a *Server) ingestJSON(ctx *fasthttp.RequestCtx) {
	if ctx.IsOptions() {
		handshake(ctx)
		return
	}
	topic, ok := ingestTopic(ctx)
	if !ok {
		return
	}
	// Whoever names a scheme, an empty one too, has passed without a token: the signature must hold.
	scheme, signed := string(ctx.QueryArgs().Peek("hmac")), ctx.QueryArgs().Has("hmac")
	a.takeMapped(ctx, func(in *ingest.Input) (*event.Request, error) {
		if signed && a.cfg.HMACSecret == "" {
			return nil, errNoSecret
		}
		if signed && !a.signatureHolds(in, scheme) {
			return nil, errSignature
		}
		if ingest.IsCloudEvent(in) {
			in.PathTopic = topic
			return ingest.CloudEvents(in)
		}
		return ingest.JSON(in, topic)
	}, func(r *event.Request, _ pipeline.Outcome) {
		level, _ := a.levelOf(ctx) // it was read before
		status := fasthttp.StatusAccepted
		if level == pipeline.Store {
			status = fasthttp.StatusOK
		}
		a.answer(ctx, status, published{Ack: level, Accepted: r.Events, Errors: []event.Rejection{}}, &held{})
	})
}

// errSignature is answered 401: the body is not signed with the secret.
var errSignature = errors.New("the body's signature is not of the secret in -hmac-secret-file")

// errNoSecret is answered 401, too: there is nothing to check a signature with.
var errNoSecret = errors.New("the aggregator was started without -hmac-secret-file, so no signature can be checked")

// HMACPrefix begins a secret of standardwebhooks.com, before its base64.
const HMACPrefix = "whsec_"

// signedFor is how far a signature's time may be from now.
const signedFor = 5 * time.Minute

// signatureHolds checks a webhook's signature: github's (X-Hub-Signature-256), or that of
// standardwebhooks.com.
func (a *Server) signatureHolds(in *ingest.Input, scheme string) bool {
	switch scheme {
	case "github":
		given, err := hex.DecodeString(strings.TrimPrefix(in.Header("X-Hub-Signature-256"), "sha256="))
		return err == nil && hmac.Equal(given, sign([]byte(a.cfg.HMACSecret), in.Body))
	case "standard":
		secret := []byte(a.cfg.HMACSecret)
		if decoded, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(a.cfg.HMACSecret, HMACPrefix)); err == nil {
			secret = decoded
		}
		at, err := strconv.ParseInt(in.Header("Webhook-Timestamp"), 10, 64)
		if err != nil || time.Since(time.Unix(at, 0)).Abs() > signedFor {
			return false
		}
		want := base64.StdEncoding.EncodeToString(sign(secret, []byte(in.Header("Webhook-Id")+"."+in.Header("Webhook-Timestamp")+"."), in.Body))
		for one := range strings.FieldsSeq(in.Header("Webhook-Signature")) {
			if subtle.ConstantTimeCompare([]byte(one), []byte("v1,"+want)) == 1 {
				return true
			}
		}
	}
	return false
}

func sign(secret []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// handshake tells a webhook's sender that it may send.
func handshake(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("WebHook-Allowed-Origin", string(ctx.Request.Header.Peek("WebHook-Request-Origin")))
	ctx.Response.Header.Set("WebHook-Allowed-Rate", "*")
	ctx.Response.Header.Set("Allow", fasthttp.MethodPost)
}

// cloudEvents takes CloudEvents in all modes, and shakes hands with a webhook's sender.
func (a *Server) cloudEvents(ctx *fasthttp.RequestCtx) {
	if ctx.IsOptions() {
		handshake(ctx)
		return
	}
	a.takeMapped(ctx, ingest.CloudEvents, func(r *event.Request, _ pipeline.Outcome) { ctx.SetStatusCode(fasthttp.StatusAccepted) })
}

// loki takes a push to Loki.
func (a *Server) loki(ctx *fasthttp.RequestCtx) {
	m := ingest.Loki
	if strings.HasPrefix(string(ctx.Request.Header.ContentType()), "application/x-protobuf") {
		m = a.lokiProto
		if strings.EqualFold(string(ctx.Request.Header.ContentEncoding()), "snappy") { // as Alloy says of the block
			ctx.Request.Header.Del(fasthttp.HeaderContentEncoding)
		}
	}
	a.takeMapped(ctx, m, func(*event.Request, pipeline.Outcome) { ctx.SetStatusCode(fasthttp.StatusNoContent) })
}

// lokiProto counts what the body is decompressed to, as every body is.
func (a *Server) lokiProto(in *ingest.Input) (*event.Request, error) {
	size := min(max(ingest.LokiProtoBytes(in.Body), 0), a.cfg.MaxBodyBytes)
	if !a.bodies.take(size) {
		return nil, errBusy
	}
	defer a.bodies.put(size)
	return ingest.LokiProto(in, a.cfg.MaxBodyBytes)
}
