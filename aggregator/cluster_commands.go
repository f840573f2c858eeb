package aggregator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/jetstream"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

// clusterBudget bounds a command on a cluster.
const clusterBudget = 20 * time.Second

// ClusterConfig is what the commands on a cluster as a whole are told.
type ClusterConfig struct {
	URLs, TokenFile, CAFile string
	Version                 string

	// Of init.
	Nodes    []string
	Replicas int
	LogBytes int64
	Data     string // "": the cluster begins with nothing

	Begin bool   // of new-epoch: this store is the furthest
	From  string // of join: the copy of another replica's database, or a peer's URL
	Node  string // of forget, and of join from a peer

	Deep  bool     // of check
	Peers []string // the URLs of the aggregators

	PeerTokenFile, PeerCA string // of join and check, to ask aggregators with

	Position uint64 // of skip: of the message that is passed over
}

// reachWait is how long a command waits for a server of the log that lets it in.
const reachWait = clusterBudget / 2

// dial connects to the log of an epoch, once one of its servers lets this client in.
func (c *ClusterConfig) dial(ctx context.Context, epoch uint64) (*jetstream.Log, error) {
	if c.URLs == "" {
		return nil, fmt.Errorf("%w: -cluster is needed", ErrConfig)
	}
	cfg := jetstream.Config{URLs: c.URLs, TokenFile: c.TokenFile, CAFile: c.CAFile, Name: "aggregator cluster",
		Logger: slog.New(slog.DiscardHandler)}
	if err := jetstream.Reach(ctx, cfg, reachWait); err != nil {
		return nil, fmt.Errorf("-cluster: %w", err)
	}
	log, err := jetstream.Dial(cfg, epoch)
	if err != nil {
		return nil, fmt.Errorf("%w: -cluster: %w", ErrConfig, err)
	}
	return log, nil
}

func (c *ClusterConfig) checkInit() error {
	if len(c.Nodes) == 0 {
		return fmt.Errorf("%w: -nodes is needed", ErrConfig)
	}
	if len(c.Nodes) < 2 {
		return fmt.Errorf("%w: -nodes=%s: two at least, or nothing would be in two stores", ErrConfig, c.Nodes[0])
	}
	for i, name := range c.Nodes {
		if !nodeName.MatchString(name) || slices.Contains(c.Nodes[:i], name) {
			return fmt.Errorf("%w: -nodes: %q, want different names of small letters, digits and -", ErrConfig, name)
		}
	}
	if c.Replicas != 1 && c.Replicas != 3 {
		return fmt.Errorf("%w: -replicas=%d, want 3, or 1", ErrConfig, c.Replicas)
	}
	if c.LogBytes < 64<<20 {
		return fmt.Errorf("%w: -log-bytes=%d, want %d at least", ErrConfig, c.LogBytes, 64<<20)
	}
	return nil
}

// ClusterInit makes the log of a new cluster. With the folder of a stopped aggregator its store
// becomes the beginning, which the other nodes get as a copy. A log that is there is left as it is.
func ClusterInit(ctx context.Context, c ClusterConfig, w io.Writer) error {
	if err := c.checkInit(); err != nil {
		return err
	}
	log, err := c.dial(ctx, firstEpoch)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(ctx, clusterBudget)
	defer cancel()
	wanted := jetstream.Wanted{Nodes: c.Nodes, Replicas: c.Replicas, Bytes: c.LogBytes, Apply: cluster.ApplyVersion}
	if c.Data == "" {
		return c.initLog(ctx, log, wanted, w, func(cluster.Head) error { return nil })
	}
	if _, err := os.Stat(filepath.Join(c.Data, store.File)); err != nil {
		return err // before lock would make the folder
	}
	unlock, err := lockByHand(c.Data)
	if err != nil {
		return err
	}
	defer unlock()
	s, state, err := openBegun(c.Data)
	if err != nil {
		return err
	}
	if err := c.checkBase(s, state); err != nil {
		return errors.Join(err, s.Close())
	}
	wanted.Base = state.LastSeq
	err = c.initLog(ctx, log, wanted, w, func(head cluster.Head) error {
		return s.Change(func(conn *sqlite.Conn) error { return cluster.MakeReplica(conn, head.Identity, head.Apply) })
	})
	return errors.Join(err, s.Close())
}

// checkBase refuses a store that cannot be the beginning of a cluster.
func (c *ClusterConfig) checkBase(s *store.Store, state store.State) error {
	replica, err := isReplica(s)
	if err != nil {
		return err
	}
	waiting, err := journal.Check(filepath.Join(c.Data, "journal"), state.Journal)
	if err != nil {
		return err
	}
	switch n := waiting.Events - state.JournalApplied; {
	case replica:
		return fmt.Errorf("%s is a replica of a cluster already", c.Data)
	case n > 0:
		return fmt.Errorf("%s: %d events wait in the journal: start the aggregator once without -cluster, and stop it", c.Data, n)
	case s.Info.Dedup != store.DedupRuns:
		return fmt.Errorf("%s was made with -dedup %s, a cluster wants runs", c.Data, s.Info.Dedup)
	case s.Info.Layout != store.LayoutBlocks:
		return fmt.Errorf("%s was made with -layout %s, a cluster wants blocks", c.Data, s.Info.Layout)
	}
	return nil
}

// initLog makes the log, and then what else has to be made for it.
func (c *ClusterConfig) initLog(ctx context.Context, log *jetstream.Log, wanted jetstream.Wanted, w io.Writer, then func(cluster.Head) error) error {
	head, err := awaitInit(ctx, log, wanted)
	if errors.Is(err, jetstream.ErrLater) && c.Data == "" {
		return c.goneOn(ctx, wanted, w)
	}
	exists := errors.Is(err, jetstream.ErrExists)
	if err != nil && !exists {
		return err
	}
	if exists && (!slices.Equal(head.Nodes, wanted.Nodes) || head.Base != wanted.Base || len(head.Faults) > 0 || wanted.Base != 0 && head.Last > 0) {
		return fmt.Errorf("there is a log already, of the nodes %s, which began with the events up to %d%s", strings.Join(head.Nodes, ","), head.Base, faultsOf(head))
	}
	if err := then(head); err != nil {
		return err
	}
	what := "made"
	if exists {
		what = "is there already"
	}
	fmt.Fprintf(w, "cluster %s: its log %s, of the nodes %s, beginning with the events up to %d\n", head.Cluster, what, strings.Join(head.Nodes, ", "), head.Base)
	return nil
}

// goneOn is initLog where the cluster is there, and has gone on with a log of a later epoch.
func (c *ClusterConfig) goneOn(ctx context.Context, wanted jetstream.Wanted, w io.Writer) error {
	log, head, err := c.reachLatest(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	if !slices.Equal(head.Nodes, wanted.Nodes) || len(head.Faults) > 0 {
		return fmt.Errorf("there is a log already, of epoch %d, of the nodes %s%s", head.Epoch, strings.Join(head.Nodes, ","), faultsOf(head))
	}
	fmt.Fprintf(w, "cluster %s: its log is there already, of epoch %d, of the nodes %s\n", head.Cluster, head.Epoch, strings.Join(head.Nodes, ", "))
	return nil
}

// faultsOf are those of a log's settings, behind what else is said of it.
func faultsOf(head cluster.Head) string {
	if len(head.Faults) == 0 {
		return ""
	}
	return ": " + strings.Join(head.Faults, "; ")
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// awaitInit tries until the servers have found each other. What no later attempt would change ends
// it.
func awaitInit(ctx context.Context, log *jetstream.Log, wanted jetstream.Wanted) (cluster.Head, error) {
	var why error
	for {
		each := clusterBudget / 4
		if wanted.May != nil {
			each += stoppedFor // which it watches
		}
		attempt, cancel := context.WithTimeout(ctx, each)
		head, err := log.Init(attempt, wanted)
		cancel()
		if err == nil || errors.Is(err, jetstream.ErrExists) || errors.Is(err, jetstream.ErrLater) || errors.Is(err, errNotStopped) || errors.Is(err, errFurther) {
			return head, err
		}
		if ctx.Err() == nil || why == nil { // that the time is up is no reason
			why = err
		}
		select {
		case <-ctx.Done():
			return head, why
		case <-time.After(joinPause):
		}
	}
}

// dialLatest is dial for the latest epoch that there is a log of.
func (c *ClusterConfig) dialLatest(ctx context.Context) (*jetstream.Log, error) {
	for end := time.Now().Add(reachWait); ; time.Sleep(joinPause) {
		log, err := c.dial(ctx, firstEpoch)
		if err != nil {
			return nil, err
		}
		epochs, err := log.Epochs(ctx)
		if err == nil && len(epochs) > 0 && epochs[len(epochs)-1] != firstEpoch {
			_ = log.Close() // it was asked
			return c.dial(ctx, epochs[len(epochs)-1])
		}
		if err == nil || ctx.Err() != nil {
			return log, nil
		}
		head, why := log.Head(ctx) // it says who is there
		if why == nil && head.Lost() != nil {
			return log, nil // there is nothing to wait for
		}
		if why != nil && time.Now().After(end) {
			return nil, errors.Join(why, log.Close())
		}
		_ = log.Close() // it is dialled again
	}
}

// reachLatest dials the log of the latest epoch, and waits for what it says of itself.
func (c *ClusterConfig) reachLatest(ctx context.Context) (*jetstream.Log, cluster.Head, error) {
	log, err := c.dialLatest(ctx)
	if err != nil {
		return nil, cluster.Head{}, err
	}
	head, err := awaitHeadOf(ctx, log)
	if err != nil {
		return nil, head, errors.Join(err, log.Close())
	}
	return log, head, nil
}

// awaitHeadOf asks until the servers have a leader, or ctx ends.
func awaitHeadOf(ctx context.Context, log *jetstream.Log) (cluster.Head, error) {
	var why error
	for {
		head, err := log.Head(ctx)
		if err == nil {
			return head, nil
		}
		if ctx.Err() == nil || why == nil { // that the time is up is no reason
			why = err
		}
		select {
		case <-ctx.Done():
			return head, why
		case <-time.After(joinPause):
		}
	}
}

// ClusterForget makes the log go on without a node that is away.
func ClusterForget(ctx context.Context, c ClusterConfig, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, clusterBudget)
	defer cancel()
	log, head, err := c.reachLatest(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	if !slices.Contains(head.Nodes, c.Node) {
		return fmt.Errorf("%w: -node=%q is none of the cluster's: %v", ErrConfig, c.Node, head.Nodes)
	}
	if err := cluster.Forget(ctx, log.Registry(), c.Node); err != nil {
		return err
	}
	fmt.Fprintf(w, "the log does not wait for %s any more: when it comes back and has fallen off the log, `aggregator cluster join` makes it anew\n", c.Node)
	return nil
}
