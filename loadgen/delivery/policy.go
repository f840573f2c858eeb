package delivery

import (
	"time"

	"sekali/internal/attempt"
)

// Policy bounds the repeating of a request.
type Policy = attempt.Policy

// DefaultPolicy outlasts a restart of the aggregator (about 1 s), and a full
// queue that drains for half a minute.
func DefaultPolicy() Policy {
	return Policy{
		MaxAttempts:   30,
		MaxElapsed:    time.Minute,
		BaseDelay:     20 * time.Millisecond,
		MaxDelay:      2 * time.Second,
		MaxRetryAfter: 5 * time.Second,
	}
}
