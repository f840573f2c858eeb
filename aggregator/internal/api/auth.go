package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/valyala/fasthttp"
)

// credential is a token that lets in, until it is revoked.
type credential struct {
	Token
	revoked chan struct{} // closed when the token is gone, or may do something else
}

// credentialKey is under which a request keeps the credential that let it in.
type credentialKey struct{}

// SetTokens replaces the tokens: of the requests that come from now on, only those that carry one
// of them are let in, and exports and streams end whose token is gone or may do something else.
func (a *Server) SetTokens(tokens []Token) {
	a.tokenMu.Lock()
	defer a.tokenMu.Unlock()
	old := map[*credential]bool{}
	for _, c := range *a.tokens.Load() {
		old[c] = true
	}
	next := make([]*credential, 0, len(tokens))
	for _, t := range tokens {
		c := &credential{t, make(chan struct{})}
		for o := range old {
			if o.equal(t) {
				c = o
			}
		}
		delete(old, c)
		next = append(next, c)
	}
	a.tokens.Store(&next)
	for c := range old {
		close(c.revoked)
	}
}

// find is the credential of a token, nil if there is none. It compares digests, and with all of
// them, so that neither the token's bytes nor its length nor its place show in the time it takes.
func (a *Server) find(token string) (found *credential) {
	digest := sha256.Sum256([]byte(token))
	for _, c := range *a.tokens.Load() {
		if subtle.ConstantTimeCompare(digest[:], c.Digest[:]) == 1 && found == nil {
			found = c
		}
	}
	return found
}

// authorized lets a request in whose token has the right, or answers why not.
func (a *Server) authorized(ctx *fasthttp.RequestCtx, right Right) bool {
	if a.open {
		return true
	}
	c := a.find(presented(ctx))
	switch {
	case c == nil:
		ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
		if ctx.IsPost() || ctx.IsPut() { // a browser, which gets, would ask its user
			ctx.Response.Header.Add("WWW-Authenticate", `Basic realm="sekali"`)
		}
		problem(ctx, fasthttp.StatusUnauthorized, "unauthorized", "a bearer token is wanted")
		return false
	case c.Rights&right == 0:
		problem(ctx, fasthttp.StatusForbidden, "forbidden", "the token lacks the right "+right.String())
		return false
	}
	ctx.SetUserValue(credentialKey{}, c)
	return true
}

// Admits reports whether an Authorization header carries a token with the right admin, if there are
// tokens at all.
func (a *Server) Admits(authorization string) bool {
	if a.open {
		return true
	}
	c := a.find(tokenOf(authorization))
	return c != nil && c.Rights&Admin != 0
}

// letIn is the credential that let a request in; nil if it needed none.
func letIn(ctx *fasthttp.RequestCtx) *credential {
	c, _ := ctx.UserValue(credentialKey{}).(*credential)
	return c
}

// revoked is closed when the token that let a request in is revoked.
func revoked(ctx *fasthttp.RequestCtx) <-chan struct{} {
	if c := letIn(ctx); c != nil {
		return c.revoked
	}
	return nil
}

// presented is the token of a request: of Authorization in the schemes that senders know, of which
// Basic has it as the password of any user, or, for an EventSource, which can send no header, of
// the parameter access_token. Without one it is "", which no token is.
func presented(ctx *fasthttp.RequestCtx) string {
	authorization := string(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization))
	if authorization == "" {
		return string(ctx.QueryArgs().Peek(accessToken))
	}
	return tokenOf(authorization)
}

// tokenOf is the token of an Authorization header, "" without one.
func tokenOf(authorization string) string {
	scheme, value, _ := strings.Cut(authorization, " ")
	value = strings.TrimSpace(value)
	switch strings.ToLower(scheme) {
	case "bearer", "splunk":
		return value
	case "basic":
		return password(value)
	case "apikey":
		if p := password(value); p != "" { // id:key, as Elasticsearch has it
			return p
		}
		return value
	}
	return ""
}

// password is what stands behind the colon in base64.
func password(encoded string) string {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	_, password, _ := strings.Cut(string(text), ":")
	return password
}
