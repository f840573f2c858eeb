package pipeline

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// invariant says what of the counters contradicts itself. Every event that was received is settled
// or waits, and every settled one has used a seq.
func invariant(c Counters) error {
	settled := c.UniqueProcessed + c.DuplicateDropped + c.Failed
	terms := fmt.Sprintf("unique_processed %d + duplicate_dropped %d + failed %d", c.UniqueProcessed, c.DuplicateDropped, c.Failed)
	switch {
	case c.Received != settled+c.QueueDepth:
		return fmt.Errorf("received %d ≠ %s + queue_depth %d", c.Received, terms, c.QueueDepth)
	case c.QueueDepth < 0:
		return fmt.Errorf("queue_depth %d", c.QueueDepth)
	case c.LastSeq != settled:
		return fmt.Errorf("last_seq %d ≠ %s", c.LastSeq, terms)
	}
	return nil
}

func checkInvariant(t rapid.TB, c Counters) {
	t.Helper()
	if err := invariant(c); err != nil {
		t.Fatal(err)
	}
}

// TestEachCounterCanContradict: no counter is derived from the others, so that the invariant fails
// if one of them is off by one, while events wait and when none does.
func TestEachCounterCanContradict(t *testing.T) {
	r := newRig(t, roomy)
	defer r.remove()
	r.start()
	if _, err := r.p.Publish(Store, request(t, "t", 0, 1, 2, 3, 1)); err != nil {
		t.Fatal(err)
	}
	contradict := func(when string) {
		t.Helper()
		for name, counter := range map[string]*int64{
			"received":          &r.p.counters.Received,
			"unique_processed":  &r.p.state.UniqueProcessed,
			"duplicate_dropped": &r.p.state.DuplicateDropped,
			"failed":            &r.p.state.Failed,
			"queue_depth":       &r.p.counters.QueueDepth,
			"last_seq":          &r.p.state.LastSeq,
		} {
			for _, by := range []int64{1, -1} {
				add := func(n int64) {
					r.p.mu.Lock()
					*counter += n
					r.p.mu.Unlock()
				}
				add(by)
				if err := invariant(r.p.Counters()); err == nil {
					t.Errorf("%s: %s is off by %d, and the invariant holds", when, name, by)
				}
				add(-by)
			}
		}
		checkInvariant(t, r.p.Counters())
	}
	contradict("nothing waits")
	r.stop()

	r.open()
	if _, err := r.p.Publish(Memory, request(t, "t", 0, 3, 4, 5)); err != nil {
		t.Fatal(err)
	}
	if c := r.p.Counters(); c.QueueDepth != 3 || c.Received != 7 {
		t.Errorf("%d received and %d wait, want 7 and 3", c.Received, c.QueueDepth)
	}
	contradict("three wait")
	r.run()
	if c := r.drain(); c.UniqueProcessed != 5 || c.DuplicateDropped != 2 {
		t.Errorf("%d stored and %d dropped, want 5 and 2", c.UniqueProcessed, c.DuplicateDropped)
	}
	r.stop()
}

// TestCumulative: what a scrape tells of a histogram is what was recorded.
func TestCumulative(t *testing.T) {
	h := newHistogram()
	h.RecordValue(5, 2)
	h.RecordValue(10, 1)
	h.RecordValue(700, 3)
	h.RecordValue(2_000_000, 1)
	atMost, count, sum := h.Cumulative([]int64{1, 10, 500, 1000, 3_000_000})
	if want := []uint64{0, 3, 3, 6, 7}; !slices.Equal(atMost, want) || count != 7 || sum != 2_002_120 {
		t.Errorf("%v, %d, %d", atMost, count, sum)
	}
}
