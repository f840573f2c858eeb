package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
)

// requestOn is requestOf of another topic.
func requestOn(topic string, ids ...string) *event.Request {
	r := event.NewRequest(0)
	for _, id := range ids {
		if err := r.Add(&event.Fields{Topic: []byte(topic), ID: []byte(id), Timestamp: []byte("2026-11-23T06:41:10Z"), Payload: []byte(`"` + id + `"`)}); err != nil {
			panic(err)
		}
	}
	return r
}

// panicIn has every node of a test call p where it applies an event.
func panicIn(t *testing.T, p func(topic string)) {
	mistake = p
	t.Cleanup(func() { mistake = nil })
}

// poisonous makes nodes panic where they apply an event of the topic "poison".
func poisonous(topic string) {
	if topic == "poison" {
		panic("no such index")
	}
}

// TestPanicHalts: a message that makes the program panic where it is applied halts every replica
// before it, however its batches are cut. A halted node stays up, says where and why, takes nothing
// and leaves nobody waiting. Once a control skips the message all go on behind it, alike, its
// session too, and at every later start.
func TestPanicHalts(t *testing.T) {
	panicIn(t, poisonous)
	log := memorylog.New("a", "b")
	log.Fate = onceEach()
	nodes := []*clusterNode{newClusterNode(t, "a", log), newClusterNode(t, "b", log)}
	for _, n := range nodes {
		awaitProof(t, n)
	}
	a := nodes[0]
	if _, err := a.p.Publish(Store, requestOf("w")); err != nil {
		t.Fatal(err)
	}
	log.Stall(true) // what follows is in one batch of each replica
	waits := make(chan error, 1)
	for _, r := range []*event.Request{requestOf("x"), requestOn("poison", "p", "q"), requestOf("y", "x")} {
		if _, err := a.p.Publish(Replicated, r); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		_, err := a.p.Publish(Store, requestOf("z"))
		waits <- err
	}()
	within(t, 5*time.Second, "the fifth message", func() bool { head, _ := log.Head(t.Context()); return head.Last == 5 })
	log.Stall(false)
	for _, n := range nodes {
		awaitHalt(t, n)
		why := n.p.Node().Halted()
		if !errors.Is(why, cluster.ErrHalted) || !strings.Contains(why.Error(), "message 3 of the log: it makes this program panic: no such index") {
			t.Errorf("%s: %v", n.name, why)
		}
		if _, position := n.p.Node().Position(); position != 2 {
			t.Errorf("%s halted at %d", n.name, position)
		}
		within(t, 5*time.Second, n.name+" tells", func() bool {
			var b cluster.Beat
			value, _, err := log.Get(t.Context(), n.name)
			return err == nil && json.Unmarshal(value, &b) == nil && b.Position == 2 && strings.Contains(b.Halted, "message 3 of the log")
		})
	}
	if err := <-waits; !errors.Is(err, ErrNoQuorum) {
		t.Errorf("who waited for the store heard %v", err)
	}
	for _, level := range []Level{Memory, Journal, Replicated, Store} {
		if _, err := a.p.Publish(level, requestOf("n")); !errors.Is(err, cluster.ErrHalted) {
			t.Errorf("%s: %v", level, err)
		}
	}
	if err := a.p.Refuse(Journal, nil); !errors.Is(err, cluster.ErrHalted) {
		t.Errorf("a dead letter: %v", err)
	}
	sameReplicas(t, nodes...)
	for _, n := range nodes {
		n.stop()
		n.start()
		awaitHalt(t, n) // a start alone changes nothing
		n.stop()
	}
	log.Put(messageOf(t, cluster.Control{Skip: 3}))
	for range 2 {
		for _, n := range nodes {
			n.start()
			n.awaitPosition(6)
		}
		lines := sameReplicas(t, nodes...)
		stored := ""
		for _, line := range lines {
			if fields := strings.Fields(line); len(fields) == 6 {
				stored += fields[1] + ":" + fields[2] + " "
			}
		}
		if stored != "t:w t:x t:y t:z " || !slices.Contains(lines, "skipped 3") {
			t.Errorf("stored is %q:\n%q", stored, lines)
		}
		for _, n := range nodes {
			if c := n.p.Counters(); invariant(c) != nil || c.Received != 5 || c.QueueDepth != 0 {
				t.Errorf("%s: %v: %+v", n.name, invariant(c), c)
			}
			if _, unlogged := n.p.Node().Outbox.Depth(); unlogged != 0 {
				t.Errorf("%s sends %d frames again", n.name, unlogged)
			}
			n.stop()
		}
	}
	for _, n := range nodes {
		n.start()
	}
	awaitProof(t, a)
	if _, err := a.p.Publish(Store, requestOn("poison", "p")); !errors.Is(err, ErrNoQuorum) { // it is poison yet
		t.Errorf("published again: %v", err)
	}
	for _, n := range nodes {
		awaitHalt(t, n)
		n.kill()
	}
}

// TestPanicIsSkippedAtOnce: a replica that comes to the message when a control behind it skips it
// already passes over it without a halt, and whoever waits for its events hears that it is open.
func TestPanicIsSkippedAtOnce(t *testing.T) {
	panicIn(t, poisonous)
	log := memorylog.New("a")
	log.Fate = onceEach()
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	log.Stall(true)
	waits := make(chan error, 1)
	go func() {
		_, err := n.p.Publish(Store, requestOn("poison", "p"))
		waits <- err
	}()
	within(t, 5*time.Second, "the message", func() bool { head, _ := log.Head(t.Context()); return head.Last == 1 })
	log.Put(messageOf(t, cluster.Control{Skip: 1}))
	log.Stall(false)
	if err := <-waits; !errors.Is(err, ErrNoQuorum) || !strings.Contains(err.Error(), "passed over") {
		t.Errorf("who waited heard %v", err)
	}
	n.awaitPosition(2)
	out, err := n.p.Publish(Store, requestOf("x"))
	if err != nil || !slices.Equal(out.Seqs, []int64{1}) {
		t.Errorf("behind it: %+v, %v", out, err)
	}
	n.stop()
}

// TestReleaseOutlivesAPanic: what was released from the outbox with a batch that panics is released
// in the journal, and not counted any more, once another batch is committed.
func TestReleaseOutlivesAPanic(t *testing.T) {
	panicIn(t, poisonous)
	log := memorylog.New("a", "b")
	log.Fate = onceEach()
	id := log.Identity()
	other, err := json.Marshal(cluster.Beat{Node: "b", Cluster: id.Cluster, Epoch: id.Epoch, Position: 100}) // it has all
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Registry().Put(t.Context(), "b", other, 0); err != nil {
		t.Fatal(err)
	}
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	if _, err := n.p.Publish(Store, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	log.Stall(true)
	if _, err := n.p.Publish(Replicated, requestOn("poison", "p")); err != nil {
		t.Fatal(err)
	}
	log.Put(messageOf(t, cluster.Control{Skip: 2}))
	log.Stall(false)
	n.awaitPosition(3)
	within(t, 5*time.Second, "an empty outbox", func() bool { all, _ := n.p.Node().Outbox.Depth(); return all == 0 })
	within(t, 5*time.Second, "no backlog", func() bool { return n.p.Counters().BacklogBytes == 0 })
	n.stop()
}

// TestPanicElsewhereEnds: a panic that does not come again where the message is applied by itself
// is not the message's doing. It ends the process, as one of an aggregator that is alone does; what
// was applied stays.
func TestPanicElsewhereEnds(t *testing.T) {
	messages := [][]byte{}
	session, previous := cluster.NewSession(), uint32(0)
	for i := range 3 {
		r := requestOf(fmt.Sprint(i))
		f := cluster.Frame{Session: session, Number: uint64(i + 1), Previous: previous, Events: r.Events, Body: r.Data, Time: time.Unix(1_700_000_000, 0)}
		messages = append(messages, f.Encode(nil))
		previous = f.Sum
	}
	rig := &replicaRig{t: t, dir: t.TempDir()}
	rig.open(10)
	var calls atomic.Int64
	panicIn(t, func(string) {
		if calls.Add(1) == 2 {
			panic("passing")
		}
	})
	rig.feed(messages, 3)
	got := func() (value any) {
		defer func() { value = recover() }()
		t.Error("the writer ended with", rig.p.RunWriter(context.Background()))
		return nil
	}()
	if got != "passing" {
		t.Errorf("it panicked with %v", got)
	}
	rig.close()
	rig.open(10)
	if rig.cursor.Position != 3 {
		t.Errorf("the store is at %d", rig.cursor.Position)
	}
	rig.close()
}
