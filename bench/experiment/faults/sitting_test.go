package faults

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestWithoutATool: what a kind needs and is not there is said before anything is started.
func TestWithoutATool(t *testing.T) {
	var skipped skipError
	s := &sitting{Config: Config{Log: io.Discard}, ctx: t.Context(), dir: t.TempDir()}
	if err := s.syncLazily(); !errors.As(err, &skipped) {
		t.Errorf("without log servers: %v", err)
	}
	ip, err := exec.LookPath("ip")
	if err != nil || os.Getuid() != 0 {
		t.Skip("no network can be made here")
	}
	tools := t.TempDir()
	if err := os.Symlink(ip, filepath.Join(tools, "ip")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", tools)
	s.LogServer = "/bin/true"
	if err := partitioned(unplug, plugIn)(s); !errors.As(err, &skipped) {
		t.Errorf("without nft: %v", err)
	}
}

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
