package cluster

import (
	"testing"
	"time"
)

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
