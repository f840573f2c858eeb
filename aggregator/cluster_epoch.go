package aggregator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/jetstream"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

// ClusterNewEpoch makes the replica in a stopped aggregator's folder go on with a new log. With
// Begin it makes that log: the replica has to be the furthest. Without, there has to be one that
// begins where this replica is; one that is elsewhere is made from a copy, by ClusterJoin.
func ClusterNewEpoch(ctx context.Context, c ClusterConfig, w io.Writer) (err error) {
	if c.Data == "" {
		return fmt.Errorf("%w: -data is needed", ErrConfig)
	}
	if c.Begin {
		if err := c.checkInit(); err != nil {
			return err
		}
	}
	unlock, s, state, err := openStopped(c.Data)
	if err != nil {
		return err
	}
	defer unlock()
	defer func() { err = errors.Join(err, s.Close()) }()
	var replica *cluster.Replica
	if err := s.Change(func(conn *sqlite.Conn) (err error) {
		replica, _, err = cluster.OpenReplica(conn)
		return err
	}); err != nil {
		return err
	}
	at := cluster.Checkpoint{Position: replica.Position, Hash: replica.Hash}
	log, err := c.dial(ctx, replica.Identity.Epoch+1)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(ctx, clusterBudget+stoppedFor)
	defer cancel()
	var head cluster.Head
	if c.Begin {
		head, err = c.beginEpoch(ctx, log, replica, state, w)
	} else {
		head, err = awaitHeadOf(ctx, log)
	}
	switch {
	case err != nil:
		return err
	case head.Cluster != replica.Identity.Cluster:
		return fmt.Errorf("the log of epoch %d is of the cluster %s, and %s of %s", head.Epoch, head.Cluster, c.Data, replica.Identity.Cluster)
	case head.From != at:
		return fmt.Errorf("the log of epoch %d begins where a replica was at %d with the hash %v, and %s is at %d with %v: "+
			"make it from a copy of a replica that has moved, with `aggregator cluster join`", head.Epoch, head.From.Position, head.From.Hash, c.Data, at.Position, at.Hash)
	}
	if err := s.Change(func(conn *sqlite.Conn) error { return cluster.MoveReplica(conn, head.Identity) }); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s was at %d of epoch %d, and goes on with epoch %d of the cluster %s\n", c.Data, at.Position, replica.Identity.Epoch, head.Epoch, head.Cluster)
	return nil
}

// beginEpoch makes the log of a new epoch. One that an earlier attempt has made is as good.
func (c *ClusterConfig) beginEpoch(ctx context.Context, log *jetstream.Log, replica *cluster.Replica, state store.State, w io.Writer) (cluster.Head, error) {
	wanted := jetstream.Wanted{Nodes: c.Nodes, Replicas: c.Replicas, Bytes: c.LogBytes, Base: state.LastSeq, Apply: replica.Apply, Cluster: replica.Identity.Cluster,
		From: cluster.Checkpoint{Position: replica.Position, Hash: replica.Hash},
		May: func(ctx context.Context) error {
			told, err := log.Told(ctx)
			if err == nil {
				err = checkStopped(ctx, log.Registry(), slices.Concat(told, c.Nodes), w)
			}
			if err != nil {
				return err
			}
			return c.checkFurthest(ctx, log.Registry(), replica, told, w) // which no longer changes
		}}
	head, err := awaitInit(ctx, log, wanted)
	switch {
	case !errors.Is(err, jetstream.ErrExists) || head.Last > 0:
		return head, err
	case !slices.Equal(head.Nodes, c.Nodes):
		return head, fmt.Errorf("the log of epoch %d is made already, of the nodes %s: say -nodes %[2]s", head.Epoch, strings.Join(head.Nodes, ","))
	}
	return head, nil
}

// stoppedFor is how long a node is watched before it counts as stopped. One that was killed and
// started again tells nothing for the first three of these seconds.
const stoppedFor = 5 * time.Second

// errNotStopped means that a log must not begin yet.
var errNotStopped = errors.New("not all aggregators are stopped")

// checkStopped refuses to begin while a node runs: what it goes on to apply of the log before, and
// may acknowledge, would be in no other store. A node that runs tells each second how far it is.
// One that does not reach the log's servers cannot be seen, and that is written.
func checkStopped(ctx context.Context, registry cluster.Registry, nodes []string, w io.Writer) error {
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	before := map[string]uint64{}
	for _, name := range nodes {
		_, revision, err := registry.Get(ctx, name)
		if err != nil {
			return err
		}
		before[name] = revision
	}
	select {
	case <-time.After(stoppedFor):
	case <-ctx.Done():
		return ctx.Err()
	}
	var running []string
	for _, name := range nodes {
		value, revision, err := registry.Get(ctx, name)
		if err != nil {
			return err
		}
		var b cluster.Beat
		if revision != before[name] && (json.Unmarshal(value, &b) != nil || !b.Left) {
			running = append(running, name)
		}
	}
	if len(running) > 0 {
		return fmt.Errorf("%w: these go on to tell how far they are: %s", errNotStopped, strings.Join(running, ", "))
	}
	fmt.Fprintf(w, "the nodes %s have told nothing for %v: one that runs and does not reach the log's servers could not be seen\n", strings.Join(nodes, ", "), stoppedFor)
	return nil
}

// errFurther means that a log must not begin with a replica.
var errFurther = errors.New("another replica is further")

// checkFurthest refuses to begin with a replica if another of the nodes has told that it was
// further. Of one that told and is no longer in -nodes it is only written: its folder may be lost.
// What the nodes had told may have gone with the log.
func (c *ClusterConfig) checkFurthest(ctx context.Context, registry cluster.Registry, replica *cluster.Replica, told []string, w io.Writer) error {
	names := slices.Concat(told, c.Nodes)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		value, _, err := registry.Get(ctx, name)
		if err != nil {
			return err
		}
		var b cluster.Beat
		if json.Unmarshal(value, &b) != nil || b.Cluster != replica.Identity.Cluster || b.Epoch != replica.Identity.Epoch {
			continue // it has told nothing, or nothing of this log
		}
		switch {
		case b.Joining || b.Position <= replica.Position:
		case !slices.Contains(c.Nodes, name):
			fmt.Fprintf(w, "node %s, which is not in -nodes, was at %d, and %s is at %d: what only that node has stored will be missing\n", name, b.Position, c.Data, replica.Position)
		default:
			return fmt.Errorf("%w: node %s was at %d, and %s is at %d: begin with its folder", errFurther, name, b.Position, c.Data, replica.Position)
		}
	}
	return nil
}

// openStopped takes the folder of a stopped aggregator, and opens its store.
func openStopped(data string) (unlock func(), s *store.Store, state store.State, err error) {
	if _, err := os.Stat(filepath.Join(data, store.File)); err != nil {
		return nil, nil, state, err // before lock would make the folder
	}
	if unlock, err = lockByHand(data); err != nil {
		return nil, nil, state, err
	}
	if s, state, err = openBegun(data); err != nil {
		unlock()
		return nil, nil, state, err
	}
	return unlock, s, state, nil
}

// checkReplica tells how far a replica is, if the folder is one, and adds what is wrong with it.
func checkReplica(data string, w io.Writer, faults []string) (is bool, _ []string, err error) {
	err = store.View(data, func(c *sqlite.Conn) error {
		if is, err = cluster.IsReplica(c); err != nil || !is {
			return err
		}
		r, cursor, err := cluster.OpenReplica(c)
		if errors.Is(err, cluster.ErrTrigger) {
			faults = append(faults, err.Error())
			return nil
		}
		if err == nil {
			fmt.Fprintf(w, "replica: of the cluster %s, epoch %d, at %d, hash %v, %d senders\n", r.Identity.Cluster, r.Identity.Epoch, r.Position, r.Hash, len(cursor.Sessions))
		}
		return err
	})
	return is, faults, err
}
