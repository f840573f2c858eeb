package cluster

import (
	"context"
	"errors"
	"testing"
	"time"
)

// desk is a registry of one name, which counts its words from 1 on.
type desk struct {
	value    string
	revision uint64
	shows    uint64 // a revision that is told instead; 0: its own
}

func (d *desk) Get(context.Context, string) ([]byte, uint64, error) {
	if d.shows > 0 {
		return []byte(d.value), d.shows, nil
	}
	return []byte(d.value), d.revision, nil
}

func (d *desk) Put(_ context.Context, _ string, value []byte, revision uint64) (uint64, error) {
	if revision != d.revision {
		return 0, ErrReplaced
	}
	d.value = string(value)
	d.revision++
	return d.revision, nil
}

// TestRegistryMadeAnew: a node goes on to tell in a registry that was made anew while it ran, where
// its words have lower numbers.
func TestRegistryMadeAnew(t *testing.T) {
	d := &desk{}
	l := lease{registry: d, node: "a", session: "s"}
	tell := func() error { return l.tell(t.Context(), Beat{Node: "a", Session: "s"}) }
	for range 7 {
		if err := tell(); err != nil || l.failed != nil {
			t.Fatal(err, l.failed)
		}
	}
	*d = desk{}
	if err := tell(); err != nil || l.failed != nil || d.revision != 1 {
		t.Errorf("an empty one is at %d: %v, %v", d.revision, err, l.failed)
	}
	for range 7 {
		if err := tell(); err != nil {
			t.Fatal(err)
		}
	}
	d.revision = 3 // with a word of this process whose answer was lost
	if err := tell(); err != nil || l.failed != nil || d.revision != 4 {
		t.Errorf("one with an earlier word is at %d: %v, %v", d.revision, err, l.failed)
	}
	*d = desk{value: `{"session":"another"}`, revision: 2}
	if err := tell(); err != nil || d.revision != 2 {
		t.Errorf("another's lower word: %v, %+v", err, d)
	}
}

// TestWordsOfANewRegistryAreHeard: once a node's own word has a lower number, those of the others
// may have lower ones, too. Their silence begins anew.
func TestWordsOfANewRegistryAreHeard(t *testing.T) {
	d := &desk{revision: 9}
	n := &Node{cfg: Config{Name: "a"}, status: status{heard: map[string]heard{"a": {9, time.Now()}, "b": {8, time.Unix(1, 0)}}}}
	l := lease{registry: d, node: "a", session: "s", revision: 9, told: 9, mine: true}
	tell := func() {
		t.Helper()
		if err := n.tell(t.Context(), &l, Beat{}); err != nil {
			t.Fatal(err)
		}
	}
	tell()
	if n.noteHeard("b", 3, time.Now()) {
		t.Error("an older word of the same registry is heard")
	}
	*d = desk{}
	tell()
	if !n.noteHeard("b", 3, time.Now()) || time.Since(n.status.heard["b"].changed) > time.Minute {
		t.Errorf("a word of the new one is not: %v", n.status.heard)
	}
}

// TestRefusedWordIsSaid: a beat that is refused again and again was not told.
func TestRefusedWordIsSaid(t *testing.T) {
	d := &desk{}
	l := lease{registry: d, node: "a", session: "s"}
	tell := func() error { return l.tell(t.Context(), Beat{Node: "a", Session: "s"}) }
	if err := tell(); err != nil || l.failed != nil {
		t.Fatal(err, l.failed)
	}
	d.revision, d.shows = 9, 1
	if err := tell(); err != nil || !errors.Is(l.failed, ErrReplaced) {
		t.Errorf("%v, and it was told but for %v", err, l.failed)
	}
	d.shows = 0
	if err := tell(); err != nil || l.failed != nil || d.revision != 10 {
		t.Errorf("%v, %v", err, l.failed)
	}
}

// TestLostNameIsWaitedForAnew: who loses the name to another at the last moment waits for that one
// as long as for any.
func TestLostNameIsWaitedForAnew(t *testing.T) {
	d := &desk{value: `{"session":"first"}`, revision: 5}
	l := lease{registry: d, node: "a", session: "s"}
	tell := func() error { return l.tell(t.Context(), Beat{Node: "a", Session: "s"}) }
	for range leaseBeats {
		if err := tell(); err != nil || l.mine {
			t.Fatal(err, l.mine)
		}
	}
	d.revision, d.shows = 6, 5 // another is a moment before it
	if err := tell(); err != nil || l.mine {
		t.Fatal(err, l.mine)
	}
	d.value, d.shows = `{"session":"second"}`, 0
	for i := range leaseBeats {
		if err := tell(); err != nil || l.mine {
			t.Fatalf("after %d beats it has the name: %v", i, err)
		}
	}
	if err := tell(); err != nil || !l.mine {
		t.Errorf("it has not got the name: %v", err)
	}
}

// TestForgottenOfAnotherEpoch: positions begin anew in each epoch. What nodes have told that were
// forgotten before it is of other positions under the same numbers, and contradicts nobody.
func TestForgottenOfAnotherEpoch(t *testing.T) {
	id := Identity{Cluster: "c", Epoch: 2}
	own := Checkpoint{checkpointEvery, Hash{1}}
	n := &Node{cfg: Config{Name: "a"}, Replica: &Replica{Identity: id}, status: status{applied: own, beats: map[string]Beat{}}}
	tell := func(epoch uint64) {
		for _, name := range []string{"b", "c"} {
			n.status.beats[name] = Beat{Node: name, Cluster: "c", Epoch: epoch, Position: own.Position, Hash: Hash{2}.String(), Forgotten: true}
		}
	}
	tell(1)
	if err := n.compare(); err != nil || n.status.doubt != "" {
		t.Errorf("it is contradicted by the epoch before: %v, %q", err, n.status.doubt)
	}
	tell(2)
	if err := n.compare(); !errors.Is(err, ErrHalted) {
		t.Errorf("two of its own epoch contradict it, and it says %v", err)
	}
}
