package pipeline

import (
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/journal"
)

// item is one entry of the queue: a journal frame, or a request kept in memory.
type item struct {
	frame      journal.Frame // Bytes > 0: the events are in the journal
	data       []byte        // else they are here
	events     int
	applied    int // of them, already committed; only the writer changes it
	acceptedAt time.Time
	stamp      time.Time      // received_at, of those in memory
	waiter     *waiter        // of a request at the store level
	entry      *cluster.Entry // of a cluster: the message of the log that it is; else nil
}

// waiter is a publisher that waits for the commit.
type waiter struct {
	done    chan struct{} // closed when outcome or err is set
	outcome Outcome
	err     error
}

func (i *item) inMemory() bool { return i.frame.Bytes == 0 }

// isControl reports a message of a cluster's log that has no events, and tells all replicas
// something.
func (i *item) isControl() bool { return i.entry != nil && i.entry.Frame.Control != nil }

// receivedAt is when the event came in: for a journaled one, as the journal has it,
// so that a replay tells the same.
func (i *item) receivedAt() time.Time {
	if i.inMemory() {
		return i.stamp
	}
	return i.frame.ReceivedAt
}

func (i *item) memoryBytes() int64 { return int64(len(i.data)) + itemBytes }

// queue is first in, first out. The zero queue is empty.
type queue struct {
	items        []*item // items[head:] wait
	head         int
	memoryEvents int // events of the items in memory
	waiters      int // items that a publisher waits for
}

func (q *queue) push(i *item) {
	q.items = append(q.items, i)
	if i.inMemory() {
		q.memoryEvents += i.events
	}
	if i.waiter != nil {
		q.waiters++
	}
}

func (q *queue) waiting() []*item { return q.items[q.head:] }

// pop removes the first item. The room before the head is reused once it is the
// larger part, so that each item is moved at most once.
func (q *queue) pop() *item {
	i := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	if i.inMemory() {
		q.memoryEvents -= i.events
	}
	if i.waiter != nil {
		q.waiters--
	}
	if q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return i
}
