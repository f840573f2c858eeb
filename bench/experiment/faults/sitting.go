package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sekali/bench/record"
)

const (
	// readyTimeout bounds start and recovery.
	readyTimeout = 30 * time.Second
	// stopTimeout is over the aggregator's own shutdown budget of 20 s.
	stopTimeout = 25 * time.Second
	// drainTimeout bounds the wait for an empty queue.
	drainTimeout = 30 * time.Second
	// requestTimeout bounds one request, even while a disk is busy with everything else.
	requestTimeout = 20 * time.Second
	// pollPeriod is how often something is asked that is waited for.
	pollPeriod = 5 * time.Millisecond
)

// Config says what the faults are tried on, and how thoroughly.
type Config struct {
	Version    string    // of the lab; "": not known
	Aggregator string    // the program
	Crash      string    // the program built with -tags sekali_crash
	LogServer  string    // the program of a cluster's log servers
	Upgrade    string    // the program that a cluster's aggregators are upgraded to; "": the same
	Count      int       // how often each fault is injected, in place of the catalogue's number; 0: as it says
	Dumps      string    // pattern of SQL dumps of databases of older versions; without a match that fault is skipped
	Short      bool      // each fault few times and for a moment, as in a test
	Log        io.Writer // receives the logs of every process
}

// Run tries one kind of fault. The error is for what could not be tried; what was promised and not
// kept is in the record.
func Run(ctx context.Context, config Config, kind Kind) (left record.Fault, err error) {
	dir, err := os.MkdirTemp("", "sekali-fault-")
	if err != nil {
		return record.Fault{}, fmt.Errorf("faults: %w", err)
	}
	s := &sitting{Config: config, ctx: ctx, dir: dir, kind: kind}
	s.record = record.Fault{Name: kind.Name, Promise: kind.Promise, Tells: kind.Tells, Trials: []record.Trial{}}
	defer func() { // a mount or a network that stays is in the way of what comes next
		failed := s.cleanUp()
		if failed == nil {
			return
		}
		failed = fmt.Errorf("faults: %s: afterwards: %w", kind.Name, failed)
		if err != nil {
			err = errors.Join(err, failed)
			return
		}
		err = notGivenBack{failed}
	}()
	if err = errNotShort; s.times() > 0 { // never injected, it would have held
		err = kind.inject(s)
	}
	var skip skipError
	if errors.As(err, &skip) && !s.injected { // else a trial, and what it found broken, would be dropped
		s.record.Skipped, err = skip.why, nil
		s.record.Trials = []record.Trial{}
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return s.record, fmt.Errorf("faults: %s: %w", kind.Name, err)
	}
	return s.record, nil
}

// notGivenBack is of a kind that was tried to its end, and whose record counts all the same: what
// it found lost must not go with a mount that is busy.
type notGivenBack struct{ error }

func (n notGivenBack) Unwrap() error { return n.error }

// sitting is one kind of fault being tried. It is for one goroutine, but for what its trials guard
// themselves.
type sitting struct {
	Config
	ctx     context.Context
	kind    Kind
	dir     string // everything that is written lies below
	folders int
	record  record.Fault
	// injected: a fault was. What cannot be tried from then on is no skip, but an error.
	injected bool
	cleanup  []func() error // in the order of taking
}

// skipError says why a fault cannot be tried here.
type skipError struct{ why string }

func (e skipError) Error() string { return "skipped: " + e.why }

// errNotShort is why a kind without a short form is not tried with -short.
var errNotShort = skip("-short, and integration has the same as a test, or it takes too long for one")

func skip(format string, args ...any) error { return skipError{fmt.Sprintf(format, args...)} }

// onEnd gives something back when the sitting ends, the last first.
func (s *sitting) onEnd(f func() error) { s.cleanup = append(s.cleanup, f) }

// cleanUp's error says what could not be given back. Files that stay harm nobody.
func (s *sitting) cleanUp() error {
	var failures []error
	for i := len(s.cleanup) - 1; i >= 0; i-- {
		failures = append(failures, s.cleanup[i]())
	}
	_ = os.RemoveAll(s.dir)
	return errors.Join(failures...)
}

// unmount is for onEnd.
func unmount(dir string) func() error {
	return func() error {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			return fmt.Errorf("umount: %w: %s", err, out)
		}
		return nil
	}
}

// folder makes a new folder.
func (s *sitting) folder() (string, error) {
	s.folders++
	dir := filepath.Join(s.dir, fmt.Sprint(s.folders))
	return dir, os.Mkdir(dir, 0o755)
}

// dataFolder names a data folder that is not there yet.
func (s *sitting) dataFolder() string {
	s.folders++
	return filepath.Join(s.dir, fmt.Sprint(s.folders), "data")
}

// times is how often the fault is injected.
func (s *sitting) times() int {
	if s.Count > 0 {
		return s.Count
	}
	if s.Short {
		return s.kind.Short
	}
	return s.kind.Long
}

// long is how long a fault lasts.
func (s *sitting) long(short, full time.Duration) time.Duration {
	if s.Short {
		return short
	}
	return full
}

// sleep waits; false if the sitting is to end.
func (s *sitting) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// newClient is of a process; Proxy stays nil: the environment must not come between.
func newClient(connections int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}, Timeout: requestTimeout}
}

// milliseconds is a time as the records have it.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
