// Package aggregator is a pub-sub log aggregator that stores every event exactly once,
// whatever its publishers repeat and whenever it is killed.
//
//	publisher ── POST /publish ─▶ api ─▶ journal ─▶ queue ─▶ writer ─▶ SQLite, one transaction a batch
//	                              ▲        │ 202               │        which are new? dedup_store
//	                              │        └ fsync, shared     │        INSERT events, counters, position
//	                              └──────────────── 200 (ack=store) ────┘
//	reader ──── GET /events, /events/stream, /stats ─▶ read-only connections
//
// The parts: event (what is sent), api (HTTP), pipeline (queue and writer), journal
// (what survives a crash before the commit), store (SQLite). This package wires them.
package aggregator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"sekali/aggregator/api"
	"sekali/aggregator/journal"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

const (
	// serverBudget is how long open connections may hold up a stop.
	serverBudget = 5 * time.Second
	// drainBudget is how long the queue may take to be committed after that. What is
	// in the journal and not committed then is committed after the next start.
	drainBudget = 15 * time.Second
	// heapBeyondQueue is, beside the queue's bytes, where the collector stops letting the heap grow to twice what is used and
	// works as hard as it takes: 128 MiB of bodies, each with the copy it is decoded to, and of pages; a batch, and readers
	// of the largest events; and a third more. Without it a flood of bodies of 16 MiB took the process to 1312 MiB.
	heapBeyondQueue = 960 << 20
	// limitEvery is how often that limit is raised by what the runs take by now: 1.7 GB with 1 000 million keys.
	limitEvery = time.Second
	// heapGrowth is by how much of what is used, in per cent, the heap grows before it is collected. Most of what is used are the runs' filters,
	// which hold no pointers: growth to 20 million events took 283 MB at most with 50 and 341 with Go's own 100, for the same CPU
	// time an event (2.85 µs; one run each).
	heapGrowth = 50
	// minProcs is how many goroutines run at one time at least, whatever the machine has: the writer and the merges of runs take a processor
	// for 10 ms each before Go's scheduler takes it away, and with two there would be none for a publisher meanwhile.
	minProcs = 4
)

// ErrConfig is wrapped by errors that a person mends in the configuration.
var ErrConfig = errors.New("configuration")

// Run runs an aggregator until ctx ends and everything accepted is committed, or until
// it cannot go on. Once it serves it logs "listening" with its addresses.
func Run(ctx context.Context, cfg Config, log *slog.Logger) (err error) {
	if err := cfg.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	token, err := cfg.token()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	signed, err := cfg.hmacSecret()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	certificates, err := cfg.certificates()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if cfg.ProfileContention {
		runtime.SetMutexProfileFraction(10)
		runtime.SetBlockProfileRate(int(10 * time.Microsecond))
	}

	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(minProcs, runtime.GOMAXPROCS(0)))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapBeyondQueue + cfg.QueueBytes)
	}

	// The data folder: one process, one database, one journal.
	unlock, err := lock(cfg.Data)
	if err != nil {
		return err
	}
	defer unlock()
	s, state, err := openStore(cfg)
	if errors.Is(err, store.ErrDesign) {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := cfg.checkRetention(s.Info.Layout); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	j, backlog, err := journal.Open(filepath.Join(cfg.Data, "journal"), state.Journal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	folder, err := newHome(cfg.Data)
	if err != nil {
		return err
	}
	keepReserve(cfg.Data)
	// Files are removed by their names: in another folder they are somebody else's.
	defer func() {
		if folder.intact() != nil {
			s.Abandon()
			j.Abandon()
		} else {
			keepReserve(cfg.Data)
		}
	}()
	p := pipeline.New(pipeline.Config{
		QueueEvents: cfg.QueueEvents, QueueBytes: cfg.QueueBytes,
		BacklogBytes: cfg.BacklogBytes, BatchEvents: cfg.BatchEvents,
		Retention: cfg.Retention, Intact: folder.intact,
	}, s, j, state, backlog, log)

	// The listeners.
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	level, _ := pipeline.ParseLevel(cfg.Ack) // checked above
	public := api.New(api.Config{Ack: level, MaxBodyBytes: cfg.MaxBodyBytes, Token: token, HMACSecret: signed, Version: cfg.Version}, p, s, log)
	failed := make(chan error, 6) // one for each goroutine below
	admin, metrics := newAdmin(p, s, public, true), newAdmin(p, s, public, false)
	adminAddress, err := serveAdmin(admin, cfg.Admin, failed)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	metricsAddress, err := serveAdmin(metrics, cfg.Metrics, failed)
	if err != nil {
		return errors.Join(err, ln.Close(), admin.Close())
	}

	// The work, until a signal or a failure.
	work, abort := context.WithCancel(context.Background())
	defer abort()
	committed, written := make(chan struct{}), make(chan struct{})
	if os.Getenv("GOMEMLIMIT") == "" {
		go limitMemory(work, heapBeyondQueue+cfg.QueueBytes, s)
	}
	go run(p.RunWatch, work, make(chan struct{}), failed)
	go run(p.RunCommitter, work, committed, failed)
	go run(p.RunWriter, work, written, failed)
	go func() {
		if err := public.Serve(ln, certificates); err != nil {
			failed <- err
		}
	}()
	log.Info("listening", "addr", ln.Addr().String(), "admin", adminAddress, "metrics", metricsAddress, "data", cfg.Data, "ack", cfg.Ack,
		"backlog_events", p.Counters().QueueDepth, "version", cfg.Version)
	if cfg.TokenFile != "" {
		stop := onHangup(func() { reloadToken(cfg, public, log) })
		defer stop()
	}
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-failed:
		log.Error("cannot go on", "error", err)
		abort()
	}

	// The stop: refuse what comes, answer what is here, commit what was accepted.
	p.Close()
	err = errors.Join(err, public.Shutdown(serverBudget))
	budget := time.AfterFunc(drainBudget, abort)
	defer budget.Stop()
	<-committed
	<-written
	err = errors.Join(err, admin.Close(), metrics.Close())
	for len(failed) > 0 {
		err = errors.Join(err, <-failed)
	}
	c := p.Counters()
	log.Info("stopped", "received", c.Received, "unique_processed", c.UniqueProcessed,
		"duplicate_dropped", c.DuplicateDropped, "queue_depth", c.QueueDepth)
	return err
}

// serveAdmin serves at an address and returns the real one; of "" it does nothing.
func serveAdmin(server *http.Server, address string, failed chan<- error) (string, error) {
	if address == "" {
		return "", nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	go func() {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return ln.Addr().String(), nil
}

// limitMemory keeps the collector's limit at so many bytes beside what deduplication takes, until ctx ends.
func limitMemory(ctx context.Context, bytes int64, s *store.Store) {
	ticker := time.NewTicker(limitEvery)
	defer ticker.Stop()
	for limit := bytes; ; {
		if now := bytes + s.DedupBytes(); now != limit { // setting it stops the world
			debug.SetMemoryLimit(now)
			limit = now
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func run(part func(context.Context) error, ctx context.Context, done chan<- struct{}, failed chan<- error) {
	defer close(done)
	if err := part(ctx); err != nil {
		failed <- err
	}
}

// reloadToken reads the token file again; while it cannot be used, the old token stays.
func reloadToken(cfg Config, public *api.Server, log *slog.Logger) {
	token, err := cfg.token()
	if err != nil {
		log.Error("the token stays as it was", "error", err)
		return
	}
	public.SetToken(token)
	log.Info("token reloaded", "file", cfg.TokenFile)
}

// onHangup calls reload at every SIGHUP until stop, which waits for a call under way.
func onHangup(reload func()) (stop func()) {
	hangup, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangup, unix.SIGHUP)
	go func() {
		defer close(done)
		for range hangup {
			reload()
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(hangup)
		<-done
	}
}
