package soak

import (
	"io"
	"strings"
	"testing"
	"time"

	"sekali/bench/system/process"
)

// TestEndsByItself: a process that has ended by itself was not killed.
func TestEndsByItself(t *testing.T) {
	for how, broken := range map[string]bool{"exit 2": true, "exit 0": true, "sleep 10": false} {
		p, err := process.Start(t.Context(), process.Config{Binary: "/bin/sh", Plain: true, Ends: true, Log: io.Discard, Args: []string{"-c", how}})
		if err != nil {
			t.Fatal(err)
		}
		if broken {
			<-p.Exited()
		}
		s := &soaking{process: p}
		if s.kill(); (len(s.record.Broken) == 1) != broken {
			t.Errorf("%s: %q", how, s.record.Broken)
		}
	}
}

// TestRestartThatFails ends the soak: what is behind it would load nobody.
func TestRestartThatFails(t *testing.T) {
	s := &soaking{Config: Config{Aggregator: "/nonexistent", Lasts: time.Minute}, addr: "127.0.0.1:0", data: t.TempDir(), began: time.Now().Add(-time.Minute)}
	err := s.killAndRestart(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "restart 1: ") || len(s.record.KillsS) != 1 || len(s.record.RecoveryMS) != 0 {
		t.Errorf("%v, after %d kills and %d recoveries", err, len(s.record.KillsS), len(s.record.RecoveryMS))
	}
}
