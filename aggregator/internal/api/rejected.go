package api

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// maxLetters is how many of a request's refused events become dead letters.
const maxLetters = 100

// rejections are what was refused since the start, for it is wrong and would be for ever.
type rejections struct {
	mu     sync.Mutex
	byCode map[event.Code]int64 // events
	lines  sampled              // of events and bodies
}

var rejectionsDesc = prometheus.NewDesc("sekali_event_rejections_total", "Events that were not valid, by code, since the start.", []string{"reason"}, nil)

// Describe implements prometheus.Collector.
func (r *rejections) Describe(to chan<- *prometheus.Desc) { to <- rejectionsDesc }

// Collect implements prometheus.Collector.
func (r *rejections) Collect(to chan<- prometheus.Metric) {
	for code, n := range r.counts() {
		to <- prometheus.MustNewConstMetric(rejectionsDesc, prometheus.CounterValue, float64(n), string(code))
	}
}

// counts is how many events were refused, by code.
func (r *rejections) counts() map[event.Code]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(map[event.Code]int64, len(r.byCode))
	for code, n := range r.byCode {
		counts[code] = n
	}
	return counts
}

// countRejections counts what is wrong with a request's events, once it is certain that the request
// will not be sent again for another reason, and logs a sample.
func (a *Server) countRejections(ctx *fasthttp.RequestCtx, r *event.Request) {
	if len(r.Rejections) == 0 {
		return
	}
	a.rejected.mu.Lock()
	for _, rejection := range r.Rejections {
		a.rejected.byCode[rejection.Code]++
	}
	a.rejected.mu.Unlock()
	first := r.Rejections[0]
	a.logRejected(ctx, int64(len(r.Rejections)), string(first.Code))
}

// logRejected logs that n events, or a body, were refused, by sample: the code, and nothing of what
// was sent, as a detail may have.
func (a *Server) logRejected(ctx *fasthttp.RequestCtx, n int64, code string) {
	if n = a.rejected.lines.take(n, time.Now()); n > 0 {
		a.log.Warn("events or bodies were refused; this is the latest", "refused", n, "path", string(ctx.Path()), "code", code,
			"from", ctx.RemoteAddr().String(), "user_agent", string(ctx.UserAgent()))
	}
}

// lettersOf are the dead letters of a body: of all of it if it was refused with err, else of its
// refused events.
func lettersOf(endpoint string, body []byte, r *event.Request, err error) (letters []store.Refused) {
	now := time.Now().UTC().Format(pipeline.ReceivedLayout)
	if err != nil {
		return []store.Refused{store.NewRefused(endpoint, body, string(ingest.BadBody)+": "+err.Error(), now)}
	}
	for _, rejection := range r.Rejections[:min(len(r.Rejections), maxLetters)] {
		letters = append(letters, store.NewRefused(endpoint, rejection.Raw, string(rejection.Code)+": "+rejection.Detail, now))
	}
	return letters
}

// keepRefused makes dead letters durable, as far as the level asks. An error is of a passing state.
func (a *Server) keepRefused(level pipeline.Level, letters []store.Refused) error {
	if len(letters) == 0 {
		return nil
	}
	defer a.waiting.Add(-1)
	defer a.commits.Add(-1)
	if waiting, commits := a.waiting.Add(1), a.commits.Add(1); waiting > maxWaiting || commits > maxCommits {
		return errWaiting
	}
	return a.pipeline.Refuse(level, letters)
}
