package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"strings"

	"github.com/valyala/fasthttp"
)

// dashboardHTML is the page for people, in one file. It holds no data: its script asks for that
// like any other client, with the token that a person gives it.
//
//go:embed dashboard.html
var dashboardHTML []byte

// dashboardPolicy lets the page run its own script and style, known by their hashes, and ask its
// own server; nothing else, and in no other page's frame.
var dashboardPolicy = "default-src 'none'; script-src '" + hashOf("script") + "'; style-src '" + hashOf("style") +
	"'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// hashOf is the hash of what the page has in its only element of that name.
func hashOf(element string) string {
	_, text, _ := bytes.Cut(dashboardHTML, []byte("<"+element+">"))
	text, _, _ = bytes.Cut(text, []byte("</"+element+">"))
	sum := sha256.Sum256(text)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// asksForPage tells a browser from Elasticsearch's senders, who look for its answer at the same
// place.
func asksForPage(ctx *fasthttp.RequestCtx) bool {
	return string(ctx.Path()) == "/" && (ctx.IsGet() || ctx.IsHead()) &&
		strings.Contains(string(ctx.Request.Header.Peek(fasthttp.HeaderAccept)), "text/html")
}

var dashboardRoute = route{method: fasthttp.MethodGet, public: true, handle: (*Server).dashboard}

func (a *Server) dashboard(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderContentSecurityPolicy, dashboardPolicy)
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	h.Set(fasthttp.HeaderReferrerPolicy, "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	h.Set(fasthttp.HeaderVary, fasthttp.HeaderAccept)
	ctx.SetContentType("text/html; charset=utf-8")
	ctx.SetBody(dashboardHTML)
}
