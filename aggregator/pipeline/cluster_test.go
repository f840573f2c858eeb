package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekali/aggregator/cluster"
	"sekali/aggregator/cluster/memorylog"
	"sekali/aggregator/event"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

// clusterNode is an aggregator of a cluster on a log in memory, run as the aggregator runs it.
type clusterNode struct {
	t      *testing.T
	name   string
	dir    string
	log    *memorylog.Log
	p      *Pipeline
	s      *store.Store
	j      *journal.Journal
	abort  context.CancelFunc
	done   sync.WaitGroup
	failed chan error
}

func newClusterNode(t *testing.T, name string, log *memorylog.Log) *clusterNode {
	n := &clusterNode{t: t, name: name, dir: t.TempDir(), log: log}
	n.start()
	return n
}

func (n *clusterNode) start() {
	n.t.Helper()
	s, state, err := store.Open(n.dir, store.Design{})
	if err != nil {
		n.t.Fatal(err)
	}
	j, backlog, err := journal.Open(filepath.Join(n.dir, "journal"), state.Journal)
	if err != nil {
		n.t.Fatal(err)
	}
	var node *cluster.Node
	err = s.Change(func(c *sqlite.Conn) error {
		if is, err := cluster.IsReplica(c); err != nil {
			return err
		} else if !is {
			if err := cluster.MakeReplica(c, n.log.Identity()); err != nil {
				return err
			}
		}
		replica, cursor, err := cluster.OpenReplica(c)
		if err != nil {
			return err
		}
		kept, err := cluster.Checkpoints(c)
		node = cluster.Open(cluster.Config{Name: n.name, Log: n.log, Registry: n.log.Registry(), MaxLag: 5 * time.Second, DoubtAfter: 20 * time.Millisecond, Journal: j,
			Replica: replica, Cursor: cursor, Logger: slog.New(slog.DiscardHandler)}, kept)
		return errors.Join(err, node.Outbox.Load(j, backlog, &cursor))
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.s, n.j, n.failed = s, j, make(chan error, 3)
	n.p = New(Config{QueueEvents: 1000, QueueBytes: 1 << 20, BacklogBytes: 64 << 20, BatchEvents: 50, Node: node}, s, j, state, backlog, slog.New(slog.DiscardHandler))
	ctx, abort := context.WithCancel(context.Background())
	n.abort = abort
	for _, run := range []func(context.Context) error{n.p.RunCommitter, n.p.RunWriter, n.p.RunNode} {
		n.done.Go(func() { n.failed <- run(ctx) })
	}
}

// kill stops as near to a crash as one process gets: nothing is drained.
func (n *clusterNode) kill() {
	n.t.Helper()
	n.abort()
	n.done.Wait()
	n.close()
}

// stop drains. The node itself goes on until it is told.
func (n *clusterNode) stop() {
	n.t.Helper()
	n.p.Close()
	for range 2 {
		if err := <-n.failed; err != nil {
			n.t.Error(err)
		}
	}
	n.abort()
	n.done.Wait()
	n.close()
}

func (n *clusterNode) close() {
	n.t.Helper()
	if err := errors.Join(n.s.Close(), n.j.Close()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *clusterNode) applied() []string {
	r := replicaRig{t: n.t, s: n.s}
	return r.applied()
}

// awaitPosition waits until the node has applied the log up to there.
func (n *clusterNode) awaitPosition(position uint64) {
	n.t.Helper()
	if !n.p.Node().Await(position, 20*time.Second) {
		n.t.Fatalf("%s is not at %d after 20 s: %v", n.name, position, n.p.Node().Halted())
	}
}

func requestOf(ids ...string) *event.Request {
	r := event.NewRequest(0)
	for _, id := range ids {
		if err := r.Add(&event.Fields{Topic: []byte("t"), ID: []byte(id), Timestamp: []byte("2026-11-23T06:41:10Z"), Payload: []byte(`"` + id + `"`)}); err != nil {
			panic(err)
		}
	}
	return r
}

// TestReplicasAgree publishes to three nodes, with repeats to one and to another, over a log that
// loses messages, answers and both, and stores some twice, while nodes are killed. What was
// acknowledged is in every replica once, in one order, and the hashes are the same.
func TestReplicasAgree(t *testing.T) {
	log := memorylog.New("a", "b", "c")
	var fate atomic.Uint64
	var calm atomic.Bool
	log.Fate = func([]byte) memorylog.Fate {
		if calm.Load() {
			return memorylog.Fate{}
		}
		switch fate.Add(1) % 23 {
		case 3:
			return memorylog.Fate{Lost: true, Silent: true}
		case 7:
			return memorylog.Fate{Silent: true}
		case 11:
			return memorylog.Fate{Repeated: true}
		case 17:
			return memorylog.Fate{Refused: cluster.ErrUnreachable}
		}
		return memorylog.Fate{}
	}
	nodes := []*clusterNode{newClusterNode(t, "a", log), newClusterNode(t, "b", log), newClusterNode(t, "c", log)}
	var locks [3]sync.RWMutex // held for writing while a node is killed and started
	for _, n := range nodes {
		awaitProof(t, n)
	}
	var acked sync.Map
	var publishers sync.WaitGroup
	end := time.Now().Add(4 * time.Second)
	for publisher := range 6 {
		publishers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(publisher), 1))
			for i := 0; time.Now().Before(end); i++ {
				ids := []string{fmt.Sprint(publisher, "-", i), fmt.Sprint("shared-", random.IntN(300))}
				level := []Level{Replicated, Store, Journal, Replicated}[random.IntN(4)]
				for tried := false; time.Now().Before(end); tried = true {
					at := random.IntN(3)
					locks[at].RLock()
					_, err := nodes[at].p.Publish(level, requestOf(ids...))
					locks[at].RUnlock()
					if err == nil && (tried || random.IntN(4) > 0) { // sometimes as if it had not heard
						acked.Store(ids[0], true)
						acked.Store(ids[1], true)
						break
					}
				}
			}
		})
	}
	for at := 0; time.Now().Before(end); at = (at + 1) % 3 {
		time.Sleep(700 * time.Millisecond)
		locks[at].Lock()
		nodes[at].kill()
		nodes[at].start()
		locks[at].Unlock()
	}
	publishers.Wait()
	calm.Store(true)
	compareNodes(t, log, nodes, &acked)
}

// awaitProof waits until the node acknowledges at every level.
func awaitProof(t *testing.T, n *clusterNode) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); n.p.Ready(Replicated) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(n.p.Ready(Replicated))
		}
	}
}

// compareNodes stops all nodes once their outboxes are in the log, and compares them.
func compareNodes(t *testing.T, log *memorylog.Log, nodes []*clusterNode, acked *sync.Map) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := 0
		for _, n := range nodes {
			_, unlogged := n.p.Node().Outbox.Depth()
			left += unlogged
		}
		if left == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d frames are not in the log after 20 s", left)
		}
	}
	head, err := log.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for _, n := range nodes {
		n.awaitPosition(head.Last)
		all = append(all, n.applied())
	}
	for i := range all[1:] {
		if !slices.Equal(all[0], all[i+1]) {
			t.Errorf("replica %s differs from %s: %d and %d lines", nodes[i+1].name, nodes[0].name, len(all[i+1]), len(all[0]))
		}
	}
	stored := map[string]int{}
	for _, line := range all[0] {
		if fields := strings.Fields(line); len(fields) == 6 && fields[1] == "t" {
			stored[fields[2]]++
		}
	}
	wanted, missing := 0, 0
	acked.Range(func(id, _ any) bool {
		wanted++
		if stored[id.(string)] != 1 {
			missing++
		}
		return true
	})
	if missing > 0 || wanted < 100 {
		t.Errorf("of %d events that were acknowledged, %d are not stored once", wanted, missing)
	}
	t.Logf("%d acknowledged, %d messages in the log", wanted, head.Last)
	for _, n := range nodes {
		c := n.p.Counters()
		if c.Received != c.UniqueProcessed+c.DuplicateDropped+c.Failed+c.QueueDepth {
			t.Errorf("%s: received %d, counted %+v", n.name, c.Received, c)
		}
		n.stop()
		if entries, err := os.ReadDir(filepath.Join(n.dir, "journal")); err != nil || len(entries) > 3 {
			t.Errorf("the outbox of %s has %d segments: %v", n.name, len(entries), err)
		}
	}
}
