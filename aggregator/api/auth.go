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
	digest  [sha256.Size]byte
	revoked chan struct{} // closed when another token takes its place
}

// credentialKey is under which a request keeps the credential that let it in.
type credentialKey struct{}

// SetToken replaces the bearer token: of the requests that come from now on, only those that carry
// it are let in, and exports and streams that another let in end.
func (a *Server) SetToken(token string) {
	next := &credential{sha256.Sum256([]byte(token)), make(chan struct{})}
	a.tokenMu.Lock()
	defer a.tokenMu.Unlock()
	if old := a.token.Load(); old != nil {
		if old.digest == next.digest {
			return
		}
		defer close(old.revoked)
	}
	a.token.Store(next)
}

// authorized compares digests, so that neither the token's bytes nor its length show
// in the time it takes.
func (a *Server) authorized(ctx *fasthttp.RequestCtx) bool {
	current := a.token.Load()
	ctx.SetUserValue(credentialKey{}, current)
	if a.cfg.Token == "" {
		return true
	}
	return current.is(presented(ctx))
}

func (c *credential) is(token string) bool {
	digest := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(digest[:], c.digest[:]) == 1
}

// Admits reports whether an Authorization header carries the token, if there is one at all.
func (a *Server) Admits(authorization string) bool {
	return a.cfg.Token == "" || a.token.Load().is(tokenOf(authorization))
}

// revoked is closed when the token that let a request in is replaced.
func revoked(ctx *fasthttp.RequestCtx) <-chan struct{} {
	if c, ok := ctx.UserValue(credentialKey{}).(*credential); ok {
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
