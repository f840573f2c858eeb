package api

import (
	_ "embed"

	"github.com/valyala/fasthttp"
)

//go:embed openapi.json
var openAPI []byte

// openapi answers the description of all endpoints; integration compares it with real answers.
func (a *Server) openapi(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType(jsonType)
	ctx.SetBody(openAPI)
}
