package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"sekali/loadgen/ledger"
)

// maxCauseBytes bounds what of a server's problem code goes into the ledger.
const maxCauseBytes = 64

// Answer is the body of an answer of the aggregator.
type Answer struct {
	Ack        string       `json:"ack"`
	Accepted   *int         `json:"accepted"`
	Rejected   int          `json:"rejected"`
	Duplicates *int         `json:"duplicates"` // nil: this ack level cannot know yet
	Stored     *int         `json:"stored"`     // beside Duplicates
	Errors     []EventError `json:"errors"`

	Code   string `json:"code"`   // of a problem document
	Detail string `json:"detail"` // of a problem document

	retryAfter time.Duration
	valid      bool // the body was JSON
}

// EventError names a rejected event.
type EventError struct {
	Index  int    `json:"index"` // within the request
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// RetryAfter is how long the server asks to wait; 0: it does not.
func (a Answer) RetryAfter() time.Duration { return a.retryAfter }

func parseAnswer(response *http.Response, body []byte) Answer {
	var a Answer
	a.valid = json.Unmarshal(body, &a) == nil
	a.retryAfter = parseRetryAfter(response.Header.Get("Retry-After"), time.Now())
	return a
}

// judge fills in what the answer says. An acknowledgement counts only if it is
// whole, speaks of as many events as were sent, and is of the level asked for.
func (a *Answer) judge(to *ledger.Attempt, status, events int, ack string) {
	to.Status = status
	if status >= 200 && status < 300 {
		if !a.isOf(ack, status) || !a.valid || a.Accepted == nil || *a.Accepted < 0 || a.Rejected < 0 || *a.Accepted+a.Rejected != events {
			to.Cause = ledger.CauseBadAnswer
			return
		}
	} else {
		to.Cause = a.Code[:min(len(a.Code), maxCauseBytes)]
	}
	if a.Accepted != nil {
		to.Accepted = *a.Accepted
	}
	if a.Duplicates != nil {
		to.Duplicates = *a.Duplicates
	}
	to.Rejected = a.Rejected
}

// isOf says that the answer is one of the level that was asked for. "" is the
// server's own level, of which nothing is known.
func (a *Answer) isOf(ack string, status int) bool {
	switch ack {
	case "":
		return true
	case "store":
		return status == http.StatusOK && a.Ack == ack && a.Accepted != nil && a.Stored != nil && a.Duplicates != nil &&
			*a.Stored >= 0 && *a.Duplicates >= 0 && *a.Stored+*a.Duplicates == *a.Accepted
	}
	return status == http.StatusAccepted && a.Ack == ack
}

// parseRetryAfter reads seconds or an HTTP date; 0 if it is neither.
func parseRetryAfter(value string, now time.Time) time.Duration {
	// A duration holds 292 years of seconds; a server that says more says nothing.
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// causeOf names an exchange's failure; stopped is the context that ends when
// the sender is stopped.
func causeOf(stopped context.Context, err error) string {
	var (
		operation *net.OpError
		netErr    net.Error
	)
	switch {
	case stopped.Err() != nil:
		return ledger.CauseCanceled
	case errors.Is(err, syscall.ECONNREFUSED):
		return ledger.CauseConnectionRefused
	case errors.As(err, &operation) && operation.Op == "dial":
		return ledger.CauseDial
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return ledger.CauseTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ledger.CauseReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ledger.CauseEOF
	}
	return ledger.CauseTransport
}
