package soak

import (
	"strings"
	"testing"
	"time"
)

// TestRestartThatFails ends the soak: what is behind it would load nobody.
func TestRestartThatFails(t *testing.T) {
	s := &soaking{Config: Config{Aggregator: "/nonexistent", Lasts: time.Minute}, addr: anyPort, data: t.TempDir(), began: time.Now().Add(-time.Minute)}
	err := s.killAndRestart(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "restart 1: ") || len(s.record.KillsS) != 1 || len(s.record.RecoveryMS) != 0 {
		t.Errorf("%v, after %d kills and %d recoveries", err, len(s.record.KillsS), len(s.record.RecoveryMS))
	}
}
