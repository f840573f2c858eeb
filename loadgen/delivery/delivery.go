// Package delivery takes one request to the aggregator, again and again, until
// it is acknowledged, refused for good, or its policy gives up, and reports
// every attempt in the words of the ledger. The attack is made of it. How it
// repeats and reads an answer is internal/attempt's, as it is for the package
// client, so what the lab measures is what a publisher does.
package delivery

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"sekali/internal/attempt"
	"sekali/loadgen/ledger"
)

// maxAnswerBytes bounds what is read of an answer. The errors of a batch of
// 10 000 bad events fit.
const maxAnswerBytes = 2 << 20

// Sender sends requests; safe for concurrent use.
type Sender struct {
	Transport http.RoundTripper
	Policy    Policy
	Timeout   time.Duration // of one attempt: connecting, sending, and reading the whole answer
	Start     time.Time     // zero of the ledger's times
}

// Request is what to send. Nothing of it is changed.
type Request struct {
	Number    uint64
	Phase     int
	PlannedNS int64
	URL       *url.URL
	Others    []*url.URL  // that take the same: each attempt goes to the next one
	Header    http.Header // not nil
	Body      []byte
	Events    int // how many the body holds
}

// Result is what all attempts of a request came to.
type Result struct {
	Outcome  ledger.Outcome
	Last     ledger.Attempt
	Answer   Answer // of the last attempt, if it had one
	GaveUp   bool   // another attempt might have helped, and the policy or the context allowed none
	BodyFree bool   // the transport is done with the body: its memory may be used again
}

// Send delivers r. Each attempt is reported, before the pause that follows it.
// When ctx ends, the attempt under way is aborted.
func (s *Sender) Send(ctx context.Context, r Request, report func(ledger.Attempt)) Result {
	var (
		result Result
		bodies bodies
	)
	result.GaveUp = s.Policy.Repeat(ctx, func(n int) (bool, time.Duration) {
		attempt, answer := s.attempt(ctx, r, n, &bodies)
		report(attempt)
		result.Outcome = result.Outcome.Then(attempt.Outcome())
		result.Last, result.Answer = attempt, answer
		return Retryable(attempt), answer.retryAfter
	})
	result.BodyFree = bodies.open.Load() == 0
	return result
}

func (s *Sender) attempt(ctx context.Context, r Request, n int, bodies *bodies) (ledger.Attempt, Answer) {
	stopped := ctx
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	target := r.target(n)
	request := (&http.Request{
		Method:        http.MethodPost,
		URL:           target,
		Host:          target.Host,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        r.Header,
		ContentLength: int64(len(r.Body)),
		Body:          bodies.reader(r.Body),
		// net/http uses it only where nothing had been written to a connection
		// that turned out to be dead: that is not an attempt.
		GetBody: func() (io.ReadCloser, error) { return bodies.reader(r.Body), nil },
	}).WithContext(ctx)

	a := ledger.Attempt{
		Request: r.Number, Attempt: n, Phase: r.Phase,
		PlannedNS: r.PlannedNS, SentNS: int64(time.Since(s.Start)), Bytes: len(r.Body),
	}
	response, body, err := s.exchange(request)
	a.DoneNS = int64(time.Since(s.Start))
	if err != nil {
		a.Cause = CauseOf(stopped, err)
		return a, Answer{}
	}
	answer := Answer{attempt.ParseAnswer(body), attempt.RetryAfter(response.Header, time.Now())}
	answer.judge(&a, response.StatusCode, r.Events, target.Query().Get("ack"))
	return a, answer
}

// target is where the n-th attempt goes. Requests begin at one server after the other, so that each
// has its share.
func (r Request) target(n int) *url.URL {
	all := uint64(1 + len(r.Others))
	if at := (r.Number + uint64(n)) % all; at > 0 {
		return r.Others[at-1]
	}
	return r.URL
}

// exchange returns the answer with the whole of its body.
func (s *Sender) exchange(request *http.Request) (*http.Response, []byte, error) {
	response, err := s.Transport.RoundTrip(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	return response, body, err
}

// Retryable names what a publisher repeats. No other 4xx: the same request
// would be refused again. Not a 500: that is a bug, and repeating hides it.
func Retryable(a ledger.Attempt) bool {
	switch a.Status {
	case 0:
		return a.Cause != ledger.CauseCanceled
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// bodies counts the readers of one request's body that the transport has not
// closed. It may still be writing when the answer is there (an early refusal),
// and until then the bytes must not change.
type bodies struct{ open atomic.Int32 }

func (b *bodies) reader(body []byte) io.ReadCloser {
	b.open.Add(1)
	r := &bodyReader{bodies: b}
	r.Reset(body)
	return r
}

type bodyReader struct {
	bytes.Reader
	bodies *bodies
	closed atomic.Bool
}

func (r *bodyReader) Close() error {
	if !r.closed.Swap(true) {
		r.bodies.open.Add(-1)
	}
	return nil
}
