package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sekali/aggregator/crash"
	"sekali/aggregator/journal"
)

const (
	// inFlight is how many frames are under way to the log at one time: with 8 of 128 KiB it took as
	// much as with more, and a doubt costs no more than these.
	inFlight = 8
	// busyFrames are as many as the log works on at one time: one is on its way or being stored by the
	// leader, one by the followers, one by the stream, and one is the next. Frames that wait at the
	// leader share its sync and the followers'. Reasoned, not measured.
	busyFrames = 4
	// doubtAfter is how long the oldest of them may go without an answer before all are sent again,
	// twice as long after each time up to doubtGrows: a log that is slow must not get more to do. An
	// election takes 4 to 9 s.
	doubtAfter = 2 * time.Second
	doubtGrows = 8 // times at most
	// sendPause is how long the sender rests when the log does not take what it is sent.
	sendPause = 100 * time.Millisecond
)

// sender sends the outbox to the log, in order, and again what may not have arrived.
type sender struct {
	outbox  *Outbox
	journal Journal
	log     Log
	logger  *slog.Logger
	doubts  time.Duration // doubtAfter, but in tests

	held journal.Frame // whose body is in body
	body []byte

	mu      sync.Mutex
	failed  error // what the log has said of a frame since it was looked at
	failing bool  // it was logged
}

// run sends until ctx ends. It returns an error if the outbox cannot be read.
func (s *sender) run(ctx context.Context) error {
	next := uint64(0) // how many were sent, of all that were ever in the outbox
	var oldest uint64 // of those under way …
	var since time.Time
	patience := s.doubts
	for ctx.Err() == nil {
		v := s.outbox.view(next)
		now := time.Now()
		if v.acked != oldest || since.IsZero() {
			if v.acked != oldest {
				patience = s.doubts
				s.recovered()
			}
			oldest, since = v.acked, now
		}
		next = max(next, v.acked)
		failed := s.takeFailed()
		switch {
		case failed != nil || next > v.acked && now.Sub(since) >= patience:
			if failed == nil {
				patience = min(2*patience, doubtGrows*s.doubts)
			}
			s.doubt(failed, next-v.acked)
			next, since = v.acked, time.Time{}
			if failed != nil {
				s.rest(ctx, sendPause, nil)
			}
		case v.next != nil && next-v.acked < inFlight:
			if next == v.acked {
				since = now
			}
			if err := s.send(v.next); err != nil {
				return err
			}
			next++
		case next > v.acked:
			s.rest(ctx, time.Until(since.Add(patience)), v.changed)
		default:
			s.rest(ctx, time.Hour, v.changed)
		}
	}
	return nil
}

// rest waits for a change, for so long at most.
func (s *sender) rest(ctx context.Context, most time.Duration, changed <-chan struct{}) {
	timer := time.NewTimer(max(most, time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
}

// send hands a frame to the log. What the log says at once is as what it says later.
func (s *sender) send(f *sent) error {
	message, err := s.message(f)
	if err != nil && !s.outbox.has(f) { // read back from the log, and released with its segment
		return nil
	}
	if err != nil {
		return err
	}
	key := f.frameKey
	crash.Here(crash.LogSending)
	err = s.log.Append(message, func(at uint64, err error) {
		crash.Here(crash.LogAnswered)
		if err != nil {
			s.fail(err)
			return
		}
		s.outbox.Answered(key, at)
	})
	if err != nil {
		s.fail(err)
	}
	return nil
}

// message is a frame's bytes, which nobody changes until the log has answered. The first time they
// are in memory, as a rule: to read, unpack and check them again is for a repeat, or after a start.
func (s *sender) message(f *sent) ([]byte, error) {
	if fresh := s.outbox.takeFresh(f); fresh != nil {
		return fresh, nil
	}
	if s.held != f.in {
		body, err := s.journal.Read(f.in, s.body)
		if err != nil {
			s.held = journal.Frame{} // what is in the buffer is nobody's
			return nil, err
		}
		s.held, s.body = f.in, body
	}
	return append([]byte(nil), s.body[f.from:f.to]...), nil // the buffer is for the next
}

func (s *sender) fail(err error) {
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
	s.outbox.refused(errors.Is(err, ErrFull))
}

func (s *sender) takeFailed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.failed
	s.failed = nil
	return err
}

// doubt logs the first of a row.
func (s *sender) doubt(failed error, frames uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.failing {
		if failed == nil {
			failed = errors.New("no answer")
		}
		s.logger.Warn("the log does not answer: what is not acknowledged is sent again", "frames", frames, "error", failed)
	}
	s.failing = true
}

func (s *sender) recovered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing {
		s.logger.Info("the log answers again")
	}
	s.failing = false
}

// sending is what the sender sees of the outbox.
type sending struct {
	acked   uint64 // of all frames that were ever in the outbox, so many are in the log
	next    *sent  // the one behind those that were sent; nil: none may be sent now
	changed <-chan struct{}
}

// view shows the frame behind the first so many. None of a session is sent before all of an earlier
// one are in the log: it could come before what is then sent again. Nor is one sent before all are
// that it says were acknowledged: that was by another log, or of a message that was passed over,
// and where it came first every replica would take the log for one that has lost them.
func (o *Outbox) view(next uint64) (v sending) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v.acked, v.changed = o.gone+uint64(o.acked), o.changed
	i := int(max(next, v.acked) - o.gone)
	if i < len(o.frames) && o.frames[i].session == o.frames[o.acked].session && o.frames[i].after < o.frames[o.acked].number {
		v.next = o.frames[i]
	}
	return v
}

// has reports that a frame is in the outbox yet.
func (o *Outbox) has(s *sent) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.byKey[s.frameKey] == s
}

// refused notes that the log did not take a frame, and whether for want of room. It stays so until
// the log takes one.
func (o *Outbox) refused(full bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.full = o.full || full && o.acked < len(o.frames)
	o.tell()
}
