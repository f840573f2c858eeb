package api

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
)

// answerMetrics count answers; a request is looked at once, when its handler has returned.
type answerMetrics struct {
	durations *prometheus.HistogramVec
	refused   *prometheus.CounterVec
	accepted  prometheus.Observer // the duration of what nearly all answers are, found once
}

func newAnswerMetrics() answerMetrics {
	m := answerMetrics{
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sekali_http_request_duration_seconds",
			Help:    "From a request's headers to its answer's; a body that is streamed comes later.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"endpoint", "code"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sekali_refused_requests_total", Help: "Requests that were answered with an error, by its code.",
		}, []string{"reason"}),
	}
	m.accepted = m.durations.WithLabelValues(publishPath, strconv.Itoa(fasthttp.StatusAccepted))
	return m
}

var refusedConnectionsDesc = prometheus.NewDesc("sekali_refused_connections_total",
	"Connections that were refused since the start, because all places were taken.", nil, nil)

// Describe implements prometheus.Collector.
func (a *Server) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(a, to) }

// Collect implements prometheus.Collector.
func (a *Server) Collect(to chan<- prometheus.Metric) {
	a.metrics.durations.Collect(to)
	a.metrics.refused.Collect(to)
	a.rejected.Collect(to)
	to <- prometheus.MustNewConstMetric(refusedConnectionsDesc, prometheus.CounterValue, float64(a.conns.refused.Load()))
}

// A request keeps the code of the error that it was answered with, and the detail.
type (
	codeKey   struct{}
	detailKey struct{}
)

// observe counts an answer.
func (a *Server) observe(ctx *fasthttp.RequestCtx, begun time.Time) {
	if ctx.Response.StatusCode() == fasthttp.StatusAccepted && string(ctx.Path()) == publishPath {
		a.metrics.accepted.Observe(time.Since(begun).Seconds())
		return
	}
	a.observeAt(ctx, string(ctx.Path()), begun)
}

// observeAt counts the answer to a request for a path; "" is not known.
func (a *Server) observeAt(ctx *fasthttp.RequestCtx, path string, begun time.Time) {
	if code, ok := ctx.UserValue(codeKey{}).(string); ok {
		a.metrics.refused.WithLabelValues(code).Inc()
		a.logWait(ctx, path, code)
	}
	a.metrics.durations.WithLabelValues(endpoint(path), strconv.Itoa(ctx.Response.StatusCode())).Observe(time.Since(begun).Seconds())
}

// endpoint is the path as it is labelled: without names in it, so that there are few.
func endpoint(path string) string {
	if _, ok := routes[path]; ok {
		return path
	}
	if _, ok := senderRoutes[path]; ok {
		return path
	}
	if _, ok := findRoute(path); !ok {
		return "none"
	}
	switch {
	case strings.HasPrefix(path, "/ingest/"):
		return "/ingest/{topic}"
	case strings.HasSuffix(path, "/_bulk"):
		return "/_bulk"
	}
	return "elasticsearch"
}
