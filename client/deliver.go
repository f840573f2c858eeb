package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sekali/internal/attempt"
)

const (
	// maxAnswerBytes bounds what is read of an answer.
	maxAnswerBytes = 16 << 20
	// codeMalformed is of a body that is not what /publish takes. Every other 400 is of the URL or of
	// a proxy, and no fault of the events.
	codeMalformed = "malformed"
	// codeFailed is of an event that is valid, and that the database refused.
	codeFailed = "failed"
)

// ErrGaveUp is of an event that nobody answered for Options.GiveUp, or until Options.Retry wanted
// no other attempt. It may be stored all the same: an answer can have been lost.
var ErrGaveUp = errors.New("client: gave up")

// RejectedError is of an event that the aggregator refuses, and would again.
type RejectedError struct {
	Status int    // of HTTP
	Code   string // as docs/reference/http.md lists them
	Detail string // for a person
}

// Error is a line for a person.
func (e *RejectedError) Error() string {
	return fmt.Sprintf("client: rejected with %d %s: %s", e.Status, e.Code, e.Detail)
}

// Attempt is one request, as it ended.
type Attempt struct {
	Number     int         // of the batch's attempts, from 1
	Events     int         // of the batch
	Status     int         // of HTTP; 0: there was no whole answer
	Code       string      // of a refusal, as docs/reference/http.md lists them
	Detail     string      // of a refusal, for a person
	Accepted   int         // events that the aggregator took
	Duplicates *int        // of those; nil: it does not tell at this Ack
	Rejected   []Rejection // events that it, or its database, refused one by one
	Err        error       // why the answer does not count; nil: it speaks of each event
	Unnamed    bool        // as it counts events that the database refused, and the next would name them

	retryAfter time.Duration
}

// Rejection is what an answer says of an event that is refused.
type Rejection struct {
	Index  int // within the batch
	Code   string
	Detail string
}

// spoiled is true if some event spoils the batch, or there are too many.
func (a *Attempt) spoiled() bool {
	return a.Status == http.StatusBadRequest && a.Code == codeMalformed || a.Status == http.StatusRequestEntityTooLarge
}

// Batch is what became of events that were sent together: the oldest ones of which Options.Done was
// not told before.
type Batch struct {
	Events int
	Last   Attempt // its Number is how often they were sent
	Err    error   // nil: each event was accepted or rejected. Else none of them is known to be stored
}

// deliver sends a batch until each of its events is stored or failed. The error says that nothing
// more is to be sent.
func (c *Client) deliver(ctx context.Context, batch [][]byte) error {
	var last Attempt
	refused := false // by the options' Retry
	results := false // are asked for
	var duplicates *int
	gaveUp := c.policy.Repeat(ctx, func(n int) (bool, time.Duration) {
		last = c.post(ctx, batch, results)
		last.Number, last.Events = n, len(batch)
		c.note(last.Err)
		if last.Err == nil || ctx.Err() != nil {
			return false, 0
		}
		refused = c.options.Retry != nil && !c.options.Retry(last)
		if last.Unnamed && !results && !refused {
			results, duplicates = true, last.Duplicates
			return true, 0
		}
		return !refused && !last.spoiled(), last.retryAfter
	})
	switch half := len(batch) / 2; {
	case last.Err == nil:
		if results { // to which all that was stored before is a duplicate
			last.Duplicates = duplicates
		}
		for _, e := range last.Rejected {
			c.fail(batch[e.Index], &RejectedError{last.Status, e.Code, e.Detail})
		}
		return c.done(Batch{len(batch), last, nil})
	case ctx.Err() != nil:
		return errors.Join(ctx.Err(), c.done(Batch{len(batch), last, ctx.Err()}))
	case !gaveUp && !refused && half > 0: // in halves the event that spoils it is found
		if err := c.deliver(ctx, batch[:half]); err != nil {
			return err
		}
		return c.deliver(ctx, batch[half:])
	}
	reason := fmt.Errorf("%w after %d attempts: %w", ErrGaveUp, last.Number, last.Err)
	if last.spoiled() {
		reason = &RejectedError{last.Status, last.Code, last.Detail}
	}
	for _, event := range batch {
		c.fail(event, reason)
	}
	return c.done(Batch{len(batch), last, reason})
}

// done tells the owner what became of a batch.
func (c *Client) done(b Batch) error {
	if c.options.Done == nil {
		return nil
	}
	return c.options.Done(b)
}

// note keeps what came of the newest attempt, for who waits.
func (c *Client) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = err
}

// fail tells that an event will not be stored.
func (c *Client) fail(text []byte, reason error) {
	c.count(reason)
	if c.options.Failed != nil {
		c.options.Failed(decode(text), reason)
	}
}

// count keeps a failure for the next Flush.
func (c *Client) count(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed++; c.failure == nil {
		c.failure = reason
	}
}

// post sends a batch once, and may ask what became of each event, which only store can tell.
func (c *Client) post(ctx context.Context, batch [][]byte, results bool) (a Attempt) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	body, contentType := join(batch)
	target := c.base.JoinPath("publish")
	target.RawQuery = ""
	if ack := c.options.level(); results {
		target.RawQuery = "ack=" + AckStore + "&results=true"
	} else if ack != "" {
		target.RawQuery = "ack=" + ack
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return Attempt{Err: err}
	}
	request.Header.Set("Content-Type", contentType)
	c.identify(request)
	response, err := c.http.Do(request)
	if err != nil {
		return Attempt{Err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return Attempt{Err: err}
	}
	return c.judge(response, text, len(batch))
}

// judge reads an answer. It counts only if it speaks of each of the n events, and is of the level
// that was asked for.
func (c *Client) judge(response *http.Response, text []byte, n int) Attempt {
	answer := attempt.ParseAnswer(text)
	a := Attempt{
		Status: response.StatusCode, Code: answer.Code, Detail: answer.Detail, Duplicates: answer.Duplicates,
		retryAfter: attempt.RetryAfter(response.Header, time.Now()),
	}
	if answer.Accepted != nil {
		a.Accepted = *answer.Accepted
	}
	for _, e := range answer.Errors {
		a.Rejected = append(a.Rejected, Rejection(e))
	}
	switch a.Status {
	case http.StatusOK, http.StatusAccepted:
		failures, named := answer.Failures(n)
		switch {
		case !answer.Counts(n) || !answer.Names(n) || !answer.IsOf(c.options.level(), a.Status):
			a.Err = fmt.Errorf("client: %s: no acknowledgement of %d events", response.Status, n)
		case !named:
			a.Unnamed = true
			a.Err = fmt.Errorf("client: %s: the database refused %d of %d events, and it is not said which", response.Status, answer.Failed, n)
		default:
			for _, index := range failures {
				a.Rejected = append(a.Rejected, Rejection{index, codeFailed, "the database refused it, and /dead-letters says why"})
			}
			a.Accepted -= len(failures)
		}
	case http.StatusUnprocessableEntity:
		if !answer.Counts(n) || !answer.Names(n) {
			a.Err = fmt.Errorf("client: %s: an answer that does not count %d events", response.Status, n)
		}
	default:
		a.Err = fmt.Errorf("client: %s %s: %s", response.Status, answer.Code, answer.Detail)
	}
	return a
}

// join is the body of a batch: NDJSON, of which the aggregator takes each line for itself, unless
// an event goes over more than one line.
func join(batch [][]byte) (body []byte, contentType string) {
	for _, event := range batch {
		if bytes.IndexByte(event, '\n') >= 0 {
			return append(append([]byte{'['}, bytes.Join(batch, []byte{','})...), ']'), "application/json"
		}
	}
	return append(bytes.Join(batch, []byte{'\n'}), '\n'), "application/x-ndjson"
}

// identify says who asks.
func (c *Client) identify(request *http.Request) {
	request.Header.Set("User-Agent", c.options.UserAgent)
	if c.options.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.options.Token)
	}
}
