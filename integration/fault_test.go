package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sekali/bench/process"
	"sekali/bench/result"
)

// SEKALI_FAULTS names the folder that `make faults` wants its table in; without it each fault is tried a few times only.
var faultsDir = os.Getenv("SEKALI_FAULTS")

// times is how often a fault is tried: few in `make test`, many in `make faults`.
func times(few, many int) int {
	if faultsDir != "" {
		return many
	}
	return few
}

// long is how long a fault lasts, likewise.
func long(short, full time.Duration) time.Duration {
	if faultsDir != "" {
		return full
	}
	return short
}

// recorded are the faults so far; tests of this package run one after the other.
var recorded []result.Fault

// record keeps a fault for the table, and fails the test if its promise was not kept.
func record(t *testing.T, f result.Fault) {
	t.Helper()
	recorded = append(recorded, f)
	if !f.Held() {
		t.Errorf("%s: promised: %s; %+v", f.Fault, f.Promise, f)
	}
}

// skipFault says why a fault cannot be tried here, in the table too.
func skipFault(t *testing.T, fault, promise, why string) {
	t.Helper()
	recorded = append(recorded, result.Fault{Fault: fault, Promise: promise, Skipped: why})
	t.Skip("skipped: " + why)
}

// writeFaults writes the table of a run of `make faults`.
func writeFaults() error {
	if faultsDir == "" || len(recorded) == 0 {
		return nil
	}
	f := result.Faults{Faults: recorded}
	f.Date, f.Machine, f.Commit = whereAndWhen()
	return writeTable(faultsDir, "faults", f, f.WriteTable)
}

// writeTable writes what was found as name.json and, for people, as name.txt.
func writeTable(dir, name string, found any, table func(io.Writer) error) error {
	text, err := json.MarshalIndent(found, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, name+".txt"))
	if err != nil {
		return err
	}
	defer file.Close()
	return table(file)
}

// whereAndWhen is what stands above a table.
func whereAndWhen() (date, machine, commit string) {
	commit = "unknown"
	if described, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		commit = string(bytes.TrimSpace(described))
	}
	var name unix.Utsname
	_ = unix.Uname(&name)
	machine = fmt.Sprintf("%d cores, %s %s, linux %s", runtime.NumCPU(), runtime.GOARCH, runtime.Version(), unix.ByteSliceToString(name.Release[:]))
	return time.Now().UTC().Format(time.RFC3339), machine, commit
}

// crashBinary is the aggregator built with its crash points.
var crashBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "aggregator-crash")
	build := exec.Command("go", "build", "-trimpath", "-tags", "sekali_crash", "-o", path, "./cmd/aggregator")
	build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%v: %w\n%s", build, err, out)
	}
	return path, err
})

// publisherPool publishes requests to one aggregator after the other and keeps the ledger of what came back.
type publisherPool struct {
	data       string
	acks       []string // publisher i uses acks[i%len(acks)]
	publishers int
	pause      time.Duration // of a publisher between two requests

	mu           sync.Mutex
	next         int         // the first request not yet sent
	again        []int       // refused, or of unknown fate: to be sent again first
	sent         map[int]int // attempts that may have been taken, by request
	acknowledged map[int]int // answers, by request
	unknown      int         // attempts without an answer
	refused      int         // 503, also of unknown fate: disk_failing
	noRetryAfter int         // of them, without Retry-After
	healed       time.Time   // when the fault ended; zero: it has not
	recovery     []float64   // ms from there to the next acknowledgement
}

func newPool(data string) *publisherPool {
	return &publisherPool{data: data, acks: []string{"journal", "store"}, publishers: publishers, sent: map[int]int{}, acknowledged: map[int]int{}}
}

// load publishes to url until ended is closed, and returns once every publisher has stopped. A request without an answer is
// sent again, as publishers do.
func (p *publisherPool) load(t *testing.T, url string, ended <-chan struct{}) {
	transport := &http.Transport{MaxIdleConnsPerHost: p.publishers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: requestTimeout}
	var all sync.WaitGroup
	for i := range p.publishers {
		all.Go(func() {
			for {
				rest := p.pause
				if !p.publish(t, client, url+"/publish?ack="+p.acks[i%len(p.acks)]) {
					rest = 5 * time.Millisecond
				}
				select {
				case <-ended:
					return
				case <-time.After(rest):
				}
			}
		})
	}
	all.Wait()
}

// loadFor loads for so long.
func (p *publisherPool) loadFor(t *testing.T, url string, d time.Duration) {
	ended := make(chan struct{})
	time.AfterFunc(d, func() { close(ended) })
	p.load(t, url, ended)
}

// publish sends the next request and reports whether it was acknowledged.
func (p *publisherPool) publish(t *testing.T, client *http.Client, url string) bool {
	p.mu.Lock()
	request := p.next
	if n := len(p.again); n > 0 {
		request, p.again = p.again[0], p.again[1:]
	} else {
		p.next++
	}
	p.mu.Unlock()
	answer, err := client.Post(url, "application/json", bytes.NewReader(requestBody(request)))
	var text []byte
	if err == nil {
		text, err = io.ReadAll(answer.Body)
		answer.Body.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		p.sent[request]++
		p.unknown++
	case answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusAccepted:
		p.sent[request]++
		p.acknowledged[request]++
		if !p.healed.IsZero() {
			p.recovery = append(p.recovery, float64(time.Since(p.healed).Microseconds())/1000)
			p.healed = time.Time{}
		}
		return true
	case answer.StatusCode == http.StatusServiceUnavailable:
		p.refused++
		if bytes.Contains(text, []byte("disk_failing")) { // after the others nothing was taken
			p.sent[request]++
		}
		if answer.Header.Get("Retry-After") == "" {
			p.noRetryAfter++
		}
	default:
		t.Errorf("status %d: %s", answer.StatusCode, text)
	}
	p.again = append(p.again, request)
	return false
}

// heal notes that the fault ends now.
func (p *publisherPool) heal() {
	p.mu.Lock()
	p.healed = time.Now()
	p.mu.Unlock()
}

// refusals returns the count of 503 so far.
func (p *publisherPool) refusals() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// audit waits until a's queue is empty, reads everything back, and adds what it finds to f. Counters that do not add up fail the
// test.
func (p *publisherPool) audit(t *testing.T, a *aggregator, f *result.Fault) {
	t.Helper()
	now := a.drained(t)
	occurrences := map[int]int{} // stored, by original
	unexpected := 0
	last := newStored()
	for line := range bytes.Lines(a.export(t)) {
		var got event
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		var original int
		_, _ = fmt.Sscanf(got.ID, "event-%d", &original)
		occurrences[original]++
		delete(last.originals, original) // counted here
		if err := last.add(got); err != nil {
			unexpected++
			t.Logf("%v: %s", err, line)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	acknowledged, maybe := map[int]bool{}, map[int]bool{}
	answers, attempts := 0, 0
	for request, n := range p.acknowledged {
		answers += n
		for _, original := range originalsOf(request) {
			acknowledged[original] = true
		}
	}
	for request, n := range p.sent {
		attempts += n
		for _, original := range originalsOf(request) {
			maybe[original] = true
		}
	}
	f.Acknowledged += len(acknowledged)
	f.RecoveryMS = append(f.RecoveryMS, p.recovery...)
	lost := 0
	for original := range acknowledged {
		if occurrences[original] == 0 {
			lost++
		}
	}
	for original, n := range occurrences {
		switch {
		case !maybe[original]:
			unexpected++
		case n > 1:
			f.Duplicated++
		case !acknowledged[original]:
			f.Recovered++
		}
	}
	f.Lost += lost
	f.Unexpected += unexpected
	if p.noRetryAfter > 0 {
		t.Errorf("%d answers 503 had no Retry-After", p.noRetryAfter)
	}
	if f.Promise == result.NothingLost && (now.Received < answers*eventsPerRequest || now.Received > attempts*eventsPerRequest) {
		t.Errorf("%d events received; %d were acknowledged, %d sent", now.Received, answers*eventsPerRequest, attempts*eventsPerRequest)
	}
	if now.Unique != len(occurrences) {
		t.Errorf("%d unique events counted, %d stored", now.Unique, len(occurrences))
	}
}

// startWith starts another build of the aggregator, with settings in its environment. It may end at once, which is the error.
func startWith(t *testing.T, program string, environ map[string]string, data string, flags ...string) (*aggregator, error) {
	t.Helper()
	for name, value := range environ { // it inherits them; tests of this package run one after the other
		os.Setenv(name, value)
		defer os.Unsetenv(name)
	}
	log := &logged{}
	p, err := process.Start(context.Background(), process.Config{Binary: program, Args: flags, Data: data, Log: io.MultiWriter(t.Output(), log)})
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: publishers}
	a := &aggregator{Process: p, client: &http.Client{Transport: transport, Timeout: requestTimeout}, log: log}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		a.kill()
	})
	return a, nil
}

// restart starts the aggregator on what a fault left, and notes how long it takes to be ready.
func restart(t *testing.T, data string, f *result.Fault, flags ...string) *aggregator {
	t.Helper()
	began := time.Now()
	a := start(t, data, flags...)
	f.RecoveryMS = append(f.RecoveryMS, float64(time.Since(began).Microseconds())/1000)
	return a
}
