package cluster

import (
	"errors"
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
