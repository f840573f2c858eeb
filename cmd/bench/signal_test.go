package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// signalled makes TestSignals the process that gets the signals.
	signalled = "BENCH_TEST_SIGNALLED"
	// exitEnded is that of a process whose context a signal has ended.
	exitEnded = 7
	// signalTimeout is long: the machine may be busy.
	signalTimeout = 30 * time.Second
)

// TestSignals: what a pipe, a log rotation and a background terminal send does nothing; what asks
// for the end ends the context.
func TestSignals(t *testing.T) {
	if os.Getenv(signalled) != "" {
		beSignalled()
	}
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(end.String(), func(t *testing.T) {
			t.Parallel()
			if signal.Ignored(end) {
				t.Skipf("skipped: who started the tests ignores %v, and so does the bench then", end)
			}
			ctx, cancel := context.WithTimeout(t.Context(), signalTimeout)
			defer cancel()
			command := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSignals$")
			command.Env = append(os.Environ(), signalled+"=1")
			stdout, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			stderr, err := command.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			said := bufio.NewReader(stderr)
			expect := func(want string) {
				t.Helper()
				if line, err := said.ReadString('\n'); strings.TrimSpace(line) != want {
					t.Fatalf("it said %q, %v; want %q", line, err, want)
				}
			}
			expect("ready")
			for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTTOU} {
				if err := command.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			stdout.Close()
			expect("its reader is gone")
			if err := command.Process.Signal(end); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := command.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitEnded {
				t.Errorf("ended with %v, want exit code %d", err, exitEnded)
			}
		})
	}
}

// beSignalled writes until its reader is gone, says so, and waits for the signal that ends it.
func beSignalled() {
	ctx, _ := untilSignal(context.Background())
	fmt.Fprintln(os.Stderr, "ready")
	for {
		if _, err := fmt.Fprintln(os.Stdout, "progress"); errors.Is(err, syscall.EPIPE) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "its reader is gone")
	<-ctx.Done()
	os.Exit(exitEnded)
}

// TestInterruptedWhereNothingIsMeasured: a command that only reads ends with the first signal,
// however long its work would take.
func TestInterruptedWhereNothingIsMeasured(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	exit := orInterrupted(ctx, func() int {
		cancel()
		<-release
		return exitHeld
	}, func() int { return exitFailed })
	if exit != exitFailed {
		t.Errorf("exit %d", exit)
	}
	if exit := orInterrupted(t.Context(), func() int { return exitUsage }, func() int { return exitFailed }); exit != exitUsage {
		t.Errorf("exit %d of a command that ends by itself", exit)
	}
}
