package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	// firstPause and longestPause bound the pause after a failed attempt: it is random below a bound
	// that doubles from the first to the longest, so that many clients do not come back at once.
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
	// longestRetryAfter bounds what a server can ask for.
	longestRetryAfter = time.Minute
	// maxAnswerBytes bounds what is read of an answer.
	maxAnswerBytes = 16 << 20
	// codeMalformed is of a body that is not what /publish takes. Every other 400 is of the URL or of
	// a proxy, and no fault of the events.
	codeMalformed = "malformed"
)

// ErrGaveUp is of an event that nobody answered for Options.GiveUp. It may be stored all the same:
// an answer can have been lost.
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

// pauses are the bounds of the pause after the first and after many attempts.
type pauses struct{ first, longest time.Duration }

// after is the pause after attempt n, which counts from 1: at least what the server asks for.
func (p pauses) after(n int, asked time.Duration) time.Duration {
	bound := p.longest
	if n < 30 { // more doublings do not fit
		bound = min(p.longest, p.first<<(n-1))
	}
	return min(asked, longestRetryAfter) + rand.N(bound)
}

// answer is what the aggregator says to a batch.
type answer struct {
	Accepted *int `json:"accepted"`
	Rejected int  `json:"rejected"`
	Errors   []struct {
		Index  int    `json:"index"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
	} `json:"errors"`
	Code   string `json:"code"`
	Detail string `json:"detail"`

	status     int
	retryAfter time.Duration
}

// deliver sends a batch until each of its events is stored or failed. It is false if ctx ended
// first.
func (c *Client) deliver(ctx context.Context, batch [][]byte) bool {
	started := time.Now()
	for n := 1; ; n++ {
		a, err := c.post(ctx, batch)
		if ctx.Err() != nil && err != nil {
			return false
		}
		c.note(err)
		switch {
		case err == nil:
			for _, e := range a.Errors {
				c.fail(batch[e.Index], &RejectedError{a.status, e.Code, e.Detail})
			}
			return true
		case a.status == http.StatusBadRequest && a.Code == codeMalformed, a.status == http.StatusRequestEntityTooLarge:
			// Some event spoils the batch, or there are too many: in halves it is found.
			if half := len(batch) / 2; half > 0 {
				return c.deliver(ctx, batch[:half]) && c.deliver(ctx, batch[half:])
			}
			c.fail(batch[0], &RejectedError{a.status, a.Code, a.Detail})
			return true
		}
		pause := c.pauses.after(n, a.retryAfter)
		if c.options.GiveUp > 0 && time.Since(started)+pause > c.options.GiveUp {
			for _, event := range batch {
				c.fail(event, fmt.Errorf("%w after %d attempts: %w", ErrGaveUp, n, err))
			}
			return true
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
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
		event, _ := decode(text) // encode made it
		c.options.Failed(event, reason)
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

// post sends a batch once. There is no error only if the answer speaks of each event.
func (c *Client) post(ctx context.Context, batch [][]byte) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	body := append(append([]byte{'['}, bytes.Join(batch, []byte{','})...), ']')
	target := c.base.JoinPath("publish")
	target.RawQuery = "ack=journal"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	request.Header.Set("Content-Type", "application/json")
	c.authorize(request)
	response, err := c.http.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return a, err
	}
	bad := json.Unmarshal(text, &a)
	a.status, a.retryAfter = response.StatusCode, retryAfter(response.Header)
	switch a.status {
	case http.StatusOK, http.StatusAccepted, http.StatusUnprocessableEntity:
		if bad == nil && a.speaksOf(len(batch)) {
			return a, nil
		}
		return a, fmt.Errorf("client: %s: an answer that does not count %d events", response.Status, len(batch))
	}
	return a, fmt.Errorf("client: %s %s: %s", response.Status, a.Code, a.Detail)
}

func (c *Client) authorize(request *http.Request) {
	if c.options.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.options.Token)
	}
}

// speaksOf is true if the answer counts n events, and names each that is rejected once.
func (a *answer) speaksOf(n int) bool {
	if a.Accepted == nil || *a.Accepted < 0 || *a.Accepted+a.Rejected != n || len(a.Errors) != a.Rejected {
		return false
	}
	named := map[int]bool{}
	for _, e := range a.Errors {
		if e.Index < 0 || e.Index >= n || named[e.Index] {
			return false
		}
		named[e.Index] = true
	}
	return true
}

// retryAfter reads seconds or an HTTP date; 0 if it is neither.
func retryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
