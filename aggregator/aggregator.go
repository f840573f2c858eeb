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
	"crypto/tls"
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
	"slices"
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
	// heapBeyondQueue is, beside the queue's bytes, where the collector stops letting the heap grow to
	// twice what is used and works as hard as it takes: 128 MiB of bodies, each with the copy it is
	// decoded to, and of pages; a batch, and readers of the largest events; and a third more. Without
	// it a flood of bodies of 16 MiB took the process to 1312 MiB.
	heapBeyondQueue = 960 << 20
	// limitEvery is how often that limit is raised by what the runs take by now: 1.7 GB with 1 000
	// million keys.
	limitEvery = time.Second
	// heapGrowth is by how much of what is used, in per cent, the heap grows before it is collected.
	// Most of what is used are the runs' filters, which hold no pointers: growth to 20 million events
	// took 283 MB at most with 50 and 341 with Go's own 100, for the same CPU time an event (2.85 µs;
	// one run each).
	heapGrowth = 50
	// minProcs is how many goroutines run at one time at least, whatever the machine has: the writer
	// and the merges of runs take a processor for 10 ms each before Go's scheduler takes it away, and
	// with two there would be none for a publisher meanwhile.
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
	secrets, err := cfg.secrets()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	tune(cfg)
	a := &instance{cfg: cfg, log: log, failed: make(chan error, 6)} // one for each goroutine of work and the listeners
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.open(); err != nil {
		return err
	}
	if err := a.listen(secrets); err != nil {
		return err
	}
	return a.work(ctx, secrets.certificates)
}

// tune sets what the whole process has, where the environment does not.
func tune(cfg Config) {
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
}

// instance is an aggregator from its data folder to its listeners. One goroutine calls open,
// listen, work and close, in this order.
type instance struct {
	cfg     Config
	log     *slog.Logger
	closers []func() error // of what is open, the first opened first
	failed  chan error     // why it cannot go on

	store    *store.Store
	pipeline *pipeline.Pipeline
	public   *api.Server
	ln       net.Listener
	admin    *http.Server
	metrics  *http.Server

	adminAddress, metricsAddress string
}

// close closes what is open, the last opened first.
func (a *instance) close() (err error) {
	for _, closer := range slices.Backward(a.closers) {
		err = errors.Join(err, closer())
	}
	return err
}

// open takes the data folder: one process, one database, one journal.
func (a *instance) open() error {
	unlock, err := lock(a.cfg.Data)
	if err != nil {
		return err
	}
	a.closers = append(a.closers, func() error { unlock(); return nil })
	s, state, err := openStore(a.cfg)
	if errors.Is(err, store.ErrDesign) {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err != nil {
		return err
	}
	a.store = s
	a.closers = append(a.closers, s.Close)
	if err := a.cfg.checkRetention(s.Info.Layout); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	j, backlog, err := journal.Open(filepath.Join(a.cfg.Data, "journal"), state.Journal)
	if err != nil {
		return err
	}
	a.closers = append(a.closers, j.Close)
	folder, err := newHome(a.cfg.Data)
	if err != nil {
		return err
	}
	keepReserve(a.cfg.Data)
	// Files are removed by their names: in another folder they are somebody else's.
	a.closers = append(a.closers, func() error {
		if folder.intact() != nil {
			s.Abandon()
			j.Abandon()
		} else {
			keepReserve(a.cfg.Data)
		}
		return nil
	})
	a.pipeline = pipeline.New(pipeline.Config{
		QueueEvents: a.cfg.QueueEvents, QueueBytes: a.cfg.QueueBytes,
		BacklogBytes: a.cfg.BacklogBytes, BatchEvents: a.cfg.BatchEvents,
		Retention: a.cfg.Retention, Intact: folder.intact,
	}, s, j, state, backlog, a.log)
	return nil
}

// listen opens the listeners. Those of -admin and -metrics serve from now on.
func (a *instance) listen(secrets secrets) (err error) {
	if a.ln, err = net.Listen("tcp", a.cfg.Listen); err != nil {
		return err
	}
	level, _ := pipeline.ParseLevel(a.cfg.Ack) // checked in Run
	a.public = api.New(api.Config{Ack: level, MaxBodyBytes: a.cfg.MaxBodyBytes, Token: secrets.token, HMACSecret: secrets.hmac,
		Version: a.cfg.Version}, a.pipeline, a.store, a.log)
	a.admin, a.metrics = newAdmin(a.pipeline, a.store, a.public, true), newAdmin(a.pipeline, a.store, a.public, false)
	if a.adminAddress, err = serveAdmin(a.admin, a.cfg.Admin, a.failed); err != nil {
		return errors.Join(err, a.ln.Close())
	}
	if a.metricsAddress, err = serveAdmin(a.metrics, a.cfg.Metrics, a.failed); err != nil {
		return errors.Join(err, a.ln.Close(), a.admin.Close())
	}
	return nil
}

// work serves until a signal or a failure. Then it refuses what comes, answers what is here, and
// commits what was accepted.
func (a *instance) work(ctx context.Context, certificates []tls.Certificate) (err error) {
	work, abort := context.WithCancel(context.Background())
	defer abort()
	committed, written := make(chan struct{}), make(chan struct{})
	if os.Getenv("GOMEMLIMIT") == "" {
		go limitMemory(work, heapBeyondQueue+a.cfg.QueueBytes, a.store)
	}
	go run(a.pipeline.RunWatch, work, make(chan struct{}), a.failed)
	go run(a.pipeline.RunCommitter, work, committed, a.failed)
	go run(a.pipeline.RunWriter, work, written, a.failed)
	go func() {
		if err := a.public.Serve(a.ln, certificates); err != nil {
			a.failed <- err
		}
	}()
	a.log.Info("listening", "addr", a.ln.Addr().String(), "admin", a.adminAddress, "metrics", a.metricsAddress, "data", a.cfg.Data,
		"ack", a.cfg.Ack, "backlog_events", a.pipeline.Counters().QueueDepth, "version", a.cfg.Version)
	if a.cfg.TokenFile != "" {
		stop := onHangup(func() { reloadToken(a.cfg, a.public, a.log) })
		defer stop()
	}
	select {
	case <-ctx.Done():
		a.log.Info("stopping")
	case err = <-a.failed:
		a.log.Error("cannot go on", "error", err)
		abort()
	}
	a.pipeline.Close()
	err = errors.Join(err, a.public.Shutdown(serverBudget))
	budget := time.AfterFunc(drainBudget, abort)
	defer budget.Stop()
	<-committed
	<-written
	err = errors.Join(err, a.admin.Close(), a.metrics.Close())
	for len(a.failed) > 0 {
		err = errors.Join(err, <-a.failed)
	}
	c := a.pipeline.Counters()
	a.log.Info("stopped", "received", c.Received, "unique_processed", c.UniqueProcessed,
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

// limitMemory keeps the collector's limit at so many bytes beside what deduplication takes, until
// ctx ends.
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
