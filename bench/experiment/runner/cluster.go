package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/bench/system/cluster"
	"sekali/bench/system/process"
)

const (
	// clusterAnswerTimeout bounds one attempt at a cluster, whose nodes wait for a quorum for 10 s.
	clusterAnswerTimeout = 15 * time.Second
	// levelTimeout bounds the time in which no replica comes further, while they are apart.
	levelTimeout = 2 * time.Minute
	// settled is how far apart two looks are that have to find them there.
	settled = 500 * time.Millisecond
)

// replicas is a cluster that is measured. The session's aggregator is its first node: figures that
// a node has of itself are that one's.
type replicas struct {
	cluster *cluster.Cluster
	nodes   []*aggregator // in the order of the machines
	logs    []*logServer

	mu     sync.Mutex
	joiner *process.Process // that made a node anew, also when it has ended; nil: none did
}

// join makes what a process uses the cluster's.
func (r *replicas) join(p *process.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joiner = p
}

// logServer is a machine's log server, with what its predecessors have used.
type logServer struct {
	cluster *cluster.Cluster
	machine *cluster.Machine

	mu       sync.Mutex
	current  *process.Process
	expected bool             // its end is our doing
	counted  *process.Process // the last one whose usage is in past
	past     process.Usage    // of the processes that have ended
}

// LogProgram is the program of the log servers: beside the aggregator's, as make builds both.
func LogProgram(aggregator string) string {
	return filepath.Join(filepath.Dir(aggregator), "sekali-log")
}

// cannotCluster says why a cluster cannot be started; nil: it can, or none is wanted.
func (c *Config) cannotCluster(s scenario.Settings) error {
	switch {
	case s.Cluster.Nodes == 0:
		return nil
	case c.external():
		return errors.New("a cluster is started for the case, and cannot be one that is running already")
	}
	if _, err := os.Stat(LogProgram(c.Aggregator)); err != nil {
		return fmt.Errorf("%s is not built: make log", LogProgram(c.Aggregator))
	}
	return nil
}

// startCluster starts log servers and aggregators, all of whose logs go to one place.
func (s *session) startCluster(ctx context.Context, log io.Writer) error {
	shared, wanted := &sharedWriter{w: log}, s.job.settings.Cluster
	var err error
	if s.job.settings.Fault.Kind == scenario.Partition {
		if s.network, err = cluster.NewNetwork(wanted.Nodes); err != nil {
			return err
		}
	}
	c, err := cluster.StartLogs(ctx, cluster.Config{Dir: s.data, Network: s.network, LogServer: LogProgram(s.config.Aggregator), Aggregator: s.config.Aggregator,
		Nodes: wanted.Nodes, Replicas: wanted.Replicas, LazySync: wanted.Lazy(), Flags: s.run.Aggregator.Flags, Log: func(string) io.Writer { return shared }})
	if err != nil {
		return err
	}
	s.replicas = &replicas{cluster: c}
	s.run.Cluster = clusterOf(wanted)
	for _, m := range c.Machines {
		s.replicas.logs = append(s.replicas.logs, &logServer{cluster: c, machine: m, current: m.Log})
	}
	failures := make([]error, len(c.Machines))
	s.replicas.nodes = make([]*aggregator, len(c.Machines))
	var starting sync.WaitGroup
	for i, m := range c.Machines {
		starting.Go(func() { s.replicas.nodes[i], failures[i] = startAggregator(ctx, m.NodeConfig) })
	}
	starting.Wait()
	s.aggregator = s.replicas.nodes[0]
	return errors.Join(failures...)
}

// clusterOf is a cluster as run.json has it.
func clusterOf(c scenario.Cluster) *record.Cluster {
	return &record.Cluster{Nodes: c.Nodes, Replicas: c.Replicas, Sync: c.Sync}
}

// sharedWriter takes whole lines from several processes.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sharedWriter) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(line)
}

// others are the nodes beside the first; none where there is one aggregator alone.
func (r *replicas) others() []*aggregator {
	if r == nil {
		return nil
	}
	return r.nodes[1:]
}

// urls are those of the other nodes.
func (r *replicas) urls() (urls []string) {
	for _, a := range r.others() {
		urls = append(urls, a.url)
	}
	return urls
}

// watch calls failed if a process of the cluster ends without our doing. The first node is watched
// as every aggregator is.
func (r *replicas) watch(ctx context.Context, failed func(error)) {
	if r == nil {
		return
	}
	for _, a := range r.others() {
		go a.watch(ctx, failed)
	}
	for _, l := range r.logs {
		go l.watch(ctx, failed)
	}
}

func (l *logServer) watch(ctx context.Context, failed func(error)) {
	for ctx.Err() == nil {
		l.mu.Lock()
		p := l.current
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-p.Exited():
		}
		l.mu.Lock()
		ours := l.expected || l.current != p
		l.mu.Unlock()
		if !ours {
			exit, _ := p.Wait(ctx)
			failed(fmt.Errorf("%s ended by itself: %s; its log is in %s", l.machine.LogName, exit, logFile))
			return
		}
		sleep(ctx, sampleInterval)
	}
}

// end ends the log server by a signal.
func (l *logServer) end(ctx context.Context, signal syscall.Signal) error {
	l.mu.Lock()
	l.expected = true
	p := l.current
	l.mu.Unlock()
	bounded, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := p.Signal(signal); err != nil {
		return err
	}
	exit, err := p.Wait(bounded)
	if err == nil && signal == syscall.SIGTERM && exit.Code != 0 {
		err = fmt.Errorf("%s answered SIGTERM with %s", l.machine.LogName, exit)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.past.CPUNS += exit.Usage.CPUNS
	l.past.WriteBytes += exit.Usage.WriteBytes
	l.counted = p
	return err
}

// start starts the next one, on the same folder.
func (l *logServer) start() error {
	if err := l.cluster.StartLog(l.machine); err != nil { // which takes a while: the samples go on
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current, l.expected = l.machine.Log, false
	return nil
}

// usage is what its processes have used so far.
func (l *logServer) usage() process.Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := l.past
	if l.current == l.counted {
		return total
	}
	if now, err := l.current.Usage(); err == nil {
		total.CPUNS, total.WriteBytes, total.RSSBytes = total.CPUNS+now.CPUNS, total.WriteBytes+now.WriteBytes, now.RSSBytes
	}
	return total
}

// usage is what the whole system under test has used: of a cluster, all of its processes together.
func (s *session) usage() process.Usage {
	total := s.aggregator.usage()
	if s.replicas == nil {
		return total
	}
	add := func(u process.Usage) {
		total.CPUNS, total.WriteBytes, total.RSSBytes = total.CPUNS+u.CPUNS, total.WriteBytes+u.WriteBytes, total.RSSBytes+u.RSSBytes
	}
	for _, a := range s.replicas.others() {
		add(a.usage())
	}
	for _, l := range s.replicas.logs {
		add(l.usage())
	}
	s.replicas.mu.Lock()
	defer s.replicas.mu.Unlock()
	if p := s.replicas.joiner; p != nil {
		if now, err := p.Usage(); err == nil {
			add(now)
		}
	}
	return total
}

// named finds who has a role now. For a machine that is its log server and its aggregator.
func (r *replicas) named(ctx context.Context, role string) (l *logServer, a *aggregator, err error) {
	if role == scenario.RoleNode {
		return nil, r.nodes[0], nil
	}
	now, err := r.nodes[0].stats(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	for i, candidate := range r.logs {
		leads := strings.HasPrefix(now.Cluster.LogLeader, candidate.machine.LogName)
		switch {
		case role == scenario.LogLeader && leads, role == scenario.LogFollower && !leads:
			return candidate, nil, nil
		case role == scenario.LeaderMachine && leads:
			return candidate, r.nodes[i], nil
		}
	}
	return nil, nil, fmt.Errorf("nobody is the %s: the log's leader is %q", role, now.Cluster.LogLeader)
}

// breakRole ends who has a role in the cluster, starts it again, and returns when every node is
// ready.
func (s *session) breakRole(ctx context.Context, fault scenario.Fault, startedAt time.Time) (*record.FaultTimes, error) {
	l, a, err := s.replicas.named(ctx, fault.Role)
	if err != nil {
		return nil, err
	}
	first := a == s.aggregator
	if first {
		s.histograms.interrupt(ctx, a)
	}
	if !sleep(ctx, time.Until(startedAt.Add(time.Duration(fault.At)))) {
		return nil, ctx.Err()
	}
	since := func() int64 { return int64(time.Since(startedAt)) }
	times := &record.FaultTimes{Kind: fault.Kind, Role: fault.Role, AtNS: since()}
	signal := map[bool]syscall.Signal{true: syscall.SIGKILL, false: syscall.SIGTERM}[fault.Kind == scenario.Sigkill]
	var ending sync.WaitGroup
	var logErr, nodeErr error
	if l != nil {
		ending.Go(func() { logErr = l.end(ctx, signal) })
	}
	if a != nil {
		ending.Go(func() { nodeErr = a.end(ctx, signal) })
	}
	ending.Wait()
	if err := errors.Join(logErr, nodeErr); err != nil {
		return nil, err
	}
	times.ExitedNS = since()
	if !sleep(ctx, time.Duration(fault.RestartAfter)) {
		return nil, ctx.Err()
	}
	times.RestartedNS = since()
	if l != nil {
		if err := l.start(); err != nil {
			return nil, err
		}
	}
	if a != nil {
		restartedAt, err := a.start(ctx)
		if err != nil {
			return nil, err
		}
		if first {
			s.histograms.resume(restartedAt)
		}
	}
	if err := s.replicas.awaitReady(ctx); err != nil {
		return nil, err
	}
	times.ReadyNS = since()
	return times, nil
}

// awaitReady waits until every node is ready, readyTimeout at most.
func (r *replicas) awaitReady(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, node := range r.nodes {
		if err := node.process().WaitReady(bounded); err != nil {
			return err
		}
	}
	return nil
}

// level waits until nothing is queued anywhere, and all replicas are at one position with one hash,
// and are still there a moment later: what a node has just acknowledged may be on its way to the
// log.
func (r *replicas) level(ctx context.Context) error {
	if r == nil {
		return nil
	}
	return awaitLevel(ctx, levelTimeout, settled, r.places)
}

// awaitLevel looks until the places are level, twice in a row, or have not moved for so long. What
// is there before a load may take minutes to be applied.
func awaitLevel(ctx context.Context, most, every time.Duration, look func(context.Context) (places []place, level bool)) error {
	var last []place
	was, moved := false, time.Now()
	for {
		places, level := look(ctx)
		same := slices.Equal(places, last)
		switch {
		case same && level && was:
			return nil
		case !same:
			moved = time.Now()
		case time.Since(moved) > most:
			return fmt.Errorf("the replicas have not come to one place, nor moved for %v: %+v", most, places)
		}
		last, was = places, level
		if !sleep(ctx, every) {
			return fmt.Errorf("the replicas have not come to one place: %w: %+v", ctx.Err(), places)
		}
	}
}

// place is how far a replica is.
type place struct {
	Seq      int64
	Position uint64
	Hash     string
}

// places are where the nodes are; level if that is the same place, and nothing is queued.
func (r *replicas) places(ctx context.Context) (places []place, level bool) {
	level = true
	for i, a := range r.nodes {
		now, err := a.stats(ctx, false)
		places = append(places, place{now.LastSeq, now.Cluster.Position, now.Cluster.Hash})
		level = level && err == nil && now.QueueDepth == 0 && now.Cluster.Unlogged == 0 && places[i] == places[0]
	}
	return places, level
}

// audit adds to a report what the replicas are to each other, and ends all but the first.
func (r *replicas) audit(ctx context.Context, report *audit.Report, after int64, unique uint64) error {
	if r == nil {
		return nil
	}
	checks, findings, err := r.compare(ctx, after)
	if err != nil {
		return err
	}
	report.AddChecks(checks...)
	report.Findings = append(report.Findings, findings...)
	if checks, err = r.endOthers(ctx, unique); err != nil {
		return err
	}
	report.AddChecks(checks...)
	return nil
}

// compare holds all replicas to each other: what each gives, event by event.
func (r *replicas) compare(ctx context.Context, after int64) ([]audit.Check, []string, error) {
	var all []audit.Replica
	for i, a := range r.nodes {
		all = append(all, audit.Replica{Name: r.cluster.Machines[i].NodeName, Events: audit.Export(ctx, a.client, a.url, a.token, after)})
	}
	return audit.CompareReplicas(all)
}

// endOthers stops the other nodes and looks into their databases.
func (r *replicas) endOthers(ctx context.Context, unique uint64) (checks []audit.Check, err error) {
	for _, a := range r.others() {
		if err := a.end(ctx, syscall.SIGTERM); err != nil {
			return nil, err
		}
		database, err := audit.InspectDatabase(ctx, a.config.Data)
		if err != nil {
			return nil, err
		}
		broken := uint64(0)
		if database.Integrity != "ok" {
			broken = 1
		}
		checks = append(checks, audit.Equal(audit.ReplicaDatabaseEvents, database.Events, unique), audit.None(audit.ReplicaDatabaseBroken, broken))
	}
	return checks, nil
}

// kill ends every process of the cluster that still runs, and waits for it.
func (r *replicas) kill() {
	if r == nil {
		return
	}
	for _, a := range r.nodes {
		if a == nil {
			continue
		}
		if p := a.process(); p != nil {
			p.Kill()
			<-p.Exited()
		}
	}
	for _, l := range r.logs {
		l.current.Kill()
		<-l.current.Exited()
	}
}
