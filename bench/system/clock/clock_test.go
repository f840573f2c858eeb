package clock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sekali/bench/system/process"
)

// The test binary is also a program that says what time it is, when told is set.
const told = "SEKALI_TEST_CLOCK"

func TestMain(m *testing.M) {
	if os.Getenv(told) == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, `{"msg":"listening","addr":"none"}`)
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		now := time.Now()
		fmt.Fprintln(os.Stderr, now.UnixNano(), now.Sub(began).Nanoseconds())
	}
}

// heard is the latest line of a program that tells its time.
type heard struct {
	io.Writer
	mu     sync.Mutex
	off    time.Duration // against this process's clock, when the line came
	passed time.Duration // by its monotonic clock
	lines  int
}

func (h *heard) Write(line []byte) (int, error) {
	var now, passed int64
	if _, err := fmt.Sscan(strings.TrimSpace(string(line)), &now, &passed); err == nil {
		h.mu.Lock()
		h.off, h.passed = time.Until(time.Unix(0, now)), time.Duration(passed)
		h.lines++
		h.mu.Unlock()
	}
	return len(line), nil
}

// next waits for a line that was written after now.
func (h *heard) next(t *testing.T) (off, passed time.Duration) {
	t.Helper()
	h.mu.Lock()
	from := h.lines
	h.mu.Unlock()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		h.mu.Lock()
		off, passed, lines := h.off, h.passed, h.lines
		h.mu.Unlock()
		if lines > from+1 {
			return off, passed
		}
	}
	t.Fatal("the program tells nothing")
	return 0, 0
}

// TestSet: a process has another time of day from its first instruction on, which can be moved
// while it runs. Its monotonic clock goes on, and this process's clock is none of its business.
func TestSet(t *testing.T) {
	t.Setenv(told, "yes")
	h := &heard{}
	p, err := process.Start(t.Context(), process.Config{Binary: os.Args[0], Plain: true, Log: h,
		Begin: func(pid int) error { return Set(pid, -7*time.Hour) }})
	if errors.Is(err, ErrCannot) || errors.Is(err, fs.ErrPermission) {
		t.Skip("skipped: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Kill(); _, _ = p.Wait(context.Background()) }()
	before := time.Duration(0)
	for _, ahead := range []time.Duration{-7 * time.Hour, 3 * time.Hour, 0, -time.Hour, 90 * time.Second} {
		if ahead != -7*time.Hour {
			if err := Set(p.PID(), ahead); err != nil {
				t.Fatal(err)
			}
		}
		off, passed := h.next(t)
		if (off - ahead).Abs() > 5*time.Second {
			t.Errorf("its clock is off by %v, want %v", off, ahead)
		}
		if passed < before || passed > before+time.Minute {
			t.Errorf("its monotonic clock has gone from %v to %v", before, passed)
		}
		before = passed
	}
}

// TestBeginFails: a process that cannot be prepared does not run.
func TestBeginFails(t *testing.T) {
	t.Setenv(told, "yes")
	why, h := errors.New("no"), &heard{}
	_, err := process.Start(t.Context(), process.Config{Binary: os.Args[0], Plain: true, Log: h, Begin: func(int) error { return why }})
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("skipped: ", err)
	}
	if !errors.Is(err, why) || h.lines > 0 {
		t.Errorf("%v, and it has said %d lines", err, h.lines)
	}
}
