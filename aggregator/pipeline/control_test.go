package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
)

// messageOf is a control as the log has it.
func messageOf(t *testing.T, c cluster.Control) []byte {
	t.Helper()
	message, err := c.Message(1)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// within waits until something is so.
func within(t *testing.T, most time.Duration, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(most); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", most, what)
		}
	}
}

// onceEach keeps each message once. What a slow machine sends again would take a place in the log,
// and a test that names places would mean others.
func onceEach() func(message []byte) memorylog.Fate {
	var sent sync.Map
	return func(message []byte) memorylog.Fate {
		_, again := sent.LoadOrStore(string(message), true)
		return memorylog.Fate{Lost: again, Silent: again}
	}
}

// sameReplicas compares what the nodes have, which are at one position.
func sameReplicas(t *testing.T, nodes ...*clusterNode) []string {
	t.Helper()
	first := nodes[0].applied()
	for _, n := range nodes[1:] {
		if lines := n.applied(); !slices.Equal(lines, first) {
			t.Errorf("%s has\n%q\n%s has\n%q", n.name, lines, nodes[0].name, first)
		}
	}
	return first
}

// TestPoisonIsSkipped: replicas halt at a message that is no frame, and pass over it once a control
// behind it says so and they are started again. They do so at every later start, too.
func TestPoisonIsSkipped(t *testing.T) {
	log := memorylog.New("a", "b")
	log.Fate = onceEach()
	nodes := []*clusterNode{newClusterNode(t, "a", log), newClusterNode(t, "b", log)}
	for _, n := range nodes {
		awaitProof(t, n)
	}
	if _, err := nodes[0].p.Publish(Store, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	log.Put([]byte("anything"))
	for _, n := range nodes {
		awaitHalt(t, n)
		n.kill()
		n.start()
		awaitHalt(t, n) // a start alone changes nothing
		n.kill()
	}
	again := func(control cluster.Control, says string) {
		t.Helper()
		log.Put(messageOf(t, control))
		for _, n := range nodes {
			n.start()
			awaitHalt(t, n)
			if err := n.p.Node().Halted(); !strings.Contains(err.Error(), says) {
				t.Errorf("%+v: %v", control, err)
			}
			n.kill()
		}
	}
	again(cluster.Control{Skip: 1}, "message 2 of the log") // the wrong message
	again(cluster.Control{Skip: 2}, "message 1, which was applied here")
	log.Put(messageOf(t, cluster.Control{Skip: 3})) // the mistake itself
	for range 2 {
		for _, n := range nodes {
			n.start()
			n.awaitPosition(5)
		}
		awaitProof(t, nodes[1])
		out, err := nodes[1].p.Publish(Store, requestOf("x", "y"))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			n.awaitPosition(out.Position)
		}
		if lines := sameReplicas(t, nodes...); !slices.Contains(lines, "skipped 2") || !slices.Contains(lines, "skipped 3") {
			t.Errorf("passed over: %q", lines)
		}
		for _, n := range nodes {
			n.kill()
		}
	}
}

// TestOwnPoisonIsSentAgain: a frame that was damaged on its way to the log, which has answered it,
// is passed over by all, and sent again from its sender's journal: what it has is stored, once. It
// is lost on its way once more. A frame that was made behind the answer does not come before it. If
// the log has that one already, nobody halts at it.
func TestOwnPoisonIsSentAgain(t *testing.T) {
	for name, isLost := range map[string]bool{"what follows is lost": true, "what follows is in the log": false} {
		t.Run(name, func(t *testing.T) { ownPoisonIsSentAgain(t, isLost) })
	}
}

// logged waits until all that a node has is in the log, and returns the log's end.
func logged(t *testing.T, log *memorylog.Log, n *clusterNode) (last uint64) {
	t.Helper()
	within(t, 10*time.Second, "all is in the log", func() bool {
		_, unlogged := n.p.Node().Outbox.Depth()
		return unlogged == 0
	})
	head, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head.Last
}

// numberOf is a frame's; 0: it is none.
func numberOf(message []byte) uint64 {
	f, _, err := cluster.Decode(message)
	if err != nil {
		return 0
	}
	return f.Number
}

// damagedAt is where the log has a message that is none.
func damagedAt(t *testing.T, log *memorylog.Log) (at uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	found := errors.New("found")
	err := log.Read(ctx, 0, func(i uint64, message []byte) error {
		if _, _, err := cluster.Decode(message); err == nil {
			return nil
		}
		at = i
		return found
	})
	if !errors.Is(err, found) {
		t.Fatalf("no message is damaged: %v", err)
	}
	return at
}

func ownPoisonIsSentAgain(t *testing.T, isLost bool) {
	log := memorylog.New("a", "b")
	const spoil, lose, loseOne, loseSame, keep = 1, 2, 3, 4, 0
	var fate atomic.Int32
	var follows atomic.Bool // is in the log
	lost := memorylog.Fate{Lost: true, Silent: true}
	then := int32(loseSame)
	if isLost {
		then = lose
	}
	log.Fate = func(message []byte) memorylog.Fate {
		switch number := numberOf(message); { // a slow machine sends frame 1 again, at any time
		case number == 2 && fate.CompareAndSwap(spoil, then):
			message[len(message)/2] ^= 1
		case fate.Load() == lose, fate.Load() == loseSame && number == 2, fate.CompareAndSwap(loseOne, keep):
			return lost
		case fate.Load() == loseSame && number == 3:
			follows.Store(true)
		}
		return memorylog.Fate{}
	}
	nodes := []*clusterNode{newClusterNode(t, "a", log), newClusterNode(t, "b", log)}
	for _, n := range nodes {
		awaitProof(t, n)
	}
	if _, err := nodes[0].p.Publish(Store, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	log.Stall(true)
	fate.Store(spoil)
	if _, err := nodes[0].p.Publish(Replicated, requestOf("y")); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[0].p.Publish(Journal, requestOf("z")); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "what follows", func() bool { return isLost || follows.Load() })
	log.Stall(false)
	for _, n := range nodes {
		awaitHalt(t, n)
		n.kill()
	}
	log.Put(messageOf(t, cluster.Control{Skip: damagedAt(t, log)}))
	fate.Store(loseOne)
	for _, n := range nodes {
		n.start()
		awaitProof(t, n)
	}
	last := logged(t, log, nodes[0])
	for _, n := range nodes {
		n.awaitPosition(last)
	}
	stored := map[string]int{}
	for _, line := range sameReplicas(t, nodes...) {
		if fields := strings.Fields(line); len(fields) == 6 && fields[1] == "t" {
			stored[fields[2]]++
		}
	}
	for _, n := range nodes {
		n.stop()
	}
	if stored["x"] != 1 || stored["y"] != 1 || stored["z"] != 1 {
		t.Errorf("stored is %v", stored)
	}
}

// TestSenderHaltsAtItsPoison: a node that comes to its own damaged frame when all are told to pass
// over it takes it for one that is in the log, and would give up its journal. It halts, and its
// next life sends the frame again. The others go on.
func TestSenderHaltsAtItsPoison(t *testing.T) {
	log := memorylog.New("a", "b")
	const spoil, lose, keep = 1, 2, 0
	var fate atomic.Int32 // of the first frame
	log.Fate = func(message []byte) memorylog.Fate {
		switch first := numberOf(message) == 1; {
		case first && fate.CompareAndSwap(spoil, lose):
			message[len(message)/2] ^= 1
		case first && fate.Load() == lose:
			return memorylog.Fate{Lost: true, Silent: true}
		}
		return memorylog.Fate{}
	}
	sender, other := newClusterNode(t, "a", log), newClusterNode(t, "b", log)
	awaitProof(t, sender)
	awaitProof(t, other)
	log.Down(true)
	for _, id := range []string{"x", "y"} {
		if _, err := sender.p.Publish(Journal, requestOf(id)); err != nil {
			t.Fatal(err)
		}
	}
	sender.kill()
	fate.Store(spoil)
	log.Stall(true)
	log.Down(false)
	sender.start()
	logged(t, log, sender)
	log.Put(messageOf(t, cluster.Control{Skip: 1}))
	fate.Store(keep)
	log.Stall(false)
	awaitHalt(t, sender)
	if err := sender.p.Node().Halted(); !strings.Contains(err.Error(), "message 1 of the log is one of this node's") {
		t.Error(err)
	}
	sender.kill()
	sender.start()
	last := logged(t, log, sender)
	for _, n := range []*clusterNode{sender, other} {
		n.awaitPosition(last)
		if err := n.p.Node().Halted(); err != nil {
			t.Errorf("%s has halted: %v", n.name, err)
		}
	}
	lines := sameReplicas(t, sender, other)
	if !strings.HasPrefix(lines[0], "1 t x ") || !strings.HasPrefix(lines[1], "2 t y ") {
		t.Errorf("stored is %q", lines)
	}
	sender.stop()
	other.stop()
}

// TestApplyVersion: the version of what frames lead to changes at one place of the log, once every
// node knows the later one, a node that is away included. A node that does not know it halts before
// it applies anything of it.
func TestApplyVersion(t *testing.T) {
	log := memorylog.New("a", "b", "c")
	knows := func(version uint16) func(*clusterNode) { return func(n *clusterNode) { n.known = version } }
	a, b, c := newClusterNode(t, "a", log), newClusterNode(t, "b", log, knows(3)), newClusterNode(t, "c", log, knows(3))
	nodes := []*clusterNode{a, b, c}
	told := func(name string) bool {
		_, revision, err := log.Get(t.Context(), name)
		return err == nil && revision > 1
	}
	for _, n := range nodes {
		awaitProof(t, n)
		within(t, 10*time.Second, n.name+" tells", func() bool { return told(n.name) })
	}
	a.kill() // away, and it does not know version 3
	time.Sleep(3 * time.Second)
	if _, err := b.p.Publish(Store, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	if s := b.p.Node().Status(); s.Apply != 2 || s.Position != 1 {
		t.Fatalf("version %d at %d while a node does not know it", s.Apply, s.Position)
	}
	a.known = 3
	a.start()
	for _, n := range nodes {
		within(t, 15*time.Second, n.name+" is at version 3", func() bool { return n.p.Node().Status().Apply == 3 })
	}
	awaitProof(t, c)
	out, err := c.p.Publish(Store, requestOf("y"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.awaitPosition(out.Position)
	}
	for _, n := range nodes[1:] {
		n.stop()
	}
	a.kill()
	a.known = 2
	a.start()
	awaitHalt(t, a)
	if err := a.p.Node().Halted(); !errors.Is(err, cluster.ErrUnknown) {
		t.Errorf("a program of before halts with %v", err)
	}
	if lines := a.applied(); !strings.HasPrefix(lines[1], "2 t y ") {
		t.Errorf("it has %q", lines)
	}
	a.kill()
}

// TestPackedOnceAllKnow: in a log that began with version 1 frames are packed once every node knows
// that, and not before. What they lead to is the same.
func TestPackedOnceAllKnow(t *testing.T) {
	log := memorylog.New("a", "b")
	a := newClusterNode(t, "a", log, func(n *clusterNode) { n.begins, n.known = 1, 1 })
	b := newClusterNode(t, "b", log, func(n *clusterNode) { n.begins = 1 })
	packed := func(n *clusterNode, ids ...string) bool {
		t.Helper()
		awaitProof(t, n)
		out, err := n.p.Publish(Store, requestOf(ids...))
		if err != nil {
			t.Fatal(err)
		}
		found, is := errors.New("found"), false
		err = log.Read(t.Context(), out.Position-1, func(_ uint64, message []byte) error {
			f, _, err := cluster.Decode(message)
			is = len(message) < len(f.Body)
			return cmp.Or(err, found)
		})
		if !errors.Is(err, found) {
			t.Fatal(err)
		}
		return is
	}
	for range 2 {
		time.Sleep(1500 * time.Millisecond) // for what the nodes tell
		if packed(b, manyIDs(50)...) {
			t.Fatal("a frame is packed that a node cannot read")
		}
	}
	a.kill()
	a.known = 0
	a.start()
	for _, n := range []*clusterNode{a, b} {
		within(t, 15*time.Second, n.name+" is at version 2", func() bool { return n.p.Node().Status().Apply == 2 })
		if !packed(n, manyIDs(40)...) {
			t.Errorf("a frame of %s is not packed", n.name)
		}
	}
	at := b.p.Node().Status().Position
	a.awaitPosition(at)
	b.awaitPosition(at)
	if lines := sameReplicas(t, a, b); len(lines) < 90 {
		t.Errorf("%d events are stored, want 90", len(lines))
	}
	for _, n := range []*clusterNode{a, b} {
		n.stop()
	}
}

// TestUnknownIsNotApplied: each message that is of a later program halts this one, and nothing of
// it is applied. It is not poison: no control makes a replica pass over it.
func TestUnknownIsNotApplied(t *testing.T) {
	r := requestOf("x")
	for name, message := range map[string][]byte{
		"a frame of a later version": (&cluster.Frame{Apply: 3, Session: cluster.NewSession(), Number: 1, Events: r.Events, Body: r.Data, Time: time.Unix(1, 0)}).Encode(nil),
		"a switch to one":            messageOf(t, cluster.Control{Apply: 3}),
		"a control of another kind":  (&cluster.Frame{Apply: 1, Control: &cluster.Control{}, Body: []byte(`{"later":1}`)}).Encode(nil),
	} {
		t.Run(name, func(t *testing.T) {
			log := memorylog.New("a")
			log.Put(message)
			log.Put(messageOf(t, cluster.Control{Skip: 1}))
			n := newClusterNode(t, "a", log)
			awaitHalt(t, n)
			if err := n.p.Node().Halted(); !errors.Is(err, cluster.ErrUnknown) {
				t.Error(err)
			}
			if _, position := n.p.Node().Position(); position != 0 {
				t.Errorf("it has come to %d", position)
			}
			n.kill()
		})
	}
}

// TestReplicasExpireAlike: what is older than the retention expires on all nodes at the same place
// of the log, by the longest that a node wants, and not while one wants none.
func TestReplicasExpireAlike(t *testing.T) {
	log := memorylog.New("a", "b")
	keeps := func(retention time.Duration) func(*clusterNode) {
		return func(n *clusterNode) { n.retention = retention }
	}
	a, b := newClusterNode(t, "a", log, keeps(time.Second)), newClusterNode(t, "b", log)
	nodes := []*clusterNode{a, b}
	for _, n := range nodes {
		awaitProof(t, n)
	}
	for _, id := range []string{"x", "y", "x"} {
		if _, err := a.p.Publish(Store, requestOf(id)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(3 * time.Second)
	if c := a.p.Counters(); c.Expired > 0 || a.p.Node().Retention() != 0 {
		t.Fatalf("%d expired, and b wants none to", c.Expired)
	}
	within(t, 10*time.Second, "a warning", func() bool {
		return strings.Contains(strings.Join(a.p.Warnings(), "\n"), "-retention is 1s here and 0s on b")
	})
	b.kill()
	b.retention = 2 * time.Second
	b.start()
	within(t, 20*time.Second, "expiry on both", func() bool { return a.p.Counters().Expired == 2 && b.p.Counters().Expired == 2 })
	if r := a.p.Node().Retention(); r != 2*time.Second {
		t.Errorf("the retention is %v", r)
	}
	if s := a.p.Node().Status(); s.RetentionS != 2 || s.Apply != 2 || s.Known != 2 || len(s.Nodes) != 1 || s.Nodes[0].RetentionS != 2 || s.Nodes[0].Known != 2 {
		t.Errorf("the status says %+v", s)
	}
	awaitProof(t, b)
	out, err := b.p.Publish(Store, requestOf("x", "z"))
	if err != nil || !slices.Equal(out.Stored, []bool{false, true}) {
		t.Fatal(out.Stored, err)
	}
	for _, n := range nodes {
		n.awaitPosition(out.Position)
	}
	lines := sameReplicas(t, nodes...)
	if !strings.HasPrefix(lines[0], "5 t z ") {
		t.Errorf("what has not expired is %q", lines)
	}
	for _, n := range nodes {
		n.stop()
	}
}

// TestClockAheadExpiresNothing: a clock that is ahead of another node's, which is there, lets
// nothing expire: it may be the wrong one. So may that of the only node that is there.
func TestClockAheadExpiresNothing(t *testing.T) {
	log := memorylog.New("a", "b")
	id, revision := log.Identity(), uint64(0)
	tells := func(behind time.Duration, left bool) {
		t.Helper()
		word, err := json.Marshal(cluster.Beat{Node: "b", Cluster: id.Cluster, Epoch: id.Epoch, Position: 100, Retention: time.Second, At: time.Now().Add(-behind), Left: left})
		if err == nil {
			revision, err = log.Registry().Put(t.Context(), "b", word, revision)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tells(time.Minute, false)
	a := newClusterNode(t, "a", log, func(n *clusterNode) { n.retention = time.Second })
	awaitProof(t, a)
	if _, err := a.p.Publish(Store, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	tells(time.Minute, false) // that it is there
	time.Sleep(3 * time.Second)
	if c := a.p.Counters(); c.Expired > 0 || a.p.Node().Retention() != time.Second {
		t.Errorf("%d expired by a clock that is a minute ahead", c.Expired)
	}
	tells(0, false)
	within(t, 10*time.Second, "expiry", func() bool { return a.p.Counters().Expired == 1 })
	tells(0, true)
	if _, err := a.p.Publish(Store, requestOf("y")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if c := a.p.Counters(); c.Expired > 1 {
		t.Errorf("%d expired by the clock of the only node that is there", c.Expired)
	}
	a.stop()
}
