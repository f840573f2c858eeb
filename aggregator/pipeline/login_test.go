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

// TestRefusedLoginIsSaid: a node that the log does not let in any more is not ready at any level,
// and says why. What would wait for the log is refused at once, the journal goes on, and once the
// login is right so does the rest, with nothing lost.
func TestRefusedLoginIsSaid(t *testing.T) {
	log := memorylog.New("a")
	n := newClusterNode(t, "a", log)
	awaitProof(t, n)
	log.Refuse(true)
	for _, level := range []Level{Journal, Replicated} {
		within(t, 10*time.Second, string(level)+" is not ready", func() bool {
			err := n.p.Ready(level)
			return errors.Is(err, cluster.ErrNoQuorum) && errors.Is(err, cluster.ErrLogin)
		})
	}
	began := time.Now()
	for _, level := range []Level{Replicated, Store} {
		if _, err := n.p.Publish(level, requestOf("x")); !errors.Is(err, cluster.ErrNoQuorum) || !strings.Contains(err.Error(), "-cluster-token-file") {
			t.Errorf("%s: %v", level, err)
		}
	}
	if waited := time.Since(began); waited >= QuorumWait {
		t.Errorf("they waited for %v", waited)
	}
	if c := n.p.Counters(); c.Received != 0 {
		t.Errorf("%d events of what was refused are counted as taken", c.Received)
	}
	s := n.p.Node().Status()
	if !strings.Contains(fmt.Sprint(s.Faults), "-cluster-token-file") || s.Leader != "" {
		t.Errorf("leader %q, faults %v", s.Leader, s.Faults)
	}
	if _, err := n.p.Publish(Journal, requestOf("y")); err != nil {
		t.Error(err)
	}
	log.Refuse(false)
	n.awaitPosition(1)
	awaitProof(t, n)
	if lines := n.applied(); !strings.HasPrefix(lines[0], "1 t y ") {
		t.Errorf("stored is %q", lines)
	}
	n.stop()
}
