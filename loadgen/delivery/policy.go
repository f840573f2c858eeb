package delivery

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Policy bounds the repeating of a request. The zero Policy never repeats.
type Policy struct {
	MaxAttempts   int           `json:"max_attempts" yaml:"max_attempts"`          // the first included
	MaxElapsed    time.Duration `json:"max_elapsed_ns" yaml:"max_elapsed"`         // no attempt begins later than this after the first
	BaseDelay     time.Duration `json:"base_delay_ns" yaml:"base_delay"`           // upper end of the first pause; doubles with every attempt
	MaxDelay      time.Duration `json:"max_delay_ns" yaml:"max_delay"`             // where the doubling ends
	MaxRetryAfter time.Duration `json:"max_retry_after_ns" yaml:"max_retry_after"` // a longer Retry-After counts as this much
}

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

// Validate says what is out of range.
func (p Policy) Validate() error {
	switch {
	case p.MaxAttempts < 0, p.MaxElapsed < 0, p.BaseDelay < 0, p.MaxDelay < 0, p.MaxRetryAfter < 0:
		return errors.New("retry: a bound is negative")
	case p.MaxAttempts > 1 && (p.MaxElapsed == 0 || p.BaseDelay == 0):
		return errors.New("retry: repeating wants max_elapsed and base_delay")
	case p.MaxDelay < p.BaseDelay:
		return fmt.Errorf("retry: max_delay %v is less than base_delay %v", p.MaxDelay, p.BaseDelay)
	}
	return nil
}

// delay is the pause after the attempt-th attempt (from 1): exponential backoff
// with full jitter, so that publishers that failed together do not come back
// together. What the server asked for with Retry-After is waited in any case,
// and the jitter comes on top of it.
func (p Policy) delay(attempt int, retryAfter time.Duration) time.Duration {
	ceiling := p.BaseDelay
	for range attempt - 1 {
		if ceiling >= p.MaxDelay {
			break
		}
		ceiling *= 2
	}
	jitter := time.Duration(rand.Float64() * float64(min(ceiling, p.MaxDelay)))
	return min(retryAfter, p.MaxRetryAfter) + jitter
}
