// Package soak is hours of use in little: at half of what it can do the aggregator is killed six
// times, then left alone, read all the time, and visited by clients that send a byte now and then.
// Nothing is lost, and nothing grows. It leaves a record; bench/figures says what that comes to.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sekali/bench/experiment"
	"sekali/bench/figures"
	"sekali/bench/pages/terminal"
	"sekali/bench/record"
	"sekali/bench/system/ports"
	"sekali/bench/system/process"
	"sekali/loadgen/attack"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

const (
	// Kills are spread over the first half, so that the second is one life of the process.
	Kills       = 6
	readers     = 3
	slowClients = 16
	// eventsPerRequest is small: half an hour of large requests would fill a disk.
	eventsPerRequest = 5
	// FullRate is in requests a second: half of 6800, which the aggregator still took beside readers
	// and slow clients, with a median response time of 6 ms.
	FullRate = 3400
	// windows is how many the longest soak has; short ones have shorter windows.
	windows        = 900
	shortestWindow = 100 * time.Millisecond
	// readyTimeout bounds start and recovery.
	readyTimeout = 30 * time.Second
	// drainTimeout bounds the wait for an empty queue.
	drainTimeout = 30 * time.Second
	// requestTimeout bounds a reader's request.
	requestTimeout = 20 * time.Second
	readPause      = 50 * time.Millisecond
	// slowPause lies between two bytes of a slow client.
	slowPause = 100 * time.Millisecond
)

// The files of a soak, beside its record: the figures, and the same for people.
const (
	FiguresFile = "soak.json"
	TableFile   = "soak.txt"
	// ledgerFile has every attempt with its times. It stays beside the record and is not for git.
	ledgerFile = "requests.csv.gz"
)

// Config says what is soaked, and for how long.
type Config struct {
	Version    string // of the lab; "": not known
	Aggregator string
	Lasts      time.Duration
	Rate       float64   // requests/s
	Dir        string    // for the data folder and the ledger
	Log        io.Writer // receives the logs of every process
}

// soaking is the aggregator at one address, one process after the other.
type soaking struct {
	Config
	addr, data string // set before the load begins
	window     time.Duration
	pages      atomic.Int64
	controls   controls

	mu      sync.Mutex
	process *process.Process // nil between a kill and the restart
	began   time.Time        // of the load
	record  record.Soak
}

// Run soaks the aggregator and returns the record.
func Run(ctx context.Context, config Config) (record.Soak, error) {
	held, err := ports.Hold(1) // where publishers know it, one process after the other
	if err != nil {
		return record.Soak{}, fmt.Errorf("soak: %w", err)
	}
	defer held.Release()
	s := &soaking{Config: config, data: filepath.Join(config.Dir, "data"), addr: held.Addresses[0], window: max(config.Lasts/windows, shortestWindow)}
	events, err := stream.New(stream.Config{Seed: 40, Duplicates: 0.2})
	if err != nil {
		return s.record, fmt.Errorf("soak: %w", err)
	}
	s.record = record.Soak{Seconds: config.Lasts.Seconds(), RequestsPerS: config.Rate, Stream: events.Config(), EventsPerRequest: eventsPerRequest,
		Readers: readers, SlowClients: slowClients, WindowS: s.window.Seconds(), Metrics: metricNames(), Windows: []record.SoakWindow{}}
	s.record.Date, s.record.Machine, s.record.Commit = experiment.WhereAndWhen(config.Version)
	defer s.kill()
	if _, err := s.start(); err != nil {
		return s.record, fmt.Errorf("soak: %w", err)
	}
	if err := s.load(ctx, events); err != nil {
		return s.record, fmt.Errorf("soak: %w", err)
	}
	s.record.PagesRead = int(s.pages.Load())
	if err := s.readBack(ctx, events); err != nil {
		return s.record, fmt.Errorf("soak: %w", err)
	}
	if err := s.digest(); err != nil {
		return s.record, fmt.Errorf("soak: %w", err)
	}
	if len(s.record.KillsS) != Kills || s.record.PagesRead == 0 || len(s.record.Windows) == 0 {
		s.broken("%d kills, %d pages read, %d windows", len(s.record.KillsS), s.record.PagesRead, len(s.record.Windows))
	}
	return s.record, nil
}

// Write writes the record, the figures that follow from it, and their table into dir.
func Write(dir string, left record.Soak) (record.SoakSummary, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return record.SoakSummary{}, fmt.Errorf("soak: %w", err)
	}
	if err := record.WriteSoak(filepath.Join(dir, record.SoakFile), left); err != nil {
		return record.SoakSummary{}, err
	}
	found, err := figures.Soak(left)
	if err != nil {
		return found, err
	}
	file, err := record.HashFile(dir, record.SoakFile)
	if err != nil {
		return found, err
	}
	found.Files = []record.File{file}
	if err := record.WriteSoakSummary(filepath.Join(dir, FiguresFile), found); err != nil {
		return found, err
	}
	table, err := os.Create(filepath.Join(dir, TableFile))
	if err != nil {
		return found, fmt.Errorf("soak: %w", err)
	}
	return found, errors.Join(terminal.Soak(table, found), table.Close())
}

// maxBroken bounds what is noted of promises that were not kept.
const maxBroken = 20

// broken notes what was promised and not kept.
func (s *soaking) broken(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.record.Broken) < maxBroken {
		s.record.Broken = append(s.record.Broken, fmt.Sprintf(format, args...))
	}
}

func (s *soaking) start() (recovery time.Duration, err error) {
	began := time.Now()
	p, err := process.Start(context.Background(), process.Config{Binary: s.Aggregator, Data: s.data, Listen: s.addr, Log: s.Log})
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	err = p.WaitReady(ctx)
	return time.Since(began), err
}

func (s *soaking) kill() {
	s.mu.Lock()
	p := s.process
	s.process = nil
	s.mu.Unlock()
	if p != nil {
		p.Kill()
		if err := p.Killed(); err != nil {
			s.broken("%v", err)
		}
	}
}

// running is the process, nil between a kill and the restart.
func (s *soaking) running() *process.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// load sends the load while the process is killed, watched, read and visited, and returns when all
// of that has ended.
func (s *soaking) load(ctx context.Context, events *stream.Stream) error {
	file, err := os.Create(filepath.Join(s.Dir, ledgerFile))
	if err != nil {
		return err
	}
	defer file.Close()
	attempts := ledger.NewWriter(file)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beside sync.WaitGroup
	load, err := attack.New(attack.Config{
		URL: "http://" + s.addr, AckLevel: "journal", Stream: events, EventsPerRequest: eventsPerRequest, Retry: attack.DefaultRetry(), Ledger: attempts,
		Phases: []attack.Phase{{Name: "soak", Rate: s.Rate, Duration: s.Lasts, Measured: true}},
		OnStart: func(at time.Time) {
			s.began = at
			beside.Go(func() { s.watch(ctx) })
			beside.Go(func() {
				if err := s.controls.run(ctx, s.Dir); err != nil {
					cancel(err)
				}
			})
			beside.Go(func() {
				if err := s.killAndRestart(ctx); err != nil {
					cancel(err)
				}
			})
			for i := range readers {
				beside.Go(func() { s.read(ctx, i) })
			}
			for range slowClients {
				beside.Go(func() { s.dawdle(ctx) })
			}
		},
	})
	if err != nil {
		return errors.Join(err, attempts.Close())
	}
	summary, err := load.Run(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(nil)
	beside.Wait()
	if err := errors.Join(err, attempts.Close(), file.Close()); err != nil {
		return err
	}
	s.record.Planned = summary.Phases[0].Planned
	return nil
}

// killAndRestart ends the process at equal distances over the first half. The error is for one that
// did not come back.
func (s *soaking) killAndRestart(ctx context.Context) error {
	for i := range Kills {
		at := s.began.Add(s.Lasts / 2 * time.Duration(i+1) / Kills)
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
			return nil
		}
		s.record.KillsS = append(s.record.KillsS, time.Since(s.began).Seconds())
		s.kill()
		recovery, err := s.start()
		if err != nil {
			return fmt.Errorf("restart %d: %w", i+1, err)
		}
		s.record.RecoveryMS = append(s.record.RecoveryMS, float64(recovery.Microseconds())/1000)
	}
	return nil
}

// newClient is of a process; the environment must not come between.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: nil}, Timeout: requestTimeout}
}
