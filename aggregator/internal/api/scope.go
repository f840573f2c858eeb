package api

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/store"
)

// Right is what a token may do; a token's rights are their sum.
type Right uint8

// The rights. Admin is for what is of all topics: dead letters, and the admin port.
const (
	Publish Right = 1 << iota
	Read
	Admin
	AllRights = Publish | Read | Admin
)

// RightNames are the rights as a file of tokens has them.
var RightNames = map[string]Right{"publish": Publish, "read": Read, "admin": Admin}

func (r Right) String() string {
	for name, right := range RightNames {
		if r == right {
			return name
		}
	}
	return fmt.Sprintf("rights %d", uint8(r))
}

// Bounds of the file of -tokens. What a request carries is compared with each token.
const (
	MaxTokens     = 1000
	MaxTokenBytes = 4 << 10 // of a line
)

// AllTopics is the pattern of every topic.
const AllTopics = "*"

// Token is one that lets in: what it may do, and with which topics.
type Token struct {
	Digest [sha256.Size]byte // of the token
	Rights Right
	Topics []string // names, or beginnings of names with * at the end
}

// FullToken is the token that may do everything.
func FullToken(token string) Token {
	return Token{sha256.Sum256([]byte(token)), AllRights, []string{AllTopics}}
}

func (t Token) equal(other Token) bool {
	return t.Digest == other.Digest && t.Rights == other.Rights && slices.Equal(t.Topics, other.Topics)
}

// permits reports whether the token is for a topic.
func (t Token) permits(topic string) bool {
	return slices.ContainsFunc(t.Topics, func(pattern string) bool {
		start, open := strings.CutSuffix(pattern, "*")
		return topic == pattern && !open || open && strings.HasPrefix(topic, start)
	})
}

// permitsAll reports whether the token is for every topic.
func (t Token) permitsAll() bool { return slices.Contains(t.Topics, AllTopics) }

// mayRead lets a request read the page's topic, or all if it names none, or answers 403.
func mayRead(ctx *fasthttp.RequestCtx, page store.Page) bool {
	switch c := letIn(ctx); {
	case c == nil || c.permitsAll():
		return true
	case page.Topic == "":
		problem(ctx, fasthttp.StatusForbidden, "forbidden", "the token is not for every topic: name one by topic=")
	case !c.permits(page.Topic):
		problem(ctx, fasthttp.StatusForbidden, "forbidden", fmt.Sprintf("the token is not for the topic %q", page.Topic))
	default:
		return true
	}
	return false
}

// mayPublish reports whether a request may publish all of its events, or answers 403.
func (a *Server) mayPublish(ctx *fasthttp.RequestCtx, r *event.Request) bool {
	c := letIn(ctx)
	if c == nil || c.permitsAll() {
		return true
	}
	data, last := string(r.Data), ""
	for i := range r.Events {
		e, rest, err := event.Next(data)
		if err != nil {
			problem(ctx, fasthttp.StatusInternalServerError, "internal", err.Error())
			return false
		}
		data = rest
		if i > 0 && e.Topic == last {
			continue
		}
		if last = e.Topic; !c.permits(last) {
			detail := fmt.Sprintf("the token is not for the topic %q: nothing of the request is taken", last)
			a.logRejected(ctx, int64(r.Events), "forbidden")
			problem(ctx, fasthttp.StatusForbidden, "forbidden", detail)
			return false
		}
	}
	return true
}

// readable says which topics a request may read; nil: all.
func readable(ctx *fasthttp.RequestCtx) func(topic string) bool {
	c := letIn(ctx)
	if c == nil || c.permitsAll() {
		return nil
	}
	return c.permits
}
