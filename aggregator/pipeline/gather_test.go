package pipeline

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster/memorylog"
)

// TestBusyLogGathers: while the log has as much to answer as it works on, requests that wait for it
// gather into one frame. One that waits for the journal alone keeps nobody waiting, and where the
// log is quick, nobody waits at all.
func TestBusyLogGathers(t *testing.T) {
	log := memorylog.New("a")
	var silent atomic.Bool
	log.Fate = func([]byte) memorylog.Fate { return memorylog.Fate{Silent: silent.Load()} }
	n := newClusterNode(t, "a", log, func(n *clusterNode) { n.gatherFor = time.Hour })
	awaitProof(t, n)
	for i := range 20 { // one after the other: the log answers each
		if _, err := n.p.Publish(Replicated, requestOf(fmt.Sprint("quick", i))); err != nil {
			t.Fatal(err)
		}
	}
	within(t, 5*time.Second, "an outbox that the log has", func() bool { _, unlogged := n.p.Node().Outbox.Depth(); return unlogged == 0 })
	silent.Store(true)
	log.Stall(true)
	var waiting sync.WaitGroup
	release := func() {
		silent.Store(false)
		log.Stall(false)
		waiting.Wait() // the answers end the gathering, not its time
	}
	defer release()
	publish := func(id string) {
		waiting.Go(func() {
			if _, err := n.p.Publish(Replicated, requestOf(id)); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		})
	}
	unlogged := func() int { _, unlogged := n.p.Node().Outbox.Depth(); return unlogged }
	const busy, more = 4, 20
	for i := range busy {
		publish(fmt.Sprint("busy", i))
		within(t, 5*time.Second, "a frame", func() bool { return unlogged() == i+1 })
	}
	syncs := n.p.Counters().JournalSyncs
	for i := range more {
		publish(fmt.Sprint("more", i))
	}
	pending := func() int {
		n.p.mu.Lock()
		defer n.p.mu.Unlock()
		return n.p.pendingEvents
	}
	within(t, 5*time.Second, "the requests", func() bool { return pending() == more })
	if left := unlogged(); left != busy {
		t.Errorf("%d frames are in the outbox, want %d", left, busy)
	}
	if _, err := n.p.Publish(Journal, requestOf("hurried")); err != nil {
		t.Fatal(err)
	}
	if left, synced := unlogged(), n.p.Counters().JournalSyncs-syncs; left != busy+1 || synced != 1 {
		t.Errorf("%d frames are in the outbox after %d syncs, want %d after 1", left, synced, busy+1)
	}
	publish("last")
	within(t, 5*time.Second, "the last", func() bool { return pending() == 1 })
	release()
	n.stop()
}

// TestReplicaGathers: what a replica applies gathers where nobody waits for its store. Who does, a
// publisher or a reader, waits for no company, and neither does as much as a transaction is worth.
func TestReplicaGathers(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log, func(n *clusterNode) { n.commitEvery = time.Hour })
	defer n.kill()
	awaitProof(t, n)
	publish := func(level Level, ids ...string) (position uint64) {
		t.Helper()
		out, err := n.p.Publish(level, requestOf(ids...))
		if err != nil {
			t.Fatal(err)
		}
		return out.Position
	}
	n.awaitPosition(publish(Replicated, "first")) // after a pause at once
	for at, wait := range []func(position uint64){
		func(position uint64) {
			if !n.p.Await(position, 10*time.Second) {
				t.Error("a reader waits for company")
			}
		},
		func(uint64) { publish(Store, "waits") },
		func(uint64) {
			publish(Replicated, manyIDs(25)...) // of 50, which are a batch
			if last := publish(Replicated, manyIDs(50)...); !n.p.Node().Await(last, 10*time.Second) {
				t.Error("a whole batch waits for company")
			}
		},
	} {
		position := publish(Replicated, fmt.Sprint("gathers", at))
		if n.p.Node().Await(position, 100*time.Millisecond) {
			t.Errorf("%d: an event is committed for which nobody waits", at)
		}
		wait(position)
		n.awaitPosition(position)
	}
}

func manyIDs(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint("many", n, "-", i))
	}
	return ids
}
