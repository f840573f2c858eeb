package aggregator

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/jetstream"
	"sekali/aggregator/journal"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

const (
	// firstEpoch is that of the log that init makes.
	firstEpoch = 1
	// joinBudget is how long a new replica waits for the log, of which it has to know what it is.
	joinBudget = 30 * time.Second
	joinPause  = 200 * time.Millisecond
)

var nodeName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// errReplicaTimes: the other replicas have the times as they were received.
var errReplicaTimes = errors.New("it is a replica of a cluster, whose times are those of all replicas")

// checkCluster refuses what a cluster cannot do alike on all nodes.
func (c Config) checkCluster() error {
	if c.Cluster == "" {
		for flag, value := range map[string]string{"node": c.Node, "cluster-token-file": c.ClusterTokenFile, "cluster-ca": c.ClusterCA} {
			if value != "" {
				return fmt.Errorf("-%s=%q, which is of a cluster, without -cluster", flag, value)
			}
		}
		if c.Ack == string(pipeline.Replicated) {
			return errors.New("-ack=replicated without -cluster")
		}
		return nil
	}
	switch {
	case !nodeName.MatchString(c.Node):
		return fmt.Errorf("-node=%q, want a name of this aggregator in -cluster: small letters, digits and -", c.Node)
	case c.Dedup != "" && c.Dedup != string(store.DedupRuns):
		return fmt.Errorf("-dedup=%s with -cluster, which wants runs", c.Dedup)
	case c.Layout != "" && c.Layout != string(store.LayoutBlocks):
		return fmt.Errorf("-layout=%s with -cluster, which wants blocks", c.Layout)
	case c.MaxLag <= 0:
		return fmt.Errorf("-max-lag=%v, want more than 0", c.MaxLag)
	case c.LogKeep < 0:
		return fmt.Errorf("-log-keep=%d, want 0 or more", c.LogKeep)
	}
	return nil
}

// isReplica reports whether a store is a cluster's.
func isReplica(s *store.Store) (bool, error) {
	var n int
	err := s.Pool.QueryRow("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'cluster'").Scan(&n)
	return n > 0, err
}

// openNode makes this aggregator a node of the cluster; nil without -cluster.
func (a *instance) openNode(j *journal.Journal, backlog []journal.Frame) (*cluster.Node, error) {
	replica, err := isReplica(a.store)
	switch {
	case err != nil:
		return nil, err
	case a.cfg.Cluster == "" && replica:
		return nil, fmt.Errorf("%w: -data=%s is a replica of a cluster: without -cluster it would differ from the others", ErrConfig, a.cfg.Data)
	case a.cfg.Cluster == "":
		return nil, nil
	case a.store.Info.Dedup != store.DedupRuns:
		return nil, fmt.Errorf("%w: -cluster wants a data folder that was made with -dedup runs", ErrConfig)
	case a.store.Info.Layout != store.LayoutBlocks:
		return nil, fmt.Errorf("%w: -cluster wants a data folder that was made with -layout blocks", ErrConfig)
	}
	epoch := uint64(firstEpoch)
	if replica {
		if err := a.store.Pool.QueryRow("SELECT epoch FROM cluster").Scan(&epoch); err != nil {
			return nil, err
		}
	}
	log, err := jetstream.Dial(a.logConfig("aggregator "+a.cfg.Node), epoch)
	if err != nil {
		return nil, fmt.Errorf("%w: -cluster: %w", ErrConfig, err)
	}
	a.closers = append(a.closers, log.Close)
	if !replica {
		if err := a.join(log, len(backlog)); err != nil {
			return nil, err
		}
	}
	return a.newNode(log, j, backlog)
}

func (a *instance) logConfig(name string) jetstream.Config {
	return jetstream.Config{URLs: a.cfg.Cluster, TokenFile: a.cfg.ClusterTokenFile, CAFile: a.cfg.ClusterCA, Name: name, Logger: a.log}
}

// join makes an empty store a replica at the beginning of the log.
func (a *instance) join(log *jetstream.Log, waiting int) error {
	head, err := a.awaitHead(log)
	if err != nil {
		return fmt.Errorf("-cluster: %w", err)
	}
	var last int64
	if err := a.store.Pool.QueryRow("SELECT last_seq FROM state").Scan(&last); err != nil {
		return err
	}
	if err := a.beginEmpty(head, last != 0 || waiting != 0); err != nil {
		return err
	}
	return a.store.Change(func(c *sqlite.Conn) error { return cluster.MakeReplica(c, head.Identity, head.Apply) })
}

// beginEmpty says why a folder that is no replica cannot become one by reading the log. It warns of
// one that is empty where the log is not: this node may have had another folder.
func (a *instance) beginEmpty(head cluster.Head, hasEvents bool) error {
	join := fmt.Sprintf("`aggregator cluster join -node %s -data %s -from URL` makes it a copy of another node's", a.cfg.Node, a.cfg.Data)
	switch {
	case !slices.Contains(head.Nodes, a.cfg.Node):
		return fmt.Errorf("%w: -node=%s is none of the cluster's: %v", ErrConfig, a.cfg.Node, head.Nodes)
	case hasEvents:
		return fmt.Errorf("%w: -data=%s has events and is no replica: `aggregator cluster init -data` makes it the beginning of a new cluster", ErrConfig, a.cfg.Data)
	case head.Base != 0:
		return fmt.Errorf("%w: -data=%s is empty, and the cluster began with events up to %d: %s", ErrConfig, a.cfg.Data, head.Base, join)
	case head.First > 1:
		return fmt.Errorf("%w: -data=%s is empty, and the log begins at %d: %s", ErrConfig, a.cfg.Data, head.First, join)
	case head.Last > 0:
		a.log.Warn("the data folder is empty: this node begins anew, from the log's first message. If it had another folder, stop it and give it that", "data", a.cfg.Data, "node", a.cfg.Node, "log", head.Last)
	}
	return nil
}

// awaitHead asks a log that may be starting. One whose servers refuse the login is not waited for.
func (a *instance) awaitHead(log *jetstream.Log) (head cluster.Head, err error) {
	for end := time.Now().Add(joinBudget); ; time.Sleep(joinPause) {
		if err := a.starting.at("asking the cluster's log what it is"); err != nil {
			return head, err
		}
		if head, err = log.Head(a.starting.ctx); err == nil || time.Now().After(end) {
			return head, err
		}
		if errors.Is(err, cluster.ErrLogin) { // by all of them?
			if why := jetstream.Reach(context.Background(), a.logConfig(a.cfg.Node), 0); errors.Is(why, cluster.ErrLogin) {
				return head, why
			}
		}
	}
}

// runNode runs the node until ctx ends. Whether -node is one of the cluster's names a replica hears
// only once the log answers.
func (a *instance) runNode(ctx context.Context) error {
	err := a.pipeline.RunNode(ctx)
	if errors.Is(err, cluster.ErrNotNamed) {
		err = fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return err
}

// newNode reads how far the store is, and what is left in the outbox.
func (a *instance) newNode(log *jetstream.Log, j *journal.Journal, backlog []journal.Frame) (*cluster.Node, error) {
	cfg := cluster.Config{Name: a.cfg.Node, Version: a.cfg.Version, Log: log, Registry: log.Registry(), MaxLag: a.cfg.MaxLag, LogKeep: a.cfg.LogKeep, Retention: a.cfg.Retention, Journal: j, Logger: a.log}
	var kept []cluster.Checkpoint
	err := a.store.Change(func(c *sqlite.Conn) (err error) {
		if cfg.Replica, cfg.Cursor, err = cluster.OpenReplica(c); err == nil {
			kept, err = cluster.Checkpoints(c)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := a.starting.at("reading what waits for the cluster's log"); err != nil {
		return nil, err
	}
	node := cluster.Open(cfg, kept)
	if err := node.Outbox.Load(j, backlog, &cfg.Cursor); err != nil {
		return nil, err
	}
	return node, nil
}
