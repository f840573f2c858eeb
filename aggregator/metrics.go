package aggregator

import (
	"net/http"
	"runtime"
	runtimemetrics "runtime/metrics"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sekali/aggregator/internal/api"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// scrapesAtOnce bounds the scrapes that are answered at one time; 503 beyond.
const scrapesAtOnce = 4

// newMetrics serves the metrics of the whole process; docs/reference/metrics.md has each of them.
func newMetrics(p *pipeline.Pipeline, s *store.Store, public *api.Server, version string) http.Handler {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sekali_build_info",
		Help:        "1, with the aggregator's version and Go's as labels.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}})
	build.Set(1)
	registry.MustRegister(build, newCollector(p, s, public), public,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesAtOnce})
}

// figure is one metric without labels.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(look) float64
}

// look is what all figures of a scrape are taken from: the counters are of one moment.
type look struct {
	pipeline.Counters
	database, wal int64
	public        *api.Server
	cluster       *cluster.Status // nil: there is none
}

// distribution is one histogram; its bounds and values are in units of scale.
type distribution struct {
	desc   *prometheus.Desc
	of     *pipeline.Histogram
	bounds []int64
	scale  float64
}

// collector tells what the pipeline and the store count by themselves.
type collector struct {
	pipeline      *pipeline.Pipeline
	store         *store.Store
	public        *api.Server
	figures       []figure
	distributions []distribution
}

// The histograms' bounds: times in µs, and events.
var (
	timeBounds  = []int64{500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 60_000_000}
	eventBounds = []int64{1, 10, 100, 500, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000}
)

func newCollector(p *pipeline.Pipeline, s *store.Store, public *api.Server) *collector {
	c := &collector{pipeline: p, store: s, public: public}
	count := func(name, help string, of func(look) int64) {
		c.add(prometheus.CounterValue, name, help, of)
	}
	count("sekali_received_events_total", "Events accepted since the data folder was made.", func(l look) int64 { return l.Received })
	count("sekali_unique_processed_events_total", "Of them, those that are stored.", func(l look) int64 { return l.UniqueProcessed })
	count("sekali_duplicate_dropped_events_total", "Of them, those that were stored already.", func(l look) int64 { return l.DuplicateDropped })
	count("sekali_conflicting_events_total", "Of the duplicates, those that say something else than what is stored.", func(l look) int64 { return l.Conflicts })
	count("sekali_failed_events_total", "Of the accepted events, those that the database refused: dead letters.", func(l look) int64 { return l.Failed })
	count("sekali_rejected_events_total", "Events that were refused since the data folder was made, because they are not valid.", func(l look) int64 { return l.Rejected })
	count("sekali_expired_events_total", "Of the stored events, those whose content has expired.", func(l look) int64 { return l.Expired })
	count("sekali_commits_total", "Transactions committed since the data folder was made.", func(l look) int64 { return l.Commits })
	count("sekali_failed_commits_total", "Transactions that failed, and were tried again.", func(l look) int64 { return l.FailedCommits })
	count("sekali_checkpoints_total", "Copies of the WAL into the database.", func(l look) int64 { return l.Checkpoints })
	count("sekali_journal_syncs_total", "Syncs of the journal.", func(l look) int64 { return l.JournalSyncs })
	count("sekali_journal_written_bytes_total", "Bytes written to the journal.", func(l look) int64 { return l.JournalBytes })
	gauge := func(name, help string, of func(look) int64) { c.add(prometheus.GaugeValue, name, help, of) }
	gauge("sekali_ready", "1 if events are taken now, else 0.", func(l look) int64 {
		if l.public.Ready() != nil {
			return 0
		}
		return 1
	})
	gauge("sekali_queue_depth_events", "Events accepted and not committed.", func(l look) int64 { return l.QueueDepth })
	gauge("sekali_queue_bytes", "Bytes that wait in memory.", func(l look) int64 { return l.QueueBytes })
	gauge("sekali_backlog_bytes", "Bytes that wait in the journal, before it packs them.", func(l look) int64 { return l.BacklogBytes })
	gauge("sekali_connections", "Connections of the public API.", func(l look) int64 { return int64(l.public.Connections()) })
	gauge("sekali_heap_live_bytes", "What the last collection found in use.", func(look) int64 { return heapLive() })
	gauge("sekali_wal_pages", "Length of the WAL, in pages.", func(l look) int64 { return l.WALPages })
	gauge("sekali_wal_bytes", "Size of the WAL's file.", func(l look) int64 { return l.wal })
	gauge("sekali_database_bytes", "Size of the database's file.", func(l look) int64 { return l.database })
	if node := p.Node(); node != nil {
		c.addCluster(node)
	}
	t := p.Timings
	c.distributions = []distribution{
		{describe("sekali_processing_latency_seconds", "From admission to commit, an event each."), t.Processing, timeBounds, 1e-6},
		{describe("sekali_commit_seconds", "One transaction."), t.Commit, timeBounds, 1e-6},
		{describe("sekali_journal_sync_seconds", "One frame of the journal, written and synced."), t.JournalSync, timeBounds, 1e-6},
		{describe("sekali_runs_held_seconds", "What a transaction has waited for the worker that merges runs."), t.RunsHeld, timeBounds, 1e-6},
		{describe("sekali_batch_events", "Events in one transaction."), t.BatchEvents, eventBounds, 1},
	}
	return c
}

// addCluster adds the figures of a cluster's node.
func (c *collector) addCluster(node *cluster.Node) {
	for _, f := range []struct {
		name, help string
		of         func(*cluster.Status) float64
	}{
		{"sekali_cluster_position", "How far the cluster's log is in this store.", func(s *cluster.Status) float64 { return float64(s.Position) }},
		{"sekali_cluster_head", "How far the log goes, as it was asked last.", func(s *cluster.Status) float64 { return float64(s.Head) }},
		{"sekali_cluster_lag_seconds", "How long ago the log went as far as this store has not yet come.", func(s *cluster.Status) float64 { return s.LagSeconds }},
		{"sekali_cluster_log_bytes", "What the log takes on each of its servers.", func(s *cluster.Status) float64 { return float64(s.LogBytes) }},
		{"sekali_cluster_outbox_frames", "Frames of this node that are not yet in two stores.", func(s *cluster.Status) float64 { return float64(s.OutboxFrames) }},
		{"sekali_cluster_unlogged_frames", "Of them, those that the log has not taken.", func(s *cluster.Status) float64 { return float64(s.UnloggedFrames) }},
		{"sekali_cluster_log_servers", "The log's servers, as its leader told last.", func(s *cluster.Status) float64 { return float64(len(s.Peers)) }},
		{"sekali_cluster_log_servers_away", "Of them, those that its leader does not hear, and copies that no server has yet.", away},
		{"sekali_cluster_apply_version", "Version of what the log's messages lead to.", func(s *cluster.Status) float64 { return float64(s.Apply) }},
		{"sekali_cluster_checkpoint_position", "Position of the latest checkpoint of the hash.", func(s *cluster.Status) float64 { return float64(latestCheckpoint(s).Position) }},
		{"sekali_cluster_checkpoint_hash", "The first 48 bits of the hash there: the same on all nodes with that position.", checkpointHash},
		{"sekali_cluster_faults", "What is wrong with the cluster as this node sees it; /stats says what.", func(s *cluster.Status) float64 { return float64(len(s.Faults)) }},
	} {
		c.figures = append(c.figures, figure{describe(f.name, f.help), prometheus.GaugeValue, func(l look) float64 { return f.of(l.cluster) }})
	}
}

// away counts the log's servers that are, and those that are yet to take a place.
func away(s *cluster.Status) float64 {
	n := float64(max(0, s.Copies-len(s.Peers)))
	for _, p := range s.Peers {
		if p.Offline {
			n++
		}
	}
	return n
}

func latestCheckpoint(s *cluster.Status) (latest cluster.TextOfHash) {
	if n := len(s.Checkpoints); n > 0 {
		latest = s.Checkpoints[n-1]
	}
	return latest
}

// checkpointHash is as much of the hash as a metric can tell exactly.
func checkpointHash(s *cluster.Status) float64 {
	const digits = 48 / 4
	hash := latestCheckpoint(s).Hash
	n, _ := strconv.ParseUint(hash[:min(digits, len(hash))], 16, 64) // "": there is none
	return float64(n)
}

// logLeader has the name of the log's leader as its label.
var logLeader = prometheus.NewDesc("sekali_cluster_log_leader", "1, with the name of the log's leader as a label.", []string{"server"}, nil)

func describe(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

func (c *collector) add(kind prometheus.ValueType, name, help string, of func(look) int64) {
	c.figures = append(c.figures, figure{describe(name, help), kind, func(l look) float64 { return float64(of(l)) }})
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, f := range c.figures {
		to <- f.desc
	}
	for _, d := range c.distributions {
		to <- d.desc
	}
	if c.pipeline.Node() != nil {
		to <- logLeader
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	l := look{Counters: c.pipeline.Counters(), public: c.public}
	l.database, l.wal = c.store.Sizes()
	if node := c.pipeline.Node(); node != nil {
		status := node.Status()
		l.cluster = &status
		if status.Leader != "" {
			to <- prometheus.MustNewConstMetric(logLeader, prometheus.GaugeValue, 1, status.Leader)
		}
	}
	for _, f := range c.figures {
		to <- prometheus.MustNewConstMetric(f.desc, f.kind, f.of(l))
	}
	for _, d := range c.distributions {
		atMost, count, sum := d.of.Cumulative(d.bounds)
		buckets := map[float64]uint64{}
		for i, bound := range d.bounds {
			buckets[float64(bound)*d.scale] = atMost[i]
		}
		to <- prometheus.MustNewConstHistogram(d.desc, uint64(count), float64(sum)*d.scale, buckets)
	}
}

// heapLive is what the last collection found in use.
func heapLive() int64 {
	sample := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
