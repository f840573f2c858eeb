package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/bench/system/ports"
	"sekali/bench/system/process"
)

const (
	// statsTimeout bounds one question to /stats. A writer that stands still does not block it: it
	// reads counters.
	statsTimeout = 5 * time.Second
	// maxStatsBytes bounds its answer; four histograms of three digits have under 1 MB.
	maxStatsBytes = 16 << 20
	// readyTimeout bounds a start, the replay of a full journal included.
	readyTimeout = 60 * time.Second
	// stopTimeout bounds a graceful stop, which drains the queue.
	stopTimeout = 60 * time.Second
)

// aggregator is the system under test: a process of ours, or a server that was running already.
type aggregator struct {
	url    string
	token  string
	client *http.Client
	config process.Config // of the process

	mu       sync.Mutex
	current  *process.Process // nil: not ours
	expected bool             // its end is our doing
	changed  time.Time        // when it was last signalled or started
	counted  *process.Process // the last one whose usage is in past
	past     process.Usage    // of the processes that have ended
}

// stats is what the lab reads of GET /stats.
type stats struct {
	Received         uint64          `json:"received"`
	UniqueProcessed  uint64          `json:"unique_processed"`
	DuplicateDropped uint64          `json:"duplicate_dropped"`
	Failed           uint64          `json:"failed"` // dead letters; a server without them does not say it
	Rejected         uint64          `json:"rejected"`
	RejectedByCode   audit.ByCode    `json:"rejected_by_code"`
	QueueDepth       uint64          `json:"queue_depth"`
	QueueBytes       int64           `json:"queue_bytes"`
	BacklogBytes     int64           `json:"backlog_bytes"`
	Commits          uint64          `json:"commits"`
	JournalSyncs     uint64          `json:"journal_syncs"`
	JournalBytes     int64           `json:"journal_bytes"`
	AllocatedBytes   int64           `json:"allocated_bytes"`
	LastSeq          int64           `json:"last_seq"`
	Ready            bool            `json:"ready"`
	Version          string          `json:"version"`
	Store            record.Store    `json:"store"`
	Histograms       record.Snapshot `json:"histograms"`
	Conflicts        uint64          `json:"conflicts"`
	Topics           []topic         `json:"topics"`
	Cluster          struct {
		LogLeader string  `json:"log_leader"`
		Position  uint64  `json:"position"`
		Hash      string  `json:"hash"`
		Unlogged  int     `json:"unlogged_frames"`
		LagS      float64 `json:"lag_seconds"`
	} `json:"cluster"` // of a node of a cluster
}

// topic is a row of the list in /stats.
type topic struct {
	Name   string `json:"name"`
	Events uint64 `json:"events"`
}

func (s stats) processed() uint64 { return s.UniqueProcessed + s.DuplicateDropped + s.Failed }

// newClient is for questions; the load has connections of its own.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 2}}
}

// startAggregator starts a process of ours and waits until it is ready. Publishers know its port,
// and its successors, that of the last look at the disk too, have the same. So a port that it may
// choose is chosen here, and kept from everybody else until ctx ends.
func startAggregator(ctx context.Context, config process.Config) (*aggregator, error) {
	host, port, err := net.SplitHostPort(cmp.Or(config.Listen, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	if port == "0" {
		held, err := ports.HoldOn(host, 1)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, held.Release)
		config.Listen = held.Addresses[0]
	}
	a := &aggregator{client: newClient(), config: config}
	if _, err := a.start(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// start runs the next process, on the first one's port, and returns when it was started. One that
// does not get ready has ended by then.
func (a *aggregator) start(ctx context.Context) (time.Time, error) {
	startedAt := time.Now()
	p, err := process.Start(ctx, a.config)
	if err != nil {
		return startedAt, err
	}
	a.mu.Lock()
	a.current, a.expected, a.changed = p, false, time.Now()
	a.mu.Unlock()
	if a.url == "" { // its successors have the same
		a.url = p.URL
	}
	ready, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	err = p.WaitReady(ready)
	if err != nil {
		a.mu.Lock()
		a.expected = true
		a.mu.Unlock()
		p.Kill()
		<-p.Exited()
	}
	return startedAt, err
}

func (a *aggregator) external() bool { return a.process() == nil }

func (a *aggregator) process() *process.Process {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// pid is the number of the process; 0: it is not ours.
func (a *aggregator) pid() int {
	if p := a.process(); p != nil {
		return p.PID()
	}
	return 0
}

// watch calls failed if the process ends without our doing, until ctx ends.
func (a *aggregator) watch(ctx context.Context, failed func(error)) {
	for {
		p := a.process()
		if p == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-p.Exited():
		}
		a.mu.Lock()
		expected, replaced := a.expected, a.current != p
		a.mu.Unlock()
		if !expected && !replaced {
			exit, _ := p.Wait(ctx)
			failed(fmt.Errorf("the aggregator ended by itself: %s; its log is %s", exit, filepath.Base(logFile)))
			return
		}
		select { // our doing: its successor comes, or the case ends
		case <-ctx.Done():
			return
		case <-time.After(sampleInterval):
		}
	}
}

// interrupted says that the process was not there all the time since a moment, by our doing.
func (a *aggregator) interrupted(since time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.expected || !a.changed.Before(since)
}

// end sends the signal and waits for the end. Only SIGTERM has to end with exit code 0.
func (a *aggregator) end(ctx context.Context, signal syscall.Signal) error {
	a.mu.Lock()
	a.expected, a.changed = true, time.Now()
	p := a.current
	a.mu.Unlock()
	// A silent connection of ours is nothing that a graceful stop should have to wait for.
	a.client.CloseIdleConnections()
	bounded, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var exit process.Exit
	var err error
	if signal == syscall.SIGTERM {
		exit, err = p.Stop(bounded)
	} else {
		if err := p.Signal(signal); err != nil {
			return err
		}
		exit, err = p.Wait(bounded)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.past.CPUNS += exit.Usage.CPUNS
	a.past.WriteBytes += exit.Usage.WriteBytes
	a.counted = p
	return err
}

// usage is what all processes have used so far; zero where they are not ours.
func (a *aggregator) usage() process.Usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	total := a.past
	if a.current == a.counted { // both are nil where the process is not ours
		return total
	}
	if now, err := a.current.Usage(); err == nil {
		total.CPUNS += now.CPUNS
		total.WriteBytes += now.WriteBytes
		total.RSSBytes = now.RSSBytes
	}
	return total
}

// stats asks GET /stats.
func (a *aggregator) stats(ctx context.Context, histograms bool) (stats, error) {
	var s stats
	url := a.url + "/stats"
	if histograms {
		url += "?histograms=true"
	}
	bounded, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(bounded, http.MethodGet, url, nil)
	if err != nil {
		return s, fmt.Errorf("stats: %w", err)
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return s, fmt.Errorf("stats: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxStatsBytes))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		return s, fmt.Errorf("stats: %w", err)
	}
	return s, nil
}
