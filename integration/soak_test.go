package integration_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekali/bench/audit"
	"sekali/bench/process"
	"sekali/bench/result"
	"sekali/loadgen/attack"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// `make soak` names the folder for its result and how long it lasts; without it the soak is a short cut, whose trends say nothing.
var soakDir, soakTime = os.Getenv("SEKALI_SOAK"), os.Getenv("SEKALI_SOAK_TIME")

const (
	soakShort = 8 * time.Second
	// soakKills are spread over the first half, so that the second is one life of the process.
	soakKills   = 6
	soakReaders = 3
	soakSlow    = 16
	// soakEvents is a small request: half an hour of large ones would fill a disk.
	soakEvents = 5
	// soakRate is in requests a second: half of 6800, which the aggregator still took beside readers and slow clients, with a median
	// response time of 6 ms. The short cut has a tenth of it.
	soakRate = 3400
	// soakWindows is how many the longest soak has; short ones have shorter windows.
	soakWindows = 900
	anyPort     = "127.0.0.1:0"
	readPause   = 50 * time.Millisecond
	// slowPause lies between two bytes of a slow client.
	slowPause = 100 * time.Millisecond
)

// soaking is the aggregator at one address, one process after the other.
type soaking struct {
	addr, data string // set before the load begins
	mu         sync.Mutex
	process    *process.Process // nil between a kill and the restart
	began      time.Time        // of the load
	windows    []result.SoakWindow
	pages      atomic.Int64
}

func (s *soaking) start(t *testing.T) (recovery time.Duration) {
	began := time.Now()
	p, err := process.Start(context.Background(), process.Config{Binary: binary, Data: s.data, Listen: s.addr, Log: t.Output()})
	if err != nil {
		t.Error(err)
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
	if s.addr == anyPort { // the first: the others come back to where publishers know them
		s.addr = p.Addr
	}
	return time.Since(began)
}

func (s *soaking) kill() {
	s.mu.Lock()
	p := s.process
	s.process = nil
	s.mu.Unlock()
	if p != nil {
		p.Kill()
		<-p.Exited()
	}
}

// TestSoak is hours of use in little: at half of what it can do the aggregator is killed six times, then left alone, read all the time, and
// visited by clients that send a byte now and then. Nothing is lost, and nothing grows.
func TestSoak(t *testing.T) {
	lasts, rate := soakShort, soakRate/10.
	if soakDir != "" {
		var err error
		if lasts, err = time.ParseDuration(soakTime); err != nil || lasts < time.Minute {
			t.Fatalf("SEKALI_SOAK_TIME=%q, want a duration of a minute at least", soakTime)
		}
		rate = soakRate
	}
	events, err := stream.New(stream.Config{Seed: 40, Duplicates: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	s := &soaking{data: dataFolder(t), addr: anyPort}
	s.start(t)
	t.Cleanup(s.kill)
	path := filepath.Join(t.TempDir(), "requests.csv.gz")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	book := ledger.NewWriter(file)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	window := max(lasts/soakWindows, 100*time.Millisecond)
	found := result.Soak{Seconds: lasts.Seconds(), RequestsPerS: rate, EventsPerRequest: soakEvents, Readers: soakReaders, SlowClients: soakSlow, WindowS: window.Seconds()}

	var beside sync.WaitGroup
	load, err := attack.New(attack.Config{
		URL: "http://" + s.addr, AckLevel: "journal", Stream: events, EventsPerRequest: soakEvents, Retry: attack.DefaultRetry(), Ledger: book,
		Phases: []attack.Phase{{Name: "soak", Rate: rate, Duration: lasts, Measured: true}},
		OnStart: func(at time.Time) {
			s.began = at
			beside.Go(func() { s.watch(ctx, t, window) })
			beside.Go(func() { s.killAndRestart(ctx, t, lasts, &found) })
			for i := range soakReaders {
				beside.Go(func() { s.read(ctx, t, i) })
			}
			for range soakSlow {
				beside.Go(func() { s.dawdle(ctx) })
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	summary, err := load.Run(ctx)
	cancel()
	beside.Wait()
	if err := errors.Join(err, book.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	found.PagesRead = int(s.pages.Load())
	s.audit(t, events, summary.Phases[0].Planned, path, &found)
	found.Windows = s.windows
	addLatencies(t, &found, summary.Phases[0].Planned, path)
	if found.Lost+found.Duplicated+found.Unexpected > 0 {
		t.Errorf("of %d events acknowledged %d were lost, %d are stored twice, %d unexpected", found.Acknowledged, found.Lost, found.Duplicated, found.Unexpected)
	}
	if len(found.KillsS) != soakKills || found.PagesRead == 0 || len(found.Windows) == 0 {
		t.Errorf("%d kills, %d pages read, %d windows", len(found.KillsS), found.PagesRead, len(found.Windows))
	}
	if soakDir == "" {
		return
	}
	found.Date, found.Machine, found.Commit = whereAndWhen()
	if err := writeTable(soakDir, "soak", found, found.WriteTable); err != nil {
		t.Fatal(err)
	}
	if !found.Held() {
		t.Error("it does not hold: see soak.txt")
	}
}

// killAndRestart ends the process at equal distances over the first half.
func (s *soaking) killAndRestart(ctx context.Context, t *testing.T, lasts time.Duration, found *result.Soak) {
	for i := range soakKills {
		at := s.began.Add(lasts / 2 * time.Duration(i+1) / soakKills)
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
			return
		}
		found.KillsS = append(found.KillsS, time.Since(s.began).Seconds())
		s.kill()
		found.RecoveryMS = append(found.RecoveryMS, float64(s.start(t).Microseconds())/1000)
	}
}

// watch asks the process for its metrics at the end of every window.
func (s *soaking) watch(ctx context.Context, t *testing.T, window time.Duration) {
	client := &http.Client{Transport: &http.Transport{Proxy: nil}, Timeout: requestTimeout}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(window)
	defer ticker.Stop()
	var since *process.Process // up since the last window's end
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		p := s.process
		s.mu.Unlock()
		if p == nil {
			continue
		}
		if w, err := measureWindow(ctx, client, p.Admin, s.began); err == nil && p == since {
			s.windows = append(s.windows, w)
		}
		since = p
	}
}

// measured are the metrics of the columns, with the size of their unit and what is taken off; response times are the ledger's.
var measured = map[string]struct {
	metric string
	unit   float64
	less   string
}{
	result.SoakResident:    {"process_resident_memory_bytes", 1e6, ""},
	result.SoakHeap:        {"sekali_heap_live_bytes", 1e6, ""},
	result.SoakDescriptors: {"process_open_fds", 1, "sekali_connections"},
	result.SoakGoroutines:  {"go_goroutines", 1, "sekali_connections"},
	result.SoakWAL:         {"sekali_wal_bytes", 1e6, ""},
	result.SoakBacklog:     {"sekali_backlog_bytes", 1e6, ""},
}

func measureWindow(ctx context.Context, client *http.Client, admin string, began time.Time) (w result.SoakWindow, err error) {
	metrics, err := metricsOf(ctx, client, admin)
	if err != nil {
		return w, err
	}
	w = result.SoakWindow{S: time.Since(began).Seconds(), Stored: uint64(metrics["sekali_unique_processed_events_total"])}
	for _, column := range result.SoakColumns {
		m, ok := measured[column]
		v, there := metrics[m.metric]
		if ok && !there {
			return w, fmt.Errorf("no %s among the metrics", m.metric)
		}
		w.Values = append(w.Values, (v-metrics[m.less])/max(m.unit, 1))
	}
	return w, nil
}

// read pages through the events from a random place on: one reader by topic, the others by seq.
func (s *soaking) read(ctx context.Context, t *testing.T, i int) {
	client := &http.Client{Transport: &http.Transport{Proxy: nil}, Timeout: requestTimeout}
	defer client.CloseIdleConnections()
	random := rand.New(rand.NewPCG(41, uint64(i)))
	after := int64(0)
	for ctx.Err() == nil {
		query := url.Values{"limit": {"500"}, "after": {strconv.FormatInt(after, 10)}}
		if i == 0 {
			query.Set("topic", "topic-0")
		}
		var page struct {
			Events []struct {
				Seq int64 `json:"seq"`
			} `json:"events"`
		}
		answer, err := client.Get("http://" + s.addr + "/events?" + query.Encode())
		if err == nil {
			err = json.NewDecoder(answer.Body).Decode(&page)
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("GET /events?%s: status %d", query.Encode(), answer.StatusCode)
			}
		}
		if err == nil && len(page.Events) > 0 {
			s.pages.Add(1)
			after = page.Events[len(page.Events)-1].Seq
		} else {
			after = 0
		}
		if random.IntN(20) == 0 {
			after = random.Int64N(after + 1)
		}
		select {
		case <-ctx.Done():
		case <-time.After(readPause):
		}
	}
}

// dawdle sends requests a byte at a time, which the server ends sooner or later.
func (s *soaking) dawdle(ctx context.Context) {
	body := "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n[" + strings.Repeat(" ", 1000)
	for ctx.Err() == nil {
		c, err := net.DialTimeout("tcp", s.addr, time.Second)
		for i := 0; err == nil && i < len(body); i++ {
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_, err = c.Write([]byte{body[i]})
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-time.After(slowPause):
			}
		}
		if c != nil {
			c.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(slowPause):
		}
	}
}

// audit holds what is stored against the ledger.
func (s *soaking) audit(t *testing.T, events *stream.Stream, requests uint64, path string, found *result.Soak) {
	a := &aggregator{Process: s.process, client: &http.Client{Transport: &http.Transport{Proxy: nil}, Timeout: requestTimeout}}
	defer a.client.CloseIdleConnections()
	now := a.drained(t)
	checker, err := audit.NewChecker(audit.Sent{Stream: events, EventsPerRequest: soakEvents, Requests: requests,
		Attempts: func() iter.Seq2[ledger.Attempt, error] { return ledger.ReadFile(path) }})
	if err != nil {
		t.Fatal(err)
	}
	whole := &http.Client{Transport: &http.Transport{Proxy: nil}} // an export takes as long as it takes
	defer whole.CloseIdleConnections()
	for e, err := range audit.Export(t.Context(), whole, a.URL, "", 0) {
		if err != nil {
			t.Fatal(err)
		}
		checker.Add(e)
	}
	report, err := checker.Finish(&audit.Counters{Received: uint64(now.Received), UniqueProcessed: uint64(now.Unique),
		DuplicateDropped: uint64(now.Duplicates), Failed: uint64(now.Failed), QueueDepth: uint64(now.Queue)})
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range report.FailedChecks() {
		t.Errorf("audit: %v", check)
	}
	found.Acknowledged, found.Stored, found.Lost = report.Acknowledged, report.Stored, report.Lost
	found.Duplicated, found.Unexpected = report.Duplicated, report.Unexpected+report.OutOfOrder
}

// addLatencies adds the percentiles of the response times of the requests that were due in each window, and drops the windows in which
// none was: the load had ended. It counts what was never acknowledged, and how late the generator was.
func addLatencies(t *testing.T, found *result.Soak, requests uint64, path string) {
	windows := found.Windows
	times := make([][]float64, len(windows))
	var lags []float64
	acknowledged := uint64(0)
	for attempt, err := range ledger.ReadFile(path) {
		if err != nil {
			t.Fatal(err)
		}
		if attempt.Attempt == 1 {
			lags = append(lags, float64(attempt.Lag())/1e6)
		}
		if attempt.Outcome() != ledger.Acknowledged {
			continue
		}
		acknowledged++
		due := float64(attempt.PlannedNS) / 1e9
		at, _ := slices.BinarySearchFunc(windows, due, func(w result.SoakWindow, s float64) int { return cmp.Compare(w.S, s) })
		if at < len(windows) && due >= windows[at].S-found.WindowS {
			times[at] = append(times[at], float64(attempt.ResponseTime())/1e6)
		}
	}
	p50, p99 := slices.Index(result.SoakColumns, result.SoakP50), slices.Index(result.SoakColumns, result.SoakP99)
	found.Windows = nil
	for i, sorted := range times {
		if len(sorted) > 0 {
			slices.Sort(sorted)
			windows[i].Values[p50], windows[i].Values[p99] = sorted[len(sorted)/2], sorted[len(sorted)*99/100]
			found.Windows = append(found.Windows, windows[i])
		}
	}
	slices.Sort(lags)
	found.LagMSP99, found.Unanswered = lags[len(lags)*99/100], requests-min(acknowledged, requests)
}
