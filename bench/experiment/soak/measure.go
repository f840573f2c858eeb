package soak

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/bench/system/process"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// measured are the metrics of the columns that are not of the ledger, with the size of their unit
// and what is taken off.
var measured = []struct {
	column, metric string
	unit           float64
	less           string
}{
	{record.SoakResident, "process_resident_memory_bytes", 1e6, ""},
	{record.SoakHeap, "sekali_heap_live_bytes", 1e6, ""},
	{record.SoakDescriptors, "process_open_fds", 1, "sekali_connections"},
	{record.SoakGoroutines, "go_goroutines", 1, "sekali_connections"},
	{record.SoakWAL, "sekali_wal_bytes", 1e6, ""},
	{record.SoakBacklog, "sekali_backlog_bytes", 1e6, ""},
}

func metricNames() (names []string) {
	for _, m := range measured {
		names = append(names, m.column)
	}
	return append(names, record.SoakSync, record.SoakWork, record.SoakRefaults)
}

// watch asks the process for its metrics at the end of every window.
func (s *soaking) watch(ctx context.Context) {
	client := newClient()
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(s.window)
	defer ticker.Stop()
	var since *process.Process // up since the last window's end
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		p := s.running()
		if p == nil {
			continue
		}
		if w, err := s.measure(ctx, client, p.Admin); err == nil && p == since {
			s.record.Windows = append(s.record.Windows, w)
		}
		since = p
	}
}

func (s *soaking) measure(ctx context.Context, client *http.Client, admin string) (w record.SoakWindow, err error) {
	metrics, err := metricsOf(ctx, client, admin)
	if err != nil {
		return w, err
	}
	w = record.SoakWindow{S: time.Since(s.began).Seconds(), Stored: uint64(metrics["sekali_unique_processed_events_total"])}
	for _, m := range measured {
		v, there := metrics[m.metric]
		if !there {
			s.broken("no %s among the metrics", m.metric)
		}
		w.Values = append(w.Values, (v-metrics[m.less])/m.unit)
	}
	sync, work, refaults := s.controls.take()
	w.Values = append(w.Values, sync, work, refaults)
	return w, nil
}

// metricsOf returns the admin listener's metrics without labels, by name.
func metricsOf(ctx context.Context, client *http.Client, admin string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	metrics := map[string]float64{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if name, text, ok := strings.Cut(lines.Text(), " "); ok {
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				metrics[name] = v
			}
		}
	}
	return metrics, lines.Err()
}

// readBack waits until the queue is empty and records everything that is stored.
func (s *soaking) readBack(ctx context.Context, events *stream.Stream) error {
	client := newClient()
	defer client.CloseIdleConnections()
	for deadline := time.Now().Add(drainTimeout); ; time.Sleep(s.window) {
		answer, err := client.Get("http://" + s.addr + "/stats")
		if err != nil {
			return err
		}
		var told audit.Told
		err = json.NewDecoder(answer.Body).Decode(&told)
		answer.Body.Close()
		if err != nil {
			return fmt.Errorf("/stats: %w", err)
		}
		if s.record.Counters = told.Whole(); s.record.Counters.QueueDepth == 0 || time.Now().After(deadline) {
			break // what still waits is found by the audit
		}
	}
	all := record.NewCollector(events)
	whole := &http.Client{Transport: &http.Transport{Proxy: nil}} // an export takes as long as it takes
	defer whole.CloseIdleConnections()
	for e, err := range audit.Export(ctx, whole, "http://"+s.addr, "", 0) {
		if err != nil {
			return err
		}
		all.Add(e)
	}
	s.record.Stored = all.Stored(true)
	return nil
}

// digest puts the ledger into the record: what became of each request, the lag, and the response
// times of the requests that were due in each window.
func (s *soaking) digest() error {
	windows := s.record.Windows
	responses := make([]record.Clock, len(windows))
	for i := range responses {
		responses[i] = record.Clock{}
	}
	lag := record.Clock{}
	digester := ledger.NewDigester()
	for attempt, err := range ledger.ReadFile(filepath.Join(s.Dir, ledgerFile)) {
		if err != nil {
			return err
		}
		digester.Add(attempt)
		if attempt.Attempt == 1 {
			lag.Add(attempt.Lag())
		}
		if attempt.Outcome() != ledger.Acknowledged {
			continue
		}
		due := float64(attempt.PlannedNS) / 1e9
		at, _ := slices.BinarySearchFunc(windows, due, func(w record.SoakWindow, s float64) int { return cmp.Compare(w.S, s) })
		if at < len(windows) && due >= windows[at].S-s.record.WindowS {
			responses[at].Add(attempt.ResponseTime())
		}
	}
	for i := range windows {
		windows[i].Responses = responses[i].Times()
	}
	s.record.Lag, s.record.Ledger = lag.Times(), digester.Digest()
	return nil
}
