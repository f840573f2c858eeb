package runner

import (
	"errors"
	"testing"
)

// TestTogether: each of two steps waits for the other, and both say what went wrong.
func TestTogether(t *testing.T) {
	one, other := errors.New("one"), errors.New("other")
	hand := make(chan struct{})
	err := together(
		func() error { hand <- struct{}{}; return one },
		func() error { <-hand; return other },
		func() error { return nil })
	if !errors.Is(err, one) || !errors.Is(err, other) {
		t.Error(err)
	}
	if err := together(func() error { return nil }); err != nil {
		t.Error(err)
	}
}
