package api

import "github.com/valyala/fasthttp"

// shares reports whether a page of -cors-origin asks for what its scripts may read. Such a page is
// not refused as foreign; where there is a token it has to send it.
func (a *Server) shares(ctx *fasthttp.RequestCtx) bool {
	if a.cfg.CORSOrigin == "" {
		return false
	}
	r, ok := findRoute(string(ctx.Path()))
	return ok && r.shared && string(ctx.Request.Header.Peek(fasthttp.HeaderOrigin)) == a.cfg.CORSOrigin
}

// preflight lets a browser show the answer to a page of -cors-origin, and reports whether it has
// answered the question that a browser asks before it sends a header of the page's.
func (a *Server) preflight(ctx *fasthttp.RequestCtx) bool {
	if !a.shares(ctx) {
		return false
	}
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderAccessControlAllowOrigin, a.cfg.CORSOrigin)
	h.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	if !ctx.IsOptions() {
		return false
	}
	h.Set(fasthttp.HeaderAccessControlAllowMethods, fasthttp.MethodGet)
	h.Set(fasthttp.HeaderAccessControlAllowHeaders, "Authorization, Last-Event-ID")
	h.Set(fasthttp.HeaderAccessControlMaxAge, "600")
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return true
}
