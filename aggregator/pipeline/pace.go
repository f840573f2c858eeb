package pipeline

import (
	"time"

	"sekali/aggregator/store"
)

const (
	// applyWithin is what the work of a transaction is to take while more waits than fits into one:
	// readers, and publishers at the store level, wait for its end. With its COMMIT, and a checkpoint
	// behind it, 100 ms pass without a commit at most.
	applyWithin = 60 * time.Millisecond
	// paceLeast is the least that a full transaction has, however long it takes: with less, what each
	// costs beside its events would count for more. One with less says nothing of an event's time.
	paceLeast = 10_000
	// paceWeight is how much the newest transaction counts against those before. One that the machine
	// has held up for a second must not make the next ones small.
	paceWeight = 0.25
)

// pace knows how long large transactions work on an event: publishers who take the other processors
// make that anything from one to two times what it is alone. The COMMIT does not count: on a disk
// whose sync takes long, smaller transactions would only sync more often.
type pace struct {
	perEvent float64 // nanoseconds; 0: there was no large one
}

// learn takes a transaction of so many events whose work took so long.
func (p *pace) learn(events int, took time.Duration) {
	if events < paceLeast {
		return
	}
	perEvent := float64(took) / float64(events)
	if p.perEvent == 0 {
		p.perEvent = perEvent
	}
	p.perEvent += paceWeight * (perEvent - p.perEvent)
}

// events is how many a transaction may have, of most.
func (p *pace) events(most int) int {
	if p.perEvent == 0 {
		return most
	}
	return min(most, max(paceLeast, int(float64(applyWithin)/p.perEvent)))
}

// learn tells the pace of a transaction. Where the table decides, a transaction writes a page for
// nearly every event, so that its events cost more the fewer there are: a pace would slow down
// itself, and there is none.
func (w *writer) learn(events int, took time.Duration) {
	if w.store.Info.Dedup != store.DedupTable {
		w.pace.learn(events, took)
	}
}
