package publisher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"sekali/client"
	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
)

const (
	// batchBytes bounds a request. The longest event fits: a line of 1 MiB, each byte of it escaped
	// to six, and its id.
	batchBytes = 8 << 20
	// linger bounds how long an event waits for others to fill its request, for an
	// input that comes slowly (tail -f).
	linger = 200 * time.Millisecond
)

// errStopped ends the client behind a request that was under way when it was to stop, and is the
// failure of one that was not acknowledged by then.
var errStopped = errors.New("stopped")

// sender gives events to the package client, and books what it tells of them: the places of what
// was sent are in the order of Publish, as the batches are that it tells.
type sender struct {
	config  Config
	client  *client.Client
	account *account
	saver   *saver             // nil: no position is saved
	stopped context.Context    // ends when nothing more is to be sent
	running context.Context    // ends with stopped, and with the first failure
	end     context.CancelFunc // ends running

	mu      sync.Mutex
	places  []place // of the events that the client has taken, and not told of
	failure error   // the first

	// Of the batch under way, to which the client's goroutine sees.
	outcome ledger.Outcome // of the attempts that did not count
	failed  int            // number of the last of them
	halved  int            // that of a request before it that went in halves; 0: there is none to book
}

func newSender(ctx context.Context, c Config, token string, transport http.RoundTripper, a *account, saver *saver) (*sender, error) {
	s := &sender{config: c, account: a, saver: saver, stopped: ctx}
	s.running, s.end = context.WithCancel(ctx)
	ack := c.Ack
	if ack == "" {
		ack = client.AckServer
	}
	var err error
	s.client, err = client.New(c.URL, client.Options{
		Token: token, UserAgent: "sekali-publisher", Ack: ack,
		BatchEvents: c.PerRequest, BatchBytes: batchBytes, Linger: linger,
		QueueEvents: 2 * c.PerRequest, // one request's is read while the other is under way
		Timeout:     c.Timeout, GiveUp: c.Retry.MaxElapsed,
		FirstPause: c.Retry.BaseDelay, LongestPause: c.Retry.MaxDelay, LongestRetryAfter: c.Retry.MaxRetryAfter,
		Retry: s.retry, Done: s.done, Transport: transport,
	})
	if err != nil {
		s.end()
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return s, nil
}

// publish gives an event to the client. The error is that of a failure before, or of the end; a
// *skipError is of this event.
func (s *sender) publish(event []byte, at place) error {
	s.mu.Lock()
	s.places = append(s.places, at)
	s.mu.Unlock()
	err := s.client.PublishRaw(s.running, event)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	s.places = s.places[:len(s.places)-1]
	s.mu.Unlock()
	if errors.Is(err, client.ErrInvalid) {
		return &skipError{err}
	}
	return err
}

// close sends what waits; once stopped, the request under way is given a grace, and no other is
// sent. It returns how many events were not sent, and the failure if there was one.
func (s *sender) close() (unsent int, failure error) {
	closing, cancel := withGrace(s.stopped, stopGrace)
	defer cancel()
	s.client.Close(closing) // what its error says was told to done, or is unsent
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.places), s.failure
}

// retry is asked by the client whether to send a batch again. One that is too large it sends in
// halves, whose attempts are counted anew.
func (s *sender) retry(a client.Attempt) bool {
	s.bookHalved()
	told := toLedger(a)
	s.outcome, s.failed = s.outcome.Then(told.Outcome()), a.Number
	if a.Status == http.StatusRequestEntityTooLarge {
		s.halve(a)
		return true
	}
	return (a.Unnamed || delivery.Retryable(told)) && a.Number < s.config.Retry.MaxAttempts
}

// halve is of a request that the client sends in halves next, unless it has one event. What its
// attempts came to holds for all that it had.
func (s *sender) halve(a client.Attempt) {
	if s.outcome == ledger.Unknown {
		s.mu.Lock()
		for i := range s.places[:a.Events] {
			s.places[i].unsure = true
		}
		s.mu.Unlock()
	}
	s.outcome, s.failed, s.halved = ledger.Refused, 0, a.Number
}

// bookHalved books a request that went in halves, once it is seen that it did.
func (s *sender) bookHalved() {
	if s.halved > 0 {
		s.account.sent(s.halved)
	}
	s.halved = 0
}

// done books a batch. Its error ends the client.
func (s *sender) done(b client.Batch) error {
	last := toLedger(b.Last)
	if last.Status == http.StatusRequestEntityTooLarge {
		s.halved = 0 // it was this one, which is booked below
	}
	s.bookHalved()
	canceled := errors.Is(b.Err, context.Canceled)
	if canceled && s.failed != last.Attempt { // it was aborted, and retry was not asked
		last.Cause = ledger.CauseCanceled
	}
	if last.Status == http.StatusUnauthorized {
		whose := " (the token is of -token-file)"
		if s.config.TokenFile == "" {
			whose = " (no -token-file is given)"
		}
		b.Last.Detail += whose
	}
	outcome := s.outcome.Then(last.Outcome())
	s.outcome, s.failed = ledger.Refused, 0
	s.mu.Lock()
	places := s.places[:b.Events:b.Events]
	s.places = s.places[b.Events:]
	s.mu.Unlock()
	if places[0].unsure { // as are all of them then
		outcome = outcome.Then(ledger.Unknown)
	}
	s.account.delivered(places, b.Last, last, outcome)
	err := final(last, b.Last.Detail, outcome, b.Err != nil && delivery.Retryable(last))
	if canceled && outcome != ledger.Acknowledged {
		err = errStopped
	}
	if err == nil && s.saver != nil {
		err = s.saver.took(places)
	}
	if err != nil {
		s.mu.Lock()
		s.failure = err
		s.mu.Unlock()
		s.end()
		return err
	}
	if s.stopped.Err() != nil {
		return errStopped
	}
	return nil
}

// final is an error if there is no point in sending more: the aggregator could not be reached
// within the policy, or it refused in a way that has nothing to do with this batch.
func final(last ledger.Attempt, detail string, outcome ledger.Outcome, gaveUp bool) error {
	switch {
	case outcome == ledger.Acknowledged:
		return nil
	case gaveUp:
		return fmt.Errorf("gave up: %w", errIncomplete)
	}
	switch last.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return nil // this batch only; the report counts it
	}
	return fmt.Errorf("the aggregator answers %s: %w", reason(last, detail), errIncomplete)
}

// toLedger says what came of an attempt in the words of the ledger.
func toLedger(a client.Attempt) ledger.Attempt {
	told := ledger.Attempt{Attempt: a.Number, Status: a.Status, Accepted: a.Accepted, Rejected: len(a.Rejected)}
	if a.Duplicates != nil {
		told.Duplicates = *a.Duplicates
	}
	switch {
	case a.Status == 0:
		told.Cause = delivery.CauseOf(context.Background(), a.Err)
	case a.Status < 200 || a.Status >= 300:
		told.Cause = delivery.CodeCause(a.Code)
	case a.Err != nil:
		told.Cause = ledger.CauseBadAnswer
	}
	return told
}

// withGrace returns a context that ends a while after ctx does.
func withGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-later.Done():
		}
	})
	return later, func() { forget(); cancel() }
}
