package faults

import (
	"testing"
)

// TestNeverInjectedIsSkipped: a kind that is to be injected not once is not tried, and not held.
func TestNeverInjectedIsSkipped(t *testing.T) {
	for _, test := range []struct {
		config Config
		tried  bool
	}{{Config{Short: true}, false}, {Config{}, true}, {Config{Short: true, Count: 2}, true}} {
		tried := false
		left, err := Run(t.Context(), test.config, Kind{Name: "x", Promise: nothingLost, Long: 5, inject: func(*sitting) error { tried = true; return nil }})
		if err != nil || tried != test.tried || (left.Skipped == "") != test.tried {
			t.Errorf("%+v: tried %v, skipped %q, %v", test.config, tried, left.Skipped, err)
		}
	}
}
