package aggregator

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// startingEvery is how often a start that takes long says what it is at.
const startingEvery = 10 * time.Second

// errEnded means that the aggregator was told to end before it listened.
var errEnded = errors.New("told to end before it listened")

// starting is what a start is at. Before it listens nobody can ask it, and after a restore it reads
// all events. It is ended between two stages, and while it reads events: it leaves what a start
// leaves that fails.
type starting struct {
	ctx   context.Context // ends when the start is to end
	log   *slog.Logger
	began time.Time

	mu        sync.Mutex // guards all below
	stage     string
	seq, last int64 // it has come to seq, of last; 0: that is not counted
}

// at says which stage begins. Its error says to end.
func (s *starting) at(stage string) error { return s.note(stage, 0, 0) }

// keys is a store.Progress.
func (s *starting) keys(seq, last int64) error { return s.note("reading the events' keys", seq, last) }

func (s *starting) note(stage string, seq, last int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage, s.seq, s.last = stage, seq, last
	if s.ctx.Err() != nil {
		return errEnded
	}
	return nil
}

// tell logs every startingEvery what the start is at, until stop.
func (s *starting) tell() (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(startingEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.log.Info("starting", s.now()...)
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		<-done
	}
}

// now is a line's attributes.
func (s *starting) now() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := []any{"stage", s.stage, "seconds", int(time.Since(s.began).Seconds())}
	if s.last > 0 {
		line = append(line, "seq", s.seq, "last_seq", s.last)
	}
	return line
}
