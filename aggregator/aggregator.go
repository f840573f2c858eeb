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
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sekali/aggregator/internal/api"
	"sekali/aggregator/journal"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
	"sekali/internal/certificate"
	"sekali/internal/systemd"
)

const (
	// serverBudget is how long open connections may hold up a stop.
	serverBudget = 5 * time.Second
	// drainBudget is how long the queue may take to be committed after that. What is
	// in the journal and not committed then is committed after the next start.
	drainBudget = 15 * time.Second
	// memoryEvery is how often it is looked how much memory deduplication takes.
	memoryEvery = time.Second
)

// ErrConfig is wrapped by errors that a person mends in the configuration.
var ErrConfig = errors.New("configuration")

// Run runs an aggregator until ctx ends and everything accepted is committed, or until
// it cannot go on. Once it serves it logs "listening" with its addresses, and until then, every
// startingEvery, what it is at.
func Run(ctx context.Context, cfg Config, log *slog.Logger) (err error) {
	if err := cfg.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	a := &instance{cfg: cfg, log: log, failed: make(chan error, failures), hangups: make(chan os.Signal, 1),
		starting: starting{ctx: ctx, log: log, began: time.Now()}}
	if cfg.guarded() { // before the files are read: what changes them later tells by it
		signal.Notify(a.hangups, unix.SIGHUP)
		defer signal.Stop(a.hangups)
	}
	secrets, err := cfg.secrets(log)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.open(secrets); errors.Is(err, errEnded) {
		log.Info("stopped before it listened", a.starting.now()...)
		return nil
	} else if err != nil {
		return err
	}
	err = a.serve(ctx, secrets.certificate)
	return errors.Join(err, a.stop())
}

// failures is how many can be told of at once: one of each goroutine that serve starts, and of the
// two listeners beside the public one.
const failures = 7

// instance is an aggregator from its data folder to its listeners. One goroutine calls open, serve,
// stop and close, in this order, and has all fields to itself; others send to failed.
type instance struct {
	cfg     Config
	log     *slog.Logger
	closers []func() error // of what is open, the first opened first
	failed  chan error     // why it cannot go on
	hangups chan os.Signal // SIGHUPs, from before the tokens are read on

	starting starting // what open is at

	store    *store.Store
	pipeline *pipeline.Pipeline
	public   *api.Server
	ln       net.Listener
	admin    *http.Server
	metrics  *http.Server

	adminAddress, metricsAddress string

	abort              context.CancelFunc // ends the goroutines of serve, whatever waits
	committed, written chan struct{}      // closed when the committer and the writer have ended
	replicated         chan struct{}      // so of the node of a cluster; nil: there is none
}

// close closes what is open, the last opened first.
func (a *instance) close() (err error) {
	for _, closer := range slices.Backward(a.closers) {
		err = errors.Join(err, closer())
	}
	return err
}

// open takes the data folder and the addresses. Those of -admin and -metrics serve from now on.
func (a *instance) open(secrets secrets) error {
	defer a.starting.tell()()
	state, err := a.openFolder()
	if err == nil {
		err = a.openJournal(state)
	}
	if err == nil {
		err = a.starting.at("listening")
	}
	if err == nil {
		err = a.listen(secrets)
	}
	return err
}

// openFolder takes the data folder, one process alone, and opens its database.
func (a *instance) openFolder() (state store.State, err error) {
	if err := a.starting.at("taking the data folder"); err != nil {
		return state, err
	}
	if err := a.cfg.tryPorts(); err != nil {
		return state, err
	}
	unlock, err := lock(a.cfg.Data)
	if err != nil {
		return state, err
	}
	a.closers = append(a.closers, func() error { unlock(); return nil })
	if err := removeLeftovers(a.cfg.Data, a.cfg.Node); err != nil {
		return state, err
	}
	if err := journalBegun(a.cfg.Data); err != nil {
		return state, err
	}
	s, state, err := openStore(a.cfg, &a.starting)
	if errors.Is(err, store.ErrDesign) {
		return state, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err != nil {
		return state, err
	}
	a.store = s
	a.closers = append(a.closers, s.Close)
	if err := a.cfg.checkRetention(s.Info.Layout); err != nil {
		return state, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return state, nil
}

// tryPorts keeps a start that cannot listen from making a data folder. It gives the ports back: a
// start may take minutes, and whoever connected meanwhile would wait for it.
func (c *Config) tryPorts() error {
	if _, err := os.Stat(c.Data); !errors.Is(err, fs.ErrNotExist) {
		return nil // there is a folder, or lock says what is wrong
	}
	for _, port := range []struct{ flag, address string }{{"listen", c.Listen}, {"admin", c.Admin}, {"metrics", c.Metrics}} {
		if port.address == "" {
			continue
		}
		ln, err := net.Listen("tcp", port.address)
		if err != nil {
			return fmt.Errorf("-%s: %w", port.flag, err)
		}
		defer ln.Close() // all are taken at once, as they will be
	}
	return nil
}

// openJournal opens the journal that belongs to the database, and what rests on both.
func (a *instance) openJournal(state store.State) error {
	s := a.store
	if err := a.starting.at("reading the journal"); err != nil {
		return err
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
	node, err := a.openNode(j, backlog)
	if err != nil {
		return err
	}
	a.pipeline = pipeline.New(pipeline.Config{
		QueueEvents: a.cfg.QueueEvents, QueueBytes: a.cfg.QueueBytes,
		BacklogBytes: a.cfg.BacklogBytes, BatchEvents: a.cfg.BatchEvents,
		Retention: a.cfg.Retention, Intact: folder.intact, Node: node,
	}, s, j, state, backlog, a.log)
	return nil
}

// listen opens the listeners.
func (a *instance) listen(secrets secrets) (err error) {
	if a.ln, err = net.Listen("tcp", a.cfg.Listen); err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	level, _ := pipeline.ParseLevel(a.cfg.Ack) // checked in Run
	a.public = api.New(api.Config{Ack: level, MaxBodyBytes: a.cfg.MaxBodyBytes, MaxStreams: a.cfg.MaxStreams, Tokens: secrets.tokens, HMACSecret: secrets.hmac, CORSOrigin: a.cfg.CORSOrigin,
		KeepRejected: a.cfg.KeepRejected, Version: a.cfg.Version}, a.pipeline, a.store, a.log)
	metrics := newMetrics(a.pipeline, a.store, a.public, a.cfg.Version)
	a.admin, a.metrics = newAdmin(metrics, a.public, true), newAdmin(metrics, a.public, false)
	if a.adminAddress, err = serveAdmin(a.admin, a.cfg.Admin, a.failed); err != nil {
		return errors.Join(fmt.Errorf("-admin: %w", err), a.ln.Close())
	}
	if a.metricsAddress, err = serveAdmin(a.metrics, a.cfg.Metrics, a.failed); err != nil {
		return errors.Join(fmt.Errorf("-metrics: %w", err), a.ln.Close(), a.admin.Close())
	}
	return nil
}

// serve takes events until ctx ends, or until something has failed for good.
func (a *instance) serve(ctx context.Context, pair *certificate.Pair) error {
	var work context.Context
	work, a.abort = context.WithCancel(context.Background())
	a.committed, a.written = make(chan struct{}), make(chan struct{})
	go run(a.pipeline.RunWatch, work, make(chan struct{}), a.failed)
	go run(a.pipeline.RunCommitter, work, a.committed, a.failed)
	go run(a.pipeline.RunWriter, work, a.written, a.failed)
	if a.pipeline.Node() != nil {
		a.replicated = make(chan struct{})
		go run(a.runNode, work, a.replicated, a.failed)
	}
	if a.cfg.DedupMemory != nil {
		go a.watchMemory(work)
	}
	var show api.Certificate
	if pair != nil {
		show = pair.Server
	}
	go func() {
		if err := a.public.Serve(a.ln, show); err != nil {
			a.failed <- err
		}
	}()
	a.log.Info("listening", "addr", a.ln.Addr().String(), "admin", a.adminAddress, "metrics", a.metricsAddress, "data", a.cfg.Data,
		"ack", a.cfg.Ack, "backlog_events", a.pipeline.Counters().QueueDepth, "version", a.cfg.Version)
	if err := systemd.Notify("READY=1"); err != nil {
		a.log.Warn("systemd was not told", "error", err)
	}
	defer onHangup(a.hangups, func() { reloadTokens(a.cfg, a.public, a.log) })()
	select {
	case <-ctx.Done():
		a.log.Info("stopping")
		_ = systemd.Notify("STOPPING=1") // that it ends says as much
		return nil
	case err := <-a.failed:
		a.log.Error("cannot go on", "error", err)
		a.pipeline.Close() // before those end who answer
		a.abort()
		return err
	}
}

// stop refuses what comes, answers what is here, and commits what was accepted.
func (a *instance) stop() error {
	defer a.abort()
	a.pipeline.Close()
	err := a.public.Shutdown(serverBudget)
	budget := time.AfterFunc(drainBudget, a.abort)
	defer budget.Stop()
	<-a.committed
	<-a.written
	if a.replicated != nil {
		a.abort()
		<-a.replicated
	}
	err = errors.Join(err, a.admin.Close(), a.metrics.Close())
	for len(a.failed) > 0 {
		err = errors.Join(err, <-a.failed)
	}
	c := a.pipeline.Counters()
	a.log.Info("stopped", "received", c.Received, "unique_processed", c.UniqueProcessed,
		"duplicate_dropped", c.DuplicateDropped, "queue_depth", c.QueueDepth)
	return err
}

// watchMemory tells DedupMemory whenever it has changed, until ctx ends.
func (a *instance) watchMemory(ctx context.Context) {
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	for told := int64(-1); ; {
		if now := a.store.DedupBytes(); now != told {
			a.cfg.DedupMemory(now)
			told = now
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
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

func run(part func(context.Context) error, ctx context.Context, done chan<- struct{}, failed chan<- error) {
	defer close(done)
	if err := part(ctx); err != nil {
		failed <- err
	}
}

// onHangup calls reload at every SIGHUP until stop, which waits for a call under way.
func onHangup(hangups <-chan os.Signal, reload func()) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-hangups:
				reload()
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		<-done
	}
}
