package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLagIsNoStuckLog: until a store has caught up, nothing is sent that an earlier life has left.
// The log that has not taken it is not the reason.
func TestLagIsNoStuckLog(t *testing.T) {
	n := &Node{cfg: Config{Name: "a", MaxLag: time.Hour}, Outbox: NewOutbox(), Replica: &Replica{}, status: status{asked: true, named: true, compared: true, target: 1}}
	fill(t, n.Outbox, 1)
	n.Outbox.since = time.Now().Add(-2 * stuckAfter)
	if err := n.Ready(true); !errors.Is(err, ErrLagging) {
		t.Errorf("before it has caught up: %v", err)
	}
	n.status.applied.Position = 1
	if err := n.Ready(true); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("then: %v", err)
	}
}

// TestLagOfHours: a store that has come a part of the way is as late as the log's end was where it
// is now, to a hundredth, be that minutes or a day ago.
func TestLagOfHours(t *testing.T) {
	begun := time.Unix(1000, 0)
	for _, c := range []struct{ seconds, applied int }{{4000, 3600}, {86_400, 1}, {86_400, 43_200}, {86_400, 86_000}, {86_400, 86_400}} {
		n := &Node{Replica: &Replica{}, status: status{moved: make(chan struct{})}}
		for second := 1; second <= c.seconds; second++ {
			n.sample(uint64(second), begun.Add(time.Duration(second)*time.Second))
			if len(n.status.samples) > samplesKept {
				t.Fatalf("%d samples after %d s", len(n.status.samples), second)
			}
		}
		n.Replica.latest.Position = uint64(c.applied)
		n.Committed()
		want := time.Duration(c.seconds-c.applied) * time.Second
		if lag := n.lag(begun.Add(time.Duration(c.seconds) * time.Second)); (lag - want).Abs() > want/100+time.Second {
			t.Errorf("at %d of %d the lag is %v, want %v", c.applied, c.seconds, lag, want)
		}
	}
}

// TestNoQuorumNamesWhoDoesNotAnswer: of a leader that hears too few of the other servers the node
// says whom, at once and in a few words. One server that is away takes no quorum away.
func TestNoQuorumNamesWhoDoesNotAnswer(t *testing.T) {
	n := &Node{cfg: Config{Name: "a", MaxLag: time.Hour}, Outbox: NewOutbox(), Replica: &Replica{}, status: status{asked: true, named: true, compared: true}}
	n.status.head = Head{Leader: "log-3", Copies: 3, Peers: []Peer{{Name: "log-3"}, {Name: "log-1", Offline: true}, {Name: "log-2"}}}
	if err := errors.Join(n.Ready(true), n.Unanswered()); err != nil {
		t.Errorf("with two of three: %v", err)
	}
	n.status.head.Peers[2].Offline = true
	const says = "of the log's servers these do not answer: log-1, log-2"
	if err := n.Ready(true); !errors.Is(err, ErrNoQuorum) || err.Error() != "no quorum: "+says {
		t.Errorf("with one of three: %v", err)
	}
	if err := n.Unanswered(); err == nil || err.Error() != says {
		t.Errorf("of what is not answered: %v", err)
	}
	if faults := n.Status().Faults; !slices.Contains(faults, "no quorum: "+says) {
		t.Errorf("its faults: %q", faults)
	}
	if err := n.Ready(false); err != nil {
		t.Errorf("at journal: %v", err)
	}
	n.status.headErr = fmt.Errorf("%w: it has no leader", ErrUnreachable)
	for _, err := range []error{n.Ready(true), n.Unanswered()} {
		if err == nil || strings.Count(err.Error(), "leader") != 1 || strings.Count(err.Error(), "reached") != 1 {
			t.Errorf("without a leader: %v", err)
		}
	}
	n.status.head.Peers = n.status.head.Peers[:2]
	if n.status.headErr = nil; n.Ready(true) == nil {
		t.Error("a server of three was taken out, and another does not answer: no fault")
	}
}
