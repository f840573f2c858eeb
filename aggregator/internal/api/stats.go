package api

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/store"
)

// statistics is the answer to GET /stats.
type statistics struct {
	Received         int64                `json:"received"`
	UniqueProcessed  int64                `json:"unique_processed"`
	DuplicateDropped int64                `json:"duplicate_dropped"`
	Conflicts        int64                `json:"conflicts"`
	Failed           int64                `json:"failed"`
	Rejected         int64                `json:"rejected"`
	RejectedByCode   map[event.Code]int64 `json:"rejected_by_code"` // since the start
	Expired          int64                `json:"expired"`
	ExpiredSeq       int64                `json:"expired_seq"` // through which all have
	QueueDepth       int64                `json:"queue_depth"`
	QueueBytes       int64                `json:"queue_bytes"`
	Topics           []store.Topic        `json:"topics"`
	TopicsDamaged    string               `json:"topics_damaged,omitempty"`
	UptimeSeconds    float64              `json:"uptime_seconds"`
	StartedAt        string               `json:"started_at"`
	Version          string               `json:"version"`

	Ack            string          `json:"ack"`
	Ready          bool            `json:"ready"`
	LastSeq        int64           `json:"last_seq"`
	Commits        int64           `json:"commits"`
	FailedCommits  int64           `json:"failed_commits"`
	Checkpoints    int64           `json:"checkpoints"`
	JournalSyncs   int64           `json:"journal_syncs"`
	JournalBytes   int64           `json:"journal_bytes"`
	BacklogBytes   int64           `json:"backlog_bytes"`
	AllocatedBytes uint64          `json:"allocated_bytes"`
	Store          storeStatistics `json:"store"`
	Cluster        *cluster.Status `json:"cluster,omitempty"`
	Histograms     *histograms     `json:"histograms,omitempty"`
}

type storeStatistics struct {
	store.Info
	DatabaseBytes int64 `json:"db_bytes"`
	WALBytes      int64 `json:"wal_bytes"`
}

// histograms are [value, count] pairs since the start of the process.
type histograms struct {
	Processing  [][2]int64 `json:"processing_latency_us"`
	Commit      [][2]int64 `json:"commit_us"`
	JournalSync [][2]int64 `json:"journal_sync_us"`
	RunsHeld    [][2]int64 `json:"runs_held_us"`
	BatchEvents [][2]int64 `json:"batch_events"`
}

// maxTopics bounds the list in /stats.
const maxTopics = 1000

func (a *Server) stats(ctx *fasthttp.RequestCtx) {
	values, err := query(ctx, "histograms")
	if h, ok := values["histograms"]; ok && err == nil && h != "true" && h != "false" {
		err = fmt.Errorf("histograms=%.20q, want true or false", h)
	}
	if err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
		return
	}
	read, cancel := context.WithTimeout(context.Background(), readBudget)
	defer cancel()
	topics, err := a.store.Topics(read, maxTopics, readable(ctx))
	damage := ""
	if errors.Is(err, store.ErrDamaged) { // the other figures are right all the same
		damage, err = err.Error(), nil
	}
	if err != nil {
		a.unreadable(ctx, err)
		return
	}
	c := a.pipeline.Counters()
	s := statistics{
		Received: c.Received, UniqueProcessed: c.UniqueProcessed, DuplicateDropped: c.DuplicateDropped, Conflicts: c.Conflicts, Failed: c.Failed,
		Rejected: c.Rejected, RejectedByCode: a.rejected.counts(), Expired: c.Expired, ExpiredSeq: c.ExpiredSeq, QueueDepth: c.QueueDepth, QueueBytes: c.QueueBytes, Topics: topics, TopicsDamaged: damage,
		UptimeSeconds: time.Since(a.started).Seconds(), StartedAt: a.started.UTC().Format(time.RFC3339Nano),
		Version: a.cfg.Version, Ack: string(a.cfg.Ack), Ready: a.Ready() == nil, LastSeq: c.LastSeq,
		Commits: c.Commits, FailedCommits: c.FailedCommits, Checkpoints: c.Checkpoints,
		JournalSyncs: c.JournalSyncs, JournalBytes: c.JournalBytes, BacklogBytes: c.BacklogBytes,
		AllocatedBytes: allocatedBytes(), Store: storeStatistics{Info: a.store.Info},
	}
	s.Store.DatabaseBytes, s.Store.WALBytes = a.store.Sizes()
	if values["histograms"] == "true" {
		t := a.pipeline.Timings
		s.Histograms = &histograms{t.Processing.Buckets(), t.Commit.Buckets(), t.JournalSync.Buckets(), t.RunsHeld.Buckets(), t.BatchEvents.Buckets()}
	}
	if a.node != nil {
		status := a.node.Status()
		s.Cluster = &status
	}
	a.answer(ctx, fasthttp.StatusOK, s, nil)
}

// allocatedBytes is what the Go heap has handed out since the start.
func allocatedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
