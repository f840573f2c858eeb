package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
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

	"sekali/aggregator/event"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

// clusterNode is an aggregator of a cluster on a log in memory, run as the aggregator runs it.
type clusterNode struct {
	t           *testing.T
	name        string
	dir         string
	log         *memorylog.Log
	known       uint16        // apply version; 0: that of the program
	begins      uint16        // the log, with this apply version; 0: the same
	retention   time.Duration // 0: none
	maxLag      time.Duration // 0: the default
	gatherFor   time.Duration // 0: the default
	intact      func() error  // nil: the folder is not watched
	quorum      time.Duration // how long a publisher waits; 0: the default
	commitEvery time.Duration // 0: the default
	p           *Pipeline
	s           *store.Store
	j           *journal.Journal
	abort       context.CancelFunc
	done        sync.WaitGroup
	failed      chan error
}

func newClusterNode(t *testing.T, name string, log *memorylog.Log, set ...func(*clusterNode)) *clusterNode {
	n := &clusterNode{t: t, name: name, dir: t.TempDir(), log: log}
	for _, set := range set {
		set(n)
	}
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
			if err := cluster.MakeReplica(c, n.log.Identity(), cmp.Or(n.begins, cluster.ApplyVersion)); err != nil {
				return err
			}
		}
		replica, cursor, err := cluster.OpenReplica(c)
		if err != nil {
			return err
		}
		kept, err := cluster.Checkpoints(c)
		node = cluster.Open(cluster.Config{Name: n.name, Log: n.log, Registry: n.log.Registry(), MaxLag: cmp.Or(n.maxLag, 5*time.Second), DoubtAfter: 20 * time.Millisecond, ShortFor: 500 * time.Millisecond, Journal: j,
			Replica: replica, Cursor: cursor, Known: n.known, Retention: n.retention, Logger: slog.New(slog.DiscardHandler)}, kept)
		return errors.Join(err, node.Outbox.Load(j, backlog, &cursor))
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.s, n.j, n.failed = s, j, make(chan error, 3)
	n.p = New(Config{QueueEvents: 1000, QueueBytes: 1 << 20, BacklogBytes: 64 << 20, BatchEvents: 50, Node: node, Intact: n.intact}, s, j, state, backlog, slog.New(slog.DiscardHandler))
	n.p.replication.gatherFor = cmp.Or(n.gatherFor, gatherFor)
	n.p.replication.quorumWait = cmp.Or(n.quorum, QuorumWait)
	n.p.replication.commitEvery = cmp.Or(n.commitEvery, replicaEvery)
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
	for end := time.Now().Add(10 * time.Second); n.p.Ready(Replicated) != nil; time.Sleep(time.Millisecond) {
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
		if err := invariant(c); err != nil || c.QueueDepth != 0 {
			t.Errorf("%s: %v, queue_depth %d", n.name, err, c.QueueDepth)
		}
		n.stop()
		if entries, err := os.ReadDir(filepath.Join(n.dir, "journal")); err != nil || len(entries) > 3 {
			t.Errorf("the outbox of %s has %d segments: %v", n.name, len(entries), err)
		}
	}
}

// TestOutboxIsSentAfterARestart: what the journal has and the log has not is sent by the next life
// of the process, under the numbers of the one before, while nothing else moves the log.
func TestOutboxIsSentAfterARestart(t *testing.T) {
	log := memorylog.New("a")
	log.Delay = 50 * time.Millisecond
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	log.Down(true)
	for _, id := range []string{"x", "y"} {
		if _, err := n.p.Publish(Journal, requestOf(id)); err != nil {
			t.Fatal(err)
		}
	}
	if head, _ := log.Head(context.Background()); head.Last != 0 {
		t.Fatalf("the log has %d messages", head.Last)
	}
	n.kill()
	log.Down(false)
	n.start()
	n.awaitPosition(2)
	if lines := n.applied(); !strings.HasPrefix(lines[0], "1 t x ") || !strings.HasPrefix(lines[1], "2 t y ") {
		t.Errorf("stored is %q", lines)
	}
	n.stop()
}

// TestFrameOfAFolderThatWasAway: a frame that the journal has when the folder is missed has its
// number, though its publisher hears that the disk is failing. The next frame has the next, also
// for a start that finds both.
func TestFrameOfAFolderThatWasAway(t *testing.T) {
	log := memorylog.New("a")
	var away atomic.Bool
	n := newClusterNode(t, "a", log, func(n *clusterNode) {
		n.intact = func() error {
			if away.Load() {
				return errors.New("the data folder is away")
			}
			return nil
		}
	})
	awaitProof(t, n)
	log.Down(true)
	away.Store(true)
	if _, err := n.p.Publish(Journal, requestOf("x")); !errors.Is(err, ErrDiskFailing) {
		t.Fatalf("while the folder is away: %v", err)
	}
	away.Store(false)
	if err := n.p.inPlace(); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "y is taken", func() bool {
		_, err := n.p.Publish(Journal, requestOf("y"))
		return err == nil
	})
	if c := n.p.Counters(); invariant(c) != nil || c.QueueDepth != 2 || c.BacklogBytes == 0 {
		t.Errorf("%v: %+v", invariant(c), c)
	}
	n.kill()
	log.Down(false)
	n.start()
	n.awaitPosition(2)
	if lines := n.applied(); !strings.HasPrefix(lines[0], "1 t x ") || !strings.HasPrefix(lines[1], "2 t y ") {
		t.Errorf("stored is %q", lines)
	}
	n.stop()
}

// TestWaysToTheLogAreCounted: what was acknowledged at journal waits until it comes back from the
// log and is committed, also across a restart, and is counted once. So long is its processing
// latency: by Little's law the two have to agree.
func TestWaysToTheLogAreCounted(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	if _, err := n.p.Publish(Store, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	log.Down(true)
	for _, ids := range [][]string{{"y", "z"}, {"x"}} {
		if _, err := n.p.Publish(Journal, requestOf(ids...)); err != nil {
			t.Fatal(err)
		}
	}
	look := func(when string, depth int64) {
		t.Helper()
		c := n.p.Counters()
		if err := invariant(c); err != nil || c.QueueDepth != depth || c.Received != 4 {
			t.Errorf("%s: %v; %d received, %d wait, want 4 and %d", when, err, c.Received, c.QueueDepth, depth)
		}
	}
	look("while the log is away", 3)
	n.kill()
	n.start()
	look("after a restart", 3)
	const wait = 300 * time.Millisecond
	time.Sleep(wait)
	log.Down(false)
	n.awaitPosition(3)
	for end := time.Now().Add(5 * time.Second); n.p.Counters().QueueDepth > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	look("once it is committed", 0)
	within(t, 5*time.Second, "latencies", func() bool { _, count, _ := n.p.Timings.Processing.Cumulative(nil); return count == 3 })
	if early, _, _ := n.p.Timings.Processing.Cumulative([]int64{wait.Microseconds() * 9 / 10}); early[0] > 0 {
		t.Errorf("%d of 3 events are said to have waited less than %v", early[0], wait)
	}
	n.kill()
	n.start()
	look("after a restart with nothing on its way", 0)
	n.stop()
}

// TestNothingIsPromisedInVain: without a proof that the log syncs nothing is acknowledged beyond
// the journal, and while it cannot be reached a publisher is told that it is open.
func TestNothingIsPromisedInVain(t *testing.T) {
	log := memorylog.New("a")
	log.Unsync(errors.New("server 2 does not sync"))
	n := newClusterNode(t, "a", log)
	for _, level := range []Level{Replicated, Store} {
		if _, err := n.p.Publish(level, requestOf("x")); !errors.Is(err, cluster.ErrUnproven) {
			t.Errorf("%s: %v", level, err)
		}
	}
	if err := n.p.Ready(Replicated); !errors.Is(err, cluster.ErrUnproven) {
		t.Errorf("ready: %v", err)
	}
	if _, err := n.p.Publish(Journal, requestOf("y")); err != nil {
		t.Error(err)
	}
	log.Unsync(nil)
	awaitProof(t, n)
	out, err := n.p.Publish(Store, requestOf("x", "y"))
	if err != nil || out.Position == 0 || !slices.Equal(out.Stored, []bool{true, false}) || !slices.Equal(out.Seqs, []int64{2, 1}) {
		t.Errorf("%+v, %v", out, err)
	}
	n.stop()
}

// TestStoreIsNotAwaitedForEver: who waits for the node's own store waits as long as for the log at
// most, the two together.
func TestStoreIsNotAwaitedForEver(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log, func(n *clusterNode) { n.quorum = 300 * time.Millisecond })
	awaitProof(t, n)
	log.Stall(true)
	answered := make(chan error, 1)
	go func() {
		_, err := n.p.Publish(Store, requestOf("x"))
		answered <- err
	}()
	select {
	case err := <-answered:
		if !errors.Is(err, ErrNoQuorum) || !strings.Contains(err.Error(), "open whether") {
			t.Errorf("answered with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits, 5 s behind its time")
	}
	log.Stall(false)
	n.awaitPosition(1)
	n.stop()
}

// TestNoAnswerNamesTheServers: who waits in vain for a log without a quorum hears which of its
// servers do not answer.
func TestNoAnswerNamesTheServers(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log, func(n *clusterNode) { n.quorum = 300 * time.Millisecond })
	awaitProof(t, n)
	log.Change(func(h *cluster.Head) {
		h.Copies, h.Peers = 3, []cluster.Peer{{Name: "log-1"}, {Name: "log-2", Offline: true}, {Name: "log-3", Offline: true}}
	})
	within(t, 5*time.Second, "no quorum", func() bool { return errors.Is(n.p.Ready(Replicated), cluster.ErrNoQuorum) })
	log.Fate = func([]byte) memorylog.Fate { return memorylog.Fate{Lost: true} }
	_, err := n.p.Publish(Replicated, requestOf("x"))
	if !errors.Is(err, ErrNoQuorum) || !strings.Contains(err.Error(), "within 300ms: of the log's servers these do not answer: log-2, log-3; it is open whether") {
		t.Errorf("answered with %v", err)
	}
	n.stop()
}

// TestTakenIsNotRefused: what waits for the log when the proof is lost is in the journal, so the
// publisher hears that it is open, and not that nothing was taken.
func TestTakenIsNotRefused(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	log.Down(true)
	answered := make(chan error, 1)
	go func() {
		_, err := n.p.Publish(Replicated, requestOf("x"))
		answered <- err
	}()
	log.Unsync(errors.New("server 2 does not sync"))
	for end := time.Now().Add(8 * time.Second); n.p.Node().Durable() == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the proof is not lost")
		}
	}
	log.Down(false)
	if err := <-answered; !errors.Is(err, ErrNoQuorum) || errors.Is(err, cluster.ErrUnproven) {
		t.Errorf("answered with %v", err)
	}
	n.stop()
}

// TestHaltedNodeTakesNothing: each way in which a log shows that it is not the one that was applied
// halts the node, which goes on to serve what it has.
func TestHaltedNodeTakesNothing(t *testing.T) {
	for name, change := range map[string]func(*cluster.Head){
		"it was made anew":               func(h *cluster.Head) { h.Created = h.Created.Add(time.Second) },
		"it is another cluster's":        func(h *cluster.Head) { h.Cluster = "another" },
		"it has lost what it had":        func(h *cluster.Head) { h.Last = 0 },
		"it begins behind what was read": func(h *cluster.Head) { h.First, h.Last = 10, 12 },
	} {
		t.Run(name, func(t *testing.T) {
			log := memorylog.New("a")
			n := newClusterNode(t, "a", log)
			awaitProof(t, n)
			if _, err := n.p.Publish(Store, requestOf("x")); err != nil {
				t.Fatal(err)
			}
			log.Change(change)
			awaitHalt(t, n)
			for _, level := range []Level{Memory, Journal, Replicated, Store} {
				if _, err := n.p.Publish(level, requestOf("y")); !errors.Is(err, cluster.ErrHalted) {
					t.Errorf("%s: %v", level, err)
				}
			}
			if lines := n.applied(); !strings.HasPrefix(lines[0], "1 t x ") {
				t.Errorf("stored is %q", lines)
			}
			n.stop()
		})
	}
}

func awaitHalt(t *testing.T, n *clusterNode) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); n.p.Node().Halted() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it has not halted after 10 s")
		}
	}
}

// TestPoisonHalts: a message that is no frame is not passed over.
func TestPoisonHalts(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log)
	log.Put([]byte("anything"))
	awaitHalt(t, n)
	n.stop()
}

// TestTriggerEndsTheNode: what a trigger does the other replicas do not. The batch is not applied,
// and the next start refuses.
func TestTriggerEndsTheNode(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	foreign, err := sqlite.Open("file:" + filepath.Join(n.dir, store.File))
	if err != nil {
		t.Fatal(err)
	}
	err = foreign.Exec("PRAGMA busy_timeout=5000; CREATE TRIGGER refuse BEFORE INSERT ON blocks BEGIN SELECT RAISE(ABORT, 'no'); END")
	if err = errors.Join(err, foreign.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.p.Publish(Journal, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-n.failed; !errors.Is(err, cluster.ErrHalted) {
		t.Errorf("the writer ended with %v", err)
	}
	n.kill()
	s, _, err := store.Open(n.dir, store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Change(func(c *sqlite.Conn) error {
		_, _, err := cluster.OpenReplica(c)
		return err
	})
	if !errors.Is(err, cluster.ErrTrigger) {
		t.Errorf("a start with a trigger: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSecondOfANameEnds: of two processes with one node's name, the second ends.
func TestSecondOfANameEnds(t *testing.T) {
	log := memorylog.New("a", "b")
	first := newClusterNode(t, "a", log)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, revision, _ := log.Get(context.Background(), "a"); revision > 0 {
			break
		} else if time.Now().After(end) {
			t.Fatal("it has told nothing")
		}
	}
	second := newClusterNode(t, "a", log)
	within(t, 10*time.Second, "its end", func() bool {
		if second.p.Ready(Journal) == nil {
			t.Error("it was ready")
		}
		select {
		case err := <-second.failed:
			if !errors.Is(err, cluster.ErrNameTaken) {
				t.Errorf("it ended with %v", err)
			}
			return true
		default:
			return false
		}
	})
	second.kill()
	first.stop()
}

// TestUnknownNameEnds: a replica under a name that the log does not have would be no other's second
// store, and the log would not wait for it. It ends before it is ready or acknowledges anything.
func TestUnknownNameEnds(t *testing.T) {
	log := memorylog.New("a", "b")
	n := newClusterNode(t, "c", log)
	within(t, 10*time.Second, "its end", func() bool {
		if n.p.Ready(Journal) == nil || n.p.Node().Durable() == nil {
			t.Fatal("it is ready, or acknowledges what it is given")
		}
		select {
		case err := <-n.failed:
			if !errors.Is(err, cluster.ErrNotNamed) || !strings.Contains(err.Error(), "-node=c is none of the cluster's: [a b]") {
				t.Errorf("it ended with %v", err)
			}
			return true
		default:
			return false
		}
	})
	n.kill()
	if _, revision, err := log.Get(t.Context(), "c"); revision > 0 || err != nil {
		t.Errorf("it has told something: %d, %v", revision, err)
	}
}

// TestOddOneHalts: of three replicas the one that has decided otherwise halts, and no other.
func TestOddOneHalts(t *testing.T) {
	log := memorylog.New("a", "b", "c")
	odd := newClusterNode(t, "c", log)
	awaitProof(t, odd)
	if _, err := odd.p.Publish(Store, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	odd.kill()
	// What a mistake of this replica's would leave.
	s, _, err := store.Open(odd.dir, store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Change(func(c *sqlite.Conn) error {
		return c.Exec("UPDATE cluster SET hash = '000102030405060708090a0b0c0d0e0f'")
	}), s.Close()); err != nil {
		t.Fatal(err)
	}
	odd.start()
	others := []*clusterNode{newClusterNode(t, "a", log), newClusterNode(t, "b", log)}
	awaitHalt(t, odd)
	for _, n := range others {
		if err := n.p.Node().Halted(); err != nil {
			t.Errorf("%s has halted: %v", n.name, err)
		}
		n.stop()
	}
	odd.stop()
}

// TestLeftBehindHalts: a node that was away while the others went on with a new log finds the old
// one as it was. It hears of the new one before it acknowledges anything, and is never ready. A
// word of an earlier epoch is of one that was left behind, and hurts nobody.
func TestLeftBehindHalts(t *testing.T) {
	for name, c := range map[string]struct {
		later int
		halts bool
	}{"a later epoch": {1, true}, "an earlier epoch": {-1, false}} {
		t.Run(name, func(t *testing.T) {
			log := memorylog.New("a", "b")
			id := log.Identity()
			word, err := json.Marshal(cluster.Beat{Node: "b", Cluster: id.Cluster, Epoch: uint64(int(id.Epoch) + c.later), Position: 7})
			if err == nil {
				_, err = log.Registry().Put(t.Context(), "b", word, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			n := newClusterNode(t, "a", log)
			defer n.stop()
			if !c.halts {
				awaitProof(t, n)
				return
			}
			for end := time.Now().Add(10 * time.Second); n.p.Node().Halted() == nil; time.Sleep(time.Millisecond) {
				if _, err := n.p.Publish(Replicated, requestOf("x")); err == nil {
					t.Fatal("the log that was left has taken an event")
				}
				if n.p.Ready(Journal) == nil || time.Now().After(end) {
					t.Fatal("it is ready, or has not halted in 10 s")
				}
			}
			if err := n.p.Node().Halted(); !strings.Contains(err.Error(), "b has gone on with epoch 2") {
				t.Error(err)
			}
		})
	}
}

// TestFullLogIsSaid: a log that has no room is not taken for one without a leader. The journal goes
// on, and what it has is in the log once there is room.
func TestFullLogIsSaid(t *testing.T) {
	log := memorylog.New("a")
	var full atomic.Bool
	log.Fate = func([]byte) memorylog.Fate {
		if full.Load() {
			return memorylog.Fate{Refused: cluster.ErrFull}
		}
		return memorylog.Fate{}
	}
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	full.Store(true)
	if _, err := n.p.Publish(Journal, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); !errors.Is(n.p.Ready(Replicated), cluster.ErrFull); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(n.p.Ready(Replicated))
		}
	}
	if _, err := n.p.Publish(Replicated, requestOf("y")); !errors.Is(err, cluster.ErrFull) {
		t.Errorf("replicated: %v", err)
	}
	if err := n.p.Ready(Journal); err != nil {
		t.Errorf("ready at journal: %v", err)
	}
	if faults := n.p.Node().Status().Faults; !slices.Equal(faults, []string{cluster.ErrFull.Error()}) {
		t.Errorf("the faults are %q", faults)
	}
	full.Store(false)
	n.awaitPosition(1)
	awaitProof(t, n)
	if faults := n.p.Node().Status().Faults; len(faults) > 0 {
		t.Errorf("once there is room the faults are %q", faults)
	}
	n.stop()
}

// TestStuckLogIsNoQuorum: a log that says what it is and takes nothing is one that a publisher
// would wait for in vain. The journal goes on.
func TestStuckLogIsNoQuorum(t *testing.T) {
	log := memorylog.New("a")
	var silent atomic.Bool
	log.Fate = func([]byte) memorylog.Fate { return memorylog.Fate{Lost: silent.Load(), Silent: silent.Load()} }
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	silent.Store(true)
	if _, err := n.p.Publish(Journal, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	within(t, 8*time.Second, "no quorum", func() bool { return errors.Is(n.p.Ready(Replicated), cluster.ErrNoQuorum) })
	if err := n.p.Ready(Journal); err != nil {
		t.Errorf("at journal: %v", err)
	}
	if faults := fmt.Sprint(n.p.Node().Status().Faults); !strings.Contains(faults, "the log has taken nothing for") {
		t.Errorf("the faults are %s", faults)
	}
	silent.Store(false)
	n.awaitPosition(1)
	awaitProof(t, n)
	if faults := n.p.Node().Status().Faults; len(faults) > 0 {
		t.Errorf("once it takes frames the faults are %q", faults)
	}
	n.stop()
}

// TestUnreachableIsNoQuorum: that no server of the log answers does not say that one does not sync.
func TestUnreachableIsNoQuorum(t *testing.T) {
	log := memorylog.New("a")
	log.Unsync(fmt.Errorf("%w: it has no leader", cluster.ErrUnreachable))
	n := newClusterNode(t, "a", log)
	within(t, 8*time.Second, "no quorum", func() bool {
		_, err := n.p.Publish(Replicated, requestOf("x"))
		return errors.Is(err, cluster.ErrNoQuorum) && !errors.Is(err, cluster.ErrUnproven)
	})
	log.Unsync(nil)
	awaitProof(t, n)
	n.stop()
}

// TestNewLeaderMayBeBehind: a log that ends before what was applied, and then does not, has lost
// nothing: its new leader had to apply what was committed. The node goes on.
func TestNewLeaderMayBeBehind(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	if _, err := n.p.Publish(Store, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	log.Change(func(h *cluster.Head) { h.Last = 0 })
	for end := time.Now().Add(10 * time.Second); !errors.Is(n.p.Ready(Replicated), cluster.ErrNoQuorum); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody has looked")
		}
	}
	log.Change(func(h *cluster.Head) { h.Last = 1 })
	awaitProof(t, n)
	if _, err := n.p.Publish(Store, requestOf("y")); err != nil {
		t.Fatal(err)
	}
	n.stop()
}

// TestResendIsNoDuplicate: what is sent to the log again, or is in it twice, is no duplicate of a
// publisher's, and what a publisher repeats is.
func TestResendIsNoDuplicate(t *testing.T) {
	log := memorylog.New("a")
	var sent atomic.Uint64
	log.Fate = func([]byte) memorylog.Fate {
		n := sent.Add(1)
		return memorylog.Fate{Repeated: n%2 == 0, Silent: n%3 == 0, Lost: n%5 == 0}
	}
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	const events = 40
	for i := range events {
		if _, err := n.p.Publish(Store, requestOf(fmt.Sprint(i), fmt.Sprint(i/2))); err != nil {
			t.Fatal(err)
		}
	}
	head, _ := log.Head(t.Context())
	n.awaitPosition(head.Last)
	if c := n.p.Counters(); c.UniqueProcessed != events || c.DuplicateDropped != events || head.Last <= events {
		t.Errorf("%d stored, %d dropped, want %d of each; %d messages in the log", c.UniqueProcessed, c.DuplicateDropped, events, head.Last)
	}
	n.stop()
}

// TestLagIsSaid: a replica that the log has left behind is not ready, at any level, until it has
// caught up.
func TestLagIsSaid(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log, func(n *clusterNode) { n.maxLag = 300 * time.Millisecond })
	awaitProof(t, n)
	log.Stall(true)
	if _, err := n.p.Publish(Replicated, requestOf("x")); err != nil { // the log has answered
		t.Fatal(err)
	}
	for _, level := range []Level{Journal, Replicated} {
		within(t, 10*time.Second, string(level)+" is lagging", func() bool { return errors.Is(n.p.Ready(level), cluster.ErrLagging) })
	}
	if s := n.p.Node().Status(); s.LagSeconds < 0.3 || s.Head != 1 || s.Position != 0 {
		t.Errorf("%+v", s)
	}
	if n.p.Node().Await(1, 10*time.Millisecond) {
		t.Error("it has applied what it has not read")
	}
	log.Stall(false)
	n.awaitPosition(1)
	for _, level := range []Level{Journal, Replicated} {
		if err := n.p.Ready(level); err != nil {
			t.Errorf("%s: %v", level, err)
		}
	}
	n.stop()
}

// TestTruncation: the log keeps what a node has not applied, be it away, until it is forgotten; and
// one that is there is not forgotten.
func TestTruncation(t *testing.T) {
	log := memorylog.New("a", "b", "c")
	nodes := []*clusterNode{newClusterNode(t, "a", log), newClusterNode(t, "b", log), newClusterNode(t, "c", log)}
	for _, n := range nodes {
		awaitProof(t, n)
	}
	awaitTold := func(name string, least uint64) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			var b cluster.Beat
			if value, _, err := log.Get(context.Background(), name); err == nil && json.Unmarshal(value, &b) == nil && b.Position >= least {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s has not told that it is at %d", name, least)
			}
		}
	}
	awaitTold("c", 0)
	nodes[2].kill()
	const frames = 700
	for i := range frames {
		if _, err := nodes[0].p.Publish(Journal, requestOf(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	head, _ := log.Head(context.Background())
	for _, n := range nodes[:2] {
		n.awaitPosition(head.Last)
		awaitTold(n.name, head.Last)
	}
	time.Sleep(2 * time.Second) // two beats more
	if head, _ := log.Head(context.Background()); head.First != 1 || head.Last < frames/2 {
		t.Fatalf("the log has %d to %d while a node is at its beginning", head.First, head.Last)
	}
	if err := cluster.Forget(context.Background(), log.Registry(), "b"); err == nil {
		t.Error("a node that is there was forgotten")
	}
	if err := cluster.Forget(context.Background(), log.Registry(), "c"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if head, _ := log.Head(context.Background()); head.First > frames/2 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing was removed without the node")
		}
	}
	nodes[2].start()
	awaitHalt(t, nodes[2])
	for _, n := range nodes {
		n.stop()
	}
}
