package api

import (
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// logEvery is how often at most a line of one kind is logged about requests: a sender that is wrong
// is wrong all the time, and a full disk is full for all.
const logEvery = 10 * time.Second

// sampled is one kind of line, which stands for what came since the one before it.
type sampled struct {
	mu     sync.Mutex
	logged time.Time // when the last line was written
	silent int64     // what has come since then, without a line
}

// take counts n more, and says how many a line of the log now stands for; 0: no line is due.
func (s *sampled) take(n int64, now time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent += n
	if now.Sub(s.logged) < logEvery {
		return 0
	}
	n, s.silent, s.logged = s.silent, 0, now
	return n
}

// logWait logs, by sample, why a publisher was told to come again. A stop has a line of its own.
func (a *Server) logWait(ctx *fasthttp.RequestCtx, path, code string) {
	r, ok := findRoute(path)
	if ctx.Response.StatusCode() != fasthttp.StatusServiceUnavailable || !ok || r.right != Publish || code == "shutting_down" {
		return
	}
	if n := a.waits.take(1, time.Now()); n > 0 {
		a.log.Warn("publishers were answered 503; this is the latest", "requests", n, "path", path, "code", code,
			"detail", ctx.UserValue(detailKey{}))
	}
}
