package aggregator

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHangupDuringTheStart: a SIGHUP that comes after the token was read, and before the aggregator
// serves, is not lost: whoever replaced the file has told so.
func TestHangupDuringTheStart(t *testing.T) {
	signal.Ignore(unix.SIGHUP) // as the program does
	file := filepath.Join(t.TempDir(), "token")
	if err := unix.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var log logText
	cfg := DefaultConfig()
	cfg.Data, cfg.Listen, cfg.Admin, cfg.TokenFile = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "", file
	go func() { ended <- Run(ctx, cfg, slog.New(slog.NewTextHandler(&log, nil))) }()
	first, err := os.OpenFile(file, os.O_WRONLY, 0) // opens as soon as the token is being read
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("second-s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(unix.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the signal is there
	if _, err := first.WriteString("first-s3cret"); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(log.text(), "tokens reloaded"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("the tokens were not read again:\n%s", log.text())
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// logText is a log that is read while it is written.
type logText struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *logText) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}
