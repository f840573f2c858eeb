package delivery

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"sekali/internal/attempt"
	"sekali/loadgen/ledger"
)

// maxCauseBytes bounds what of a server's problem code goes into the ledger.
const maxCauseBytes = 64

// Answer is an answer of the aggregator.
type Answer struct {
	attempt.Answer
	retryAfter time.Duration
}

// RetryAfter is how long the server asks to wait; 0: it does not.
func (a Answer) RetryAfter() time.Duration { return a.retryAfter }

// judge fills in what the answer says. An acknowledgement counts only if it is
// whole, speaks of as many events as were sent, and is of the level asked for.
func (a *Answer) judge(to *ledger.Attempt, status, events int, ack string) {
	to.Status = status
	if status >= 200 && status < 300 {
		if !a.IsOf(ack, status) || !a.Counts(events) {
			to.Cause = ledger.CauseBadAnswer
			return
		}
	} else {
		to.Cause = CodeCause(a.Code)
	}
	if a.Accepted != nil {
		to.Accepted = *a.Accepted
	}
	if a.Duplicates != nil {
		to.Duplicates = *a.Duplicates
	}
	to.Rejected = a.Rejected
}

// CodeCause is the cause of an answer that has the code of a problem.
func CodeCause(code string) string { return code[:min(len(code), maxCauseBytes)] }

// CauseOf names an exchange's failure; stopped is the context that ends when
// the sender is stopped.
func CauseOf(stopped context.Context, err error) string {
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
