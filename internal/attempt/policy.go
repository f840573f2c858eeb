// Package attempt is what all publishers do alike: how often and after which pause they try a
// request, and what they take for an answer of /publish. The package client is made of it, and so
// is the lab's attack. It needs the standard library only.
package attempt

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Without a bound.
const (
	AnyNumber = math.MaxInt
	ForEver   = time.Duration(math.MaxInt64)
)

// Policy bounds the repeating of a request. The zero Policy never repeats.
type Policy struct {
	MaxAttempts   int           `json:"max_attempts" yaml:"max_attempts"`          // the first included
	MaxElapsed    time.Duration `json:"max_elapsed_ns" yaml:"max_elapsed"`         // no attempt begins later than this after the first
	BaseDelay     time.Duration `json:"base_delay_ns" yaml:"base_delay"`           // upper end of the first pause; doubles with every attempt
	MaxDelay      time.Duration `json:"max_delay_ns" yaml:"max_delay"`             // where the doubling ends
	MaxRetryAfter time.Duration `json:"max_retry_after_ns" yaml:"max_retry_after"` // a longer Retry-After counts as this much
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

// Repeat calls try with the number of the attempt, from 1, until it wants no other. It is true if
// one was wanted, and the policy or the context allowed none.
func (p Policy) Repeat(ctx context.Context, try func(n int) (again bool, retryAfter time.Duration)) (gaveUp bool) {
	started := time.Now()
	for n := 1; ; n++ {
		again, retryAfter := try(n)
		if !again {
			return false
		}
		pause := p.Pause(n, retryAfter)
		if n >= p.MaxAttempts || time.Since(started)+pause > p.MaxElapsed || !sleep(ctx, pause) {
			return true
		}
	}
}

// Pause is that after the n-th attempt (from 1): exponential backoff with full
// jitter, so that publishers that failed together do not come back together.
// What the server asked for with Retry-After is waited in any case, and the
// jitter comes on top of it.
func (p Policy) Pause(n int, retryAfter time.Duration) time.Duration {
	ceiling := p.BaseDelay
	for range n - 1 {
		if ceiling >= p.MaxDelay {
			break
		}
		ceiling *= 2
	}
	jitter := time.Duration(rand.Float64() * float64(min(ceiling, p.MaxDelay)))
	return min(retryAfter, p.MaxRetryAfter) + jitter
}

// sleep is false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
