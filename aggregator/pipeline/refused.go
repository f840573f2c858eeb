package pipeline

import (
	"fmt"
	"slices"

	"sekali/aggregator/event"
	"sekali/aggregator/store"
)

// RefusedBytes bounds what was refused and waits to be kept as dead letters.
const RefusedBytes = 16 << 20

// refused is what one request was refused for, until it is committed.
type refused struct {
	letters []store.Refused
	bytes   int64
	done    chan struct{} // closed once committed, or not, with err
	err     error
}

// Refuse keeps letters as dead letters. It returns when they are committed, or at the memory level
// when they wait for it. An error is one of a passing state, in which nothing is kept.
func (p *Pipeline) Refuse(level Level, letters []store.Refused) error {
	r := &refused{letters: letters, done: make(chan struct{})}
	for i := range letters {
		r.bytes += letters[i].Bytes()
	}
	if err := p.admitRefused(r); err != nil {
		return err
	}
	if level == Memory {
		return nil
	}
	<-r.done
	return r.err
}

func (p *Pipeline) admitRefused(r *refused) error {
	p.lockFresh(r.bytes)
	defer p.mu.Unlock()
	// Only a commit keeps them, whatever the level.
	if err := p.refusal(Store, &event.Request{Events: 1}); err != nil {
		return err
	}
	if p.refusedBytes+r.bytes > RefusedBytes {
		return fmt.Errorf("%w: %d bytes of dead letters wait", ErrQueueFull, p.refusedBytes)
	}
	p.refused = append(p.refused, r)
	p.refusedBytes += r.bytes
	wake(p.queueReady)
	return nil
}

// takeRefused gives the batch what waits; settleRefused answers for it once it is committed.
func (w *writer) takeRefused() {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.batch
	b.refused = len(w.refused)
	b.Refused = nil
	for _, r := range w.refused {
		b.Refused = append(b.Refused, r.letters...)
	}
}

// settleRefused ends the wait of the first n. The caller holds mu.
func (p *Pipeline) settleRefused(n int, err error) {
	for _, r := range p.refused[:n] {
		p.refusedBytes -= r.bytes
		r.err = err
		close(r.done)
	}
	p.refused = slices.Delete(p.refused, 0, n)
}

// refusedWait reports that something waits to be kept.
func (p *Pipeline) refusedWait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refused) > 0
}
