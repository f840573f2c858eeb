package pipeline

import (
	"context"
	"fmt"
	"time"
)

const (
	// watchEvery is how often the data folder is looked at while nothing is written.
	watchEvery = 200 * time.Millisecond
	// GoneFor is how long it may be away, as while it is mounted again. Then the process ends.
	GoneFor = 5 * time.Second
)

// inPlace looks whether the data folder is where it was, and remembers the answer: while it is not,
// nothing is admitted. It comes after each write that somebody is told of: what is written to a
// folder that has gone is found by nobody.
func (p *Pipeline) inPlace() error {
	if p.cfg.Intact == nil {
		return nil
	}
	err := p.cfg.Intact()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.absent = err
	return err
}

// RunWatch looks at the data folder until ctx ends, or until it has been away for too long, which
// is an error.
func (p *Pipeline) RunWatch(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var since time.Time // when it was missed first; zero: it is there
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		switch err := p.inPlace(); {
		case err == nil && !since.IsZero():
			p.log.Info("the data folder is back")
			since = time.Time{}
		case err == nil:
		case since.IsZero():
			p.log.Error("nothing is taken", "error", err)
			since = time.Now()
		case time.Since(since) >= GoneFor:
			return fmt.Errorf("away for %v: %w", GoneFor, err)
		}
	}
}

// awaitFolder returns once the data folder is in its place. If it does not come back, nobody may be
// told that the batch is stored.
func (w *writer) awaitFolder(ctx context.Context) error {
	for began := time.Now(); ; {
		err := w.inPlace()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Since(began) >= GoneFor {
			return fmt.Errorf("nobody is told that %d events are stored: %w", len(w.batch.Rows), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchEvery):
		}
	}
}
