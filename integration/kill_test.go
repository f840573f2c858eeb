package integration_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

const (
	// kills at each of the two levels that promise to survive them.
	kills = 10
	// publishers send at the same time, so that commits and journal syncs are shared.
	publishers = 4
	// pause of a publisher between two requests: it keeps the run small enough to be read back after
	// each kill.
	pause = 2 * time.Millisecond
	// longestLoad bounds the time from ready to the kill.
	longestLoad = 300 * time.Millisecond
	// smallBatches makes commits cut requests: then the position in the journal points into the middle
	// of one.
	smallBatches = "-batch-events=7"
)

// TestKillAtRandomMoments kills the aggregator under load again and again, on the
// same data. After each kill everything acknowledged is there, once, as it was
// sent; nothing is there that was not sent; and no request was taken by halves.
func TestKillAtRandomMoments(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	for _, ack := range []string{"journal", "store"} {
		t.Run(ack, func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			h := &history{ack: ack, random: rand.New(rand.NewPCG(seed, 0)), data: dataFolder(t), stored: newStored(), sent: map[int]bool{}}
			for kill := range kills {
				h.live(t)
				if t.Failed() {
					t.Fatalf("at kill %d of %d, seed %d", kill+1, kills, seed)
				}
			}
			a := start(t, h.data)
			h.verify(t, a)
			a.stop(t)
			if events := checkDatabase(t, h.data); events != len(h.stored.originals) {
				t.Errorf("the database holds %d events, /events %d", events, len(h.stored.originals))
			}
			t.Logf("%d requests acknowledged, %d attempts unknown, %d events stored", len(h.acknowledged), h.unknown, len(h.stored.originals))
			if len(h.acknowledged) < kills {
				t.Errorf("only %d requests were acknowledged: the load was too thin to try anything", len(h.acknowledged))
			}
		})
	}
}

// history is what the publishers know, and so what must be found.
type history struct {
	ack    string
	random *rand.Rand // of the test's goroutine alone
	data   string
	stored *stored
	last   counters // of the latest answer

	mu           sync.Mutex
	next         int          // the first request not yet sent
	again        []int        // requests to send before that: refused, or unknown and chosen to be repeated
	sent         map[int]bool // requests of which at least one attempt may have been taken
	acknowledged []int        // requests by attempt: one that is repeated is here once for each answer
	unknown      int          // attempts without an answer
}

// live starts the aggregator on what the last kill left, checks it, loads it, and kills it.
func (h *history) live(t *testing.T) {
	if h.random.IntN(4) == 0 { // a kill in the middle of recovery, or right after
		a := startUnready(t, h.data)
		time.Sleep(time.Duration(h.random.Int64N(int64(20 * time.Millisecond))))
		a.kill()
		checkDatabase(t, h.data)
	}
	var flags []string
	if h.random.IntN(2) == 0 {
		flags = []string{smallBatches}
	}
	a := start(t, h.data, flags...)
	h.verify(t, a)

	killed := make(chan struct{})
	var load sync.WaitGroup
	for range publishers {
		load.Go(func() { h.publish(t, a, killed) })
	}
	load.Go(func() { h.sample(t, a, killed) })
	time.Sleep(time.Duration(h.random.Int64N(int64(longestLoad))))
	select {
	case <-a.Exited():
		t.Fatal("the aggregator ended before it was killed")
	default:
	}
	close(killed)
	a.kill()
	load.Wait()

	// Half of the unknown attempts are repeated, as a publisher would; the others stay unknown.
	h.random.Shuffle(len(h.again), func(i, j int) { h.again[i], h.again[j] = h.again[j], h.again[i] })
	h.again = h.again[:len(h.again)/2]
	checkDatabase(t, h.data)
}

// publish sends one request after the other until the aggregator is gone.
func (h *history) publish(t *testing.T, a *aggregator, killed <-chan struct{}) {
	for {
		request := h.take()
		status, text, err := a.publish(requestBody(request), h.ack)
		if err != nil {
			h.mu.Lock()
			h.sent[request] = true
			h.unknown++
			h.again = append(h.again, request)
			h.mu.Unlock()
			select {
			case <-killed:
			default:
				t.Errorf("a request failed although nobody killed the aggregator: %v", err)
			}
			return
		}
		h.mu.Lock()
		switch status {
		case http.StatusOK, http.StatusAccepted:
			h.sent[request] = true
			h.acknowledged = append(h.acknowledged, request)
		case http.StatusServiceUnavailable: // nothing was taken
			h.again = append(h.again, request)
		default:
			t.Errorf("status %d: %s", status, text)
		}
		h.mu.Unlock()
		select {
		case <-killed:
			return
		case <-time.After(pause):
		}
	}
}

func (h *history) take() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.again); n > 0 {
		request := h.again[n-1]
		h.again = h.again[:n-1]
		return request
	}
	h.next++
	return h.next - 1
}

// sample checks that the counters add up in every answer and never fall.
func (h *history) sample(t *testing.T, a *aggregator, killed <-chan struct{}) {
	for {
		now, err := a.stats()
		if err != nil {
			select {
			case <-killed:
			default:
				t.Error(err)
			}
			return
		}
		if now.Received < h.last.Received || now.Unique < h.last.Unique || now.Duplicates < h.last.Duplicates {
			t.Errorf("counters fell from %+v to %+v", h.last, now)
		}
		h.last = now
		select {
		case <-killed:
			return
		case <-time.After(samplePeriod):
		}
	}
}

// verify holds what is stored against the history, once the queue is empty.
func (h *history) verify(t *testing.T, a *aggregator) {
	t.Helper()
	now := a.drained(t)
	if err := h.stored.read(a.export(t)); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{h.checkEvents(), h.checkCounters(now)} {
		if err != nil {
			t.Error(err)
		}
	}
	h.last = now
}

func (h *history) checkEvents() error {
	var lost, unexpected int
	for _, request := range h.acknowledged {
		for _, original := range originalsOf(request) {
			if !h.stored.originals[original] {
				lost++
			}
		}
	}
	maybe := map[int]bool{}
	for request := range h.sent {
		for _, original := range originalsOf(request) {
			maybe[original] = true
		}
	}
	for original := range h.stored.originals {
		if !maybe[original] {
			unexpected++
		}
	}
	if lost > 0 || unexpected > 0 {
		return fmt.Errorf("%d acknowledged events are lost, %d stored ones were never sent", lost, unexpected)
	}
	return nil
}

// checkCounters: an acknowledged attempt counts all its events, an unknown one all or none.
func (h *history) checkCounters(now counters) error {
	least := len(h.acknowledged) * eventsPerRequest
	most := least + h.unknown*eventsPerRequest
	if now.Received < least || now.Received > most || (now.Received-least)%eventsPerRequest != 0 {
		return fmt.Errorf("%d events received; acknowledged were %d, at most %d sent, %d a request", now.Received, least, most, eventsPerRequest)
	}
	if now.Unique != len(h.stored.originals) {
		return fmt.Errorf("%d unique events counted, %d stored", now.Unique, len(h.stored.originals))
	}
	if now.Unique < h.last.Unique || now.Duplicates < h.last.Duplicates {
		return fmt.Errorf("committed counters fell from %+v to %+v", h.last, now)
	}
	return nil
}
