package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
)

// TestReadyOnceCompared: a node that could not yet tell the others where it is, nor read what they
// tell, is not ready, although the log is there and syncs: it may have diverged. Nor does it
// acknowledge anything beyond its journal: the log may be one that the others have left.
func TestReadyOnceCompared(t *testing.T) {
	log := memorylog.New("a", "b")
	log.Mute(true)
	n := newClusterNode(t, "a", log)
	within(t, 10*time.Second, "the proof of sync, and the log's end", func() bool {
		status := n.p.Node().Status()
		return status.Synced && status.Leader != ""
	})
	if _, err := n.p.Publish(Replicated, requestOf("x")); !errors.Is(err, cluster.ErrStarting) {
		t.Errorf("it is told to keep an event: %v", err)
	}
	for _, level := range []Level{Journal, Replicated} {
		if err := n.p.Ready(level); !errors.Is(err, cluster.ErrStarting) {
			t.Errorf("%s: %v", level, err)
		}
	}
	within(t, 10*time.Second, "the fault", func() bool {
		return strings.Contains(fmt.Sprint(n.p.Node().Status().Faults), "not told where this node is")
	})
	log.Mute(false)
	awaitProof(t, n)
	if faults := n.p.Node().Status().Faults; len(faults) > 0 {
		t.Errorf("faults are left: %v", faults)
	}
	log.Mute(true) // from now on the others take it for absent, and it serves
	within(t, 10*time.Second, "a warning", func() bool { return len(n.p.Node().Warnings()) > 0 })
	if err := n.p.Ready(Replicated); err != nil {
		t.Error(err)
	}
	log.Mute(false)
	n.stop()
}

// TestReadyOnceCaughtUp: what a node has missed while it was away is a lag from the first moment,
// and not only once it has run for -max-lag.
func TestReadyOnceCaughtUp(t *testing.T) {
	log := memorylog.New("a", "b")
	other := newClusterNode(t, "b", log)
	awaitProof(t, other)
	if _, err := other.p.Publish(Store, requestOf("x")); err != nil {
		t.Fatal(err)
	}
	other.stop()
	log.Stall(true)
	n := newClusterNode(t, "a", log)
	if err := n.p.Ready(Journal); err == nil {
		t.Error("ready before it has asked the log")
	}
	within(t, 10*time.Second, "the log's end", func() bool { return n.p.Node().Durable() == nil && n.p.Node().Status().Head == 1 })
	for _, level := range []Level{Journal, Replicated} {
		if err := n.p.Ready(level); !errors.Is(err, cluster.ErrLagging) {
			t.Errorf("%s: %v", level, err)
		}
	}
	log.Stall(false)
	awaitProof(t, n)
	if _, position := n.p.Node().Position(); position != 1 {
		t.Errorf("ready at %d, want 1", position)
	}
	n.stop()
}

// TestNameIsFreeAfterAStop: the next life of a node that was stopped in order need not wait until
// the one before has fallen silent.
func TestNameIsFreeAfterAStop(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	n.stop()
	_, before, err := log.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	n.start()
	awaitProof(t, n)
	if text, after, err := log.Get(t.Context(), "a"); err != nil || after <= before || strings.Contains(string(text), `"left"`) {
		t.Errorf("at revision %d, then %d: %s, %v", before, after, text, err)
	}
	n.stop()
}
