package faults

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"sekali/bench/record"
	"sekali/bench/system/crashimage"
	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

const (
	// publishers send at the same time, so that commits and journal syncs are shared.
	publishers = 4
	// eventsPerRequest is small, so that a fault meets many requests.
	eventsPerRequest = 20
	// pause of a publisher between two requests: it keeps a trial small enough to be read back.
	pause = 2 * time.Millisecond
	// pauseRefused is its pause after a request that was not acknowledged.
	pauseRefused = 5 * time.Millisecond
	// refusalWait bounds how long a broken disk takes to be noticed.
	refusalWait = 30 * time.Second
	// before and after a fault there is load for so long.
	settle = 200 * time.Millisecond
	// maxBroken bounds what a trial notes of promises that were not kept.
	maxBroken = 100
	// oneByOne makes the writer slow.
	oneByOne = "-batch-events=1"
	// smallBatches makes commits cut requests: then the position in the journal points into the middle
	// of one.
	smallBatches = "-batch-events=7"
)

// everyLevel are the levels that promise to survive a kill.
var everyLevel = []string{"journal", "store"}

// trial is the life of one data folder: publishers, and the ledger of what came back to them.
type trial struct {
	s          *sitting
	data       string
	stream     *stream.Stream
	began      time.Time // zero of the attempts' times
	publishers int
	pause      time.Duration
	others     []string      // further nodes: a publisher that is not acknowledged goes to the next one
	timeout    time.Duration // of a request

	mu       sync.Mutex
	record   record.Trial
	ledger   *ledger.Digester
	attempts map[int]ledger.Attempt // by the number under which each was sent; nil: the ledger is enough
	sent     int                    // such numbers
	next     uint64                 // the first request not yet sent
	again    []uint64               // refused, or of unknown fate: to be sent again first
	answered map[uint64]bool        // acknowledged requests
	refused  int                    // answers 503
	last     ledger.Attempt
	healed   time.Time // when the fault ended; zero: it has not, or publishers have noticed
	outage   *outage   // that is measured; nil: none is
}

// newTrial begins a trial at these levels, publisher i at levels[i%len(levels)].
func (s *sitting) newTrial(data string, levels ...string) (*trial, error) {
	return s.newTrialOf(stream.Config{Duplicates: 0.2, PayloadBytes: stream.MinPayloadBytes, Topics: 3}, eventsPerRequest, data, levels...)
}

func (s *sitting) newTrialOf(config stream.Config, perRequest uint64, data string, levels ...string) (*trial, error) {
	config.Seed = uint64(len(s.record.Trials) + 1)
	made, err := stream.New(config)
	if err != nil {
		return nil, err
	}
	t := &trial{s: s, data: data, stream: made, began: time.Now(), publishers: publishers, timeout: requestTimeout, ledger: ledger.NewDigester(), answered: map[uint64]bool{}}
	t.record = record.Trial{Stream: made.Config(), EventsPerRequest: perRequest, Levels: levels, RecoveryMS: []float64{}, Looks: []record.Look{}}
	return t, nil
}

// end puts the trial into the record.
func (t *trial) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.record.Ledger = t.ledger.Digest()
	t.s.record.Trials = append(t.s.record.Trials, t.record)
}

// broken notes what was promised and not kept.
func (t *trial) broken(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.breaks(format, args...)
}

// breaks is broken for who holds mu.
func (t *trial) breaks(format string, args ...any) {
	if len(t.record.Broken) < maxBroken {
		t.record.Broken = append(t.record.Broken, fmt.Sprintf(format, args...))
	}
}

// expect notes an error as a broken promise.
func (t *trial) expect(err error) {
	if err != nil {
		t.broken("%v", err)
	}
}

// injected notes that the fault was injected once more.
func (t *trial) injected() {
	t.record.Injected++
	t.s.injected = true
}

// kill kills the aggregator, which is to live by then.
func (t *trial) kill(a *aggregator) {
	a.kill()
	t.wasKilled(a)
}

// wasKilled waits until the aggregator is gone. Every kill here is a SIGKILL, that of a crash place
// and of the kernel too: another end is its own, and a broken promise.
func (t *trial) wasKilled(a *aggregator) {
	if err := a.Killed(); err != nil {
		t.broken("%v", itself(err))
	}
}

// restart starts the aggregator on what a fault left, and notes how long it takes to be ready.
func (t *trial) restart(flags ...string) (*aggregator, error) {
	began := time.Now()
	a, err := t.s.start(t.data, flags...)
	t.record.RecoveryMS = append(t.record.RecoveryMS, milliseconds(time.Since(began)))
	return a, err
}

// body is a request of the stream, or several that follow each other.
func (t *trial) body(requests ...uint64) []byte {
	body := []byte{'['}
	for _, request := range requests {
		first := request * t.record.EventsPerRequest
		for n := first; n < first+t.record.EventsPerRequest; n++ {
			if len(body) > 1 {
				body = append(body, ',')
			}
			body = t.stream.AppendEvent(body, n)
		}
	}
	return append(body, ']')
}

// acknowledgedBody is all that was acknowledged, as one request.
func (t *trial) acknowledgedBody() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	requests := []uint64{}
	for request := range t.answered {
		requests = append(requests, request)
	}
	slices.Sort(requests)
	return t.body(requests...)
}

// load publishes to url until ended is closed, and returns once every publisher has stopped. A
// request that is not acknowledged is sent again, as publishers do.
func (t *trial) load(url string, ended <-chan struct{}) error {
	transport := &http.Transport{MaxIdleConnsPerHost: t.publishers}
	defer transport.CloseIdleConnections()
	sender := &delivery.Sender{Transport: transport, Timeout: t.timeout, Start: t.began}
	urls := append([]string{url}, t.others...)
	errs := make([]error, t.publishers)
	var all sync.WaitGroup
	for i := range t.publishers {
		all.Go(func() {
			at := i / len(t.record.Levels)
			for t.s.ctx.Err() == nil {
				acknowledged, err := t.publish(sender, urls[at%len(urls)], i%len(t.record.Levels))
				if errs[i] = err; err != nil {
					return
				}
				rest := t.pause
				if !acknowledged {
					rest = pauseRefused
					at++
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
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return t.s.ctx.Err()
}

// loadFor loads for so long.
func (t *trial) loadFor(url string, d time.Duration) error {
	ended := make(chan struct{})
	time.AfterFunc(d, func() { close(ended) })
	return t.load(url, ended)
}

// publish sends the next request once and reports whether it was acknowledged.
func (t *trial) publish(sender *delivery.Sender, url string, level int) (bool, error) {
	target, err := delivery.Target(url, t.record.Levels[level])
	if err != nil {
		return false, err
	}
	t.mu.Lock()
	number := t.next
	if n := len(t.again); n > 0 {
		number, t.again = t.again[0], t.again[1:]
	} else {
		t.next++
	}
	attempt := t.sent
	t.sent++
	t.mu.Unlock()
	request := delivery.Request{Number: number, Phase: level, URL: target, Body: t.body(number), Events: int(t.record.EventsPerRequest),
		Header: http.Header{"Content-Type": {"application/json"}, crashimage.Header: {strconv.Itoa(attempt)}}}
	// Not the sitting's context: it would cut an answer off whose request was taken.
	result := sender.Send(context.Background(), request, func(ledger.Attempt) {})
	t.note(attempt, result)
	return result.Outcome == ledger.Acknowledged, nil
}

// note keeps what became of a request, the attempt-th that was sent.
func (t *trial) note(attempt int, result delivery.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := result.Last
	t.last = a
	t.ledger.Add(a)
	if t.attempts != nil {
		t.attempts[attempt] = a
	}
	if result.Outcome == ledger.Acknowledged {
		t.answered[a.Request] = true
		t.outage.heard(a)
		if !t.healed.IsZero() {
			t.record.RecoveryMS = append(t.record.RecoveryMS, milliseconds(time.Since(t.healed)))
			t.healed = time.Time{}
		}
		return
	}
	t.again = append(t.again, a.Request)
	switch {
	case a.Status == http.StatusServiceUnavailable:
		t.refused++
		if result.Answer.RetryAfter() == 0 {
			t.breaks("an answer 503 had no Retry-After")
		}
	case a.Status != 0:
		t.breaks("status %d: %s", a.Status, result.Answer.Detail)
	}
}

// refusals is how many answers were 503 so far.
func (t *trial) refusals() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

// acknowledged is how many requests are.
func (t *trial) acknowledged() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.answered)
}

// underLoad runs fault while publishers load the aggregator, and goes on until one of them is
// answered after it.
func (t *trial) underLoad(a *aggregator, fault func() error) error {
	ended := make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		t.s.sleep(settle)
		if failed = fault(); failed != nil {
			return
		}
		t.awaitRecovery(drainTimeout)
		t.s.sleep(settle)
	}()
	err := t.load(a.URL, ended)
	<-ended
	if failed != nil {
		return failed
	}
	return err
}

// awaitRecovery waits until somebody is answered after a fault. That nobody is within so long is a
// promise that was not kept.
func (t *trial) awaitRecovery(within time.Duration) {
	t.mu.Lock()
	t.healed = time.Now()
	t.mu.Unlock()
	recovered := func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.healed.IsZero()
	}
	for end := time.Now().Add(within); time.Now().Before(end) && t.s.sleep(pollPeriod); {
		if recovered() {
			return
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.healed.IsZero() && t.s.ctx.Err() == nil {
		t.breaks("nobody was answered within %v after the fault", within)
	}
	t.healed = time.Time{} // the next answer may be that of another fault
}

// awaitRefusals waits until publishers are refused and the aggregator says that it is not ready.
func (t *trial) awaitRefusals(a *aggregator) {
	for end := time.Now().Add(refusalWait); time.Now().Before(end) && t.s.ctx.Err() == nil; t.s.sleep(10 * time.Millisecond) {
		if t.refusals() > 0 && !a.isReady() {
			return
		}
	}
	t.broken("after %v nobody was refused, or it was ready all the same: %d refusals", refusalWait, t.refusals())
}

// look waits until the queue is empty and records everything that is stored.
func (t *trial) look(a *aggregator) error {
	counters, err := a.drained()
	if err != nil {
		return err
	}
	stored, err := a.export(t.stream)
	if err != nil {
		return err
	}
	t.record.Looks = append(t.record.Looks, record.Look{End: record.Shown, Stored: stored, Counters: &counters})
	return nil
}

// lookAndStop is the end of most trials.
func (t *trial) lookAndStop(a *aggregator) error {
	if err := t.look(a); err != nil {
		return err
	}
	t.expect(a.stop())
	t.end()
	return nil
}
