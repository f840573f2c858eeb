package aggregator

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	runtimemetrics "runtime/metrics"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"sekali/aggregator/api"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// newAdmin serves /metrics and, with profiles, /debug/pprof. It is a server of its own, so that a
// profile does not wait behind publishers, and a publisher cannot reach it.
func newAdmin(p *pipeline.Pipeline, s *store.Store, public *api.Server, profiles bool) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		writeMetrics(w, p, s, public)
	})
	if profiles {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return &http.Server{Handler: guarded(mux, public), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
}

// guarded wants the public API's token, if there is one, from those who do not come over the
// loopback.
func guarded(next http.Handler, public *api.Server) http.Handler {
	return local(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if !(ok && at.IP.IsLoopback()) && !public.Admits(r.Header.Get("Authorization")) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a bearer token is wanted", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// local refuses what a web page of elsewhere sends to a loopback address, pprof's profiles
// included.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refused := api.CheckOrigin(r.Header.Get("Origin"), r.Host)
		if at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && at.IP.IsLoopback() && refused == "" {
			refused = api.CheckHost(r.Host)
		}
		if refused != "" {
			http.Error(w, refused, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// writeMetrics writes the Prometheus text format. Names end in their unit.
func writeMetrics(w io.Writer, p *pipeline.Pipeline, s *store.Store, public *api.Server) {
	c := p.Counters()
	database, wal := s.Sizes()
	for _, counter := range []struct {
		name  string
		value int64
	}{
		{"sekali_received_events_total", c.Received},
		{"sekali_unique_processed_events_total", c.UniqueProcessed},
		{"sekali_duplicate_dropped_events_total", c.DuplicateDropped},
		{"sekali_conflicting_events_total", c.Conflicts},
		{"sekali_failed_events_total", c.Failed},
		{"sekali_rejected_events_total", c.Rejected},
		{"sekali_expired_events_total", c.Expired},
		{"sekali_commits_total", c.Commits},
		{"sekali_failed_commits_total", c.FailedCommits},
		{"sekali_checkpoints_total", c.Checkpoints},
		{"sekali_journal_syncs_total", c.JournalSyncs},
		{"sekali_journal_written_bytes_total", c.JournalBytes},
	} {
		metrics.WriteCounterUint64(w, counter.name, uint64(counter.value))
	}
	ready := int64(1)
	if public.Ready() != nil {
		ready = 0
	}
	for _, gauge := range []struct {
		name  string
		value int64
	}{
		{"sekali_ready", ready},
		{"sekali_queue_depth_events", c.QueueDepth},
		{"sekali_queue_bytes", c.QueueBytes},
		{"sekali_backlog_bytes", c.BacklogBytes},
		{"sekali_connections", int64(public.Connections())},
		{"sekali_heap_live_bytes", heapLive()},
		{"sekali_wal_pages", c.WALPages},
		{"sekali_wal_bytes", wal},
		{"sekali_database_bytes", database},
	} {
		metrics.WriteGaugeUint64(w, gauge.name, uint64(gauge.value))
	}
	t := p.Timings
	writeQuantiles(w, "sekali_processing_latency_seconds", t.Processing, 1e-6)
	writeQuantiles(w, "sekali_commit_seconds", t.Commit, 1e-6)
	writeQuantiles(w, "sekali_journal_sync_seconds", t.JournalSync, 1e-6)
	writeQuantiles(w, "sekali_runs_held_seconds", t.RunsHeld, 1e-6)
	writeQuantiles(w, "sekali_batch_events", t.BatchEvents, 1)
	metrics.WriteProcessMetrics(w)
	metrics.WriteFDMetrics(w)
}

// heapLive is what the last collection found in use.
func heapLive() int64 {
	sample := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// writeQuantiles writes a summary; scale turns the histogram's unit into the name's.
func writeQuantiles(w io.Writer, name string, h *pipeline.Histogram, scale float64) {
	quantiles := []float64{0.5, 0.9, 0.99, 0.999, 1}
	values, count := h.Quantiles(quantiles...)
	for i, v := range values {
		metrics.WriteGaugeFloat64(w, fmt.Sprintf(`%s{quantile="%g"}`, name, quantiles[i]), float64(v)*scale)
	}
	metrics.WriteCounterUint64(w, name+"_count", uint64(count))
}
