package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sekali/loadgen/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testRetry() RetryPolicy {
	return RetryPolicy{MaxAttempts: 4, MaxElapsed: 10 * time.Second, BaseDelay: time.Millisecond, MaxDelay: 10 * time.Millisecond}
}

// A server that does everything a server can do wrong: the ledger and the server's
// own account agree on every attempt.
func TestLedgerTellsWhatHappened(t *testing.T) {
	turns := []reaction{accept, refuse, breakIt, failing, accept, lose, bug, accept}
	f := newFake(t, func(request uint64, n int) reaction {
		return turns[(request*3+uint64(n))%uint64(len(turns))]
	})
	const requests = 120
	summary, told, err := run(t, t.Context(), Config{
		URL: f.URL, Phases: []Phase{{Name: "mixed", Rate: 200, Requests: requests, Measured: true}},
		Retry: testRetry(), Timeout: 1500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != requests || len(f.seen) != requests {
		t.Fatalf("%d requests in the ledger, %d at the server, want %d", len(told), len(f.seen), requests)
	}
	var want PhaseSummary
	for request, attempts := range told {
		seen := f.seen[request]
		if len(seen) != len(attempts) {
			t.Fatalf("request %d: %v at the server, %+v in the ledger", request, seen, attempts)
		}
		outcome := ledger.Refused
		for i, a := range attempts {
			if got := a.Cause; got != string(seen[i]) && !(got == "" && seen[i] == accept) {
				t.Errorf("request %d attempt %d: cause %q, the server did %q", request, a.Attempt, got, seen[i])
			}
			if a.PlannedNS != attempts[0].PlannedNS || a.Lag() < 0 || a.DoneNS < a.SentNS {
				t.Errorf("times of %+v", a)
			}
			outcome = outcome.Then(a.Outcome())
		}
		want.Retries += uint64(len(attempts) - 1)
		switch outcome {
		case ledger.Acknowledged:
			want.Acknowledged++
			want.AcceptedEvents += testEvents
		case ledger.Unknown:
			want.Unknown++
		case ledger.Refused:
			want.Refused++
		}
	}
	got := summary.Phases[0]
	want.Name, want.Measured, want.Planned, want.Sent, want.StartNS, want.EndNS = "mixed", true, requests, requests, got.StartNS, got.EndNS
	if got != want || got.EndNS <= got.StartNS {
		t.Errorf("summary %+v, want %+v", got, want)
	}
	for _, sort := range []uint64{got.Acknowledged, got.Unknown, got.Retries} {
		if sort == 0 {
			t.Errorf("the test shows nothing: %+v", got)
		}
	}
}

// Each request is planned on the schedule, whatever the answers do.
func TestPlannedTimesAreTheSchedule(t *testing.T) {
	f := newFake(t, func(uint64, int) reaction { return accept })
	var startedAt time.Time
	summary, told, err := run(t, t.Context(), Config{
		URL: f.URL, FirstRequest: 1000, OnStart: func(at time.Time) { startedAt = at },
		Phases: []Phase{
			{Name: "warm-up", Rate: 100, Duration: 100 * time.Millisecond},
			{Name: "measured", Rate: 500, Duration: 200 * time.Millisecond, Measured: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !startedAt.Equal(summary.StartedAt) {
		t.Errorf("OnStart said %v, the summary %v", startedAt, summary.StartedAt)
	}
	origin := told[1000][0].PlannedNS
	if origin < 0 || origin > int64(100*time.Millisecond) {
		t.Errorf("the first request is planned at %d ns", origin)
	}
	for request := uint64(1000); request < 1110; request++ {
		want, phase := int64(request-1000)*1e7, 0
		if request >= 1010 {
			want, phase = 1e8+int64(request-1010)*2e6, 1
		}
		a := told[request][0]
		if a.PlannedNS-origin != want || a.Phase != phase || a.SentNS < a.PlannedNS {
			t.Errorf("request %d: %+v, want it planned at %d of phase %d", request, a, origin+want, phase)
		}
	}
	if len(told) != 110 {
		t.Errorf("%d requests", len(told))
	}
	for i, want := range []PhaseSummary{{FirstRequest: 1000, Planned: 10}, {FirstRequest: 1010, Planned: 100}} {
		if got := summary.Phases[i]; got.FirstRequest != want.FirstRequest || got.Planned != want.Planned || got.Sent != want.Planned {
			t.Errorf("phase %d: %+v", i, got)
		}
	}
}

// Coordinated omission. The server stands still once. A generator that waited
// for it would send, and count, one slow request. Here every request that was
// due meanwhile is late by as much as was left of the stall.
func TestAStallIsSeenByEveryRequestThatWasDue(t *testing.T) {
	const (
		stallFor = 600 * time.Millisecond
		rate     = 200
		stalled  = "20" // the request that meets it
	)
	for _, connections := range []int{1, 256} {
		t.Run(fmt.Sprintf("connections=%d", connections), func(t *testing.T) {
			var gate sync.RWMutex
			var begin, end time.Time // of the stall
			f := newFake(t, func(request uint64, n int) reaction { return accept })
			inner := f.Config.Handler
			f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Sekali-Request") == stalled {
					gate.Lock()
					begin = time.Now()
					time.Sleep(stallFor)
					end = time.Now()
					gate.Unlock()
				}
				gate.RLock()
				defer gate.RUnlock()
				inner.ServeHTTP(w, r)
			})
			summary, told, err := run(t, t.Context(), Config{
				URL: f.URL, MaxConnections: connections,
				Phases: []Phase{{Name: "open", Rate: rate, Duration: time.Second}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(told) != rate {
				t.Fatalf("%d requests were sent, %d were due", len(told), rate)
			}
			from, to := int64(begin.Sub(summary.StartedAt)), int64(end.Sub(summary.StartedAt))
			slow := 0
			for request, attempts := range told {
				a := attempts[0]
				if a.PlannedNS <= from || a.PlannedNS >= to {
					continue
				}
				slow++
				if least := time.Duration(to - a.PlannedNS); a.ResponseTime() < least {
					t.Errorf("request %d was due %v before the stall ended, and its response time is %v", request, least, a.ResponseTime())
				}
				if lag := a.Lag(); lag > stallFor/2 {
					t.Errorf("request %d was sent %v late: the stall held up the generator", request, lag)
				}
			}
			if least := int(stallFor.Seconds()*rate) - 2; slow < least {
				t.Errorf("%d requests were due during the stall, want at least %d", slow, least)
			}
		})
	}
}

// When even the generator is at its bound (one worker), requests are sent late,
// all of them are sent, and their lag says so.
func TestAGeneratorAtItsBoundShowsLag(t *testing.T) {
	f := newFake(t, func(request uint64, n int) reaction {
		time.Sleep(20 * time.Millisecond) // under f.mu: one at a time
		return accept
	})
	var file bytes.Buffer
	w := ledger.NewWriter(&file)
	a, err := New(Config{
		URL: f.URL, Stream: testStream(t), Ledger: w, EventsPerRequest: testEvents,
		Phases: []Phase{{Name: "open", Rate: 1000, Requests: 30}},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.ahead.typical = maxInFlightBytes // as if bodies were huge: minInFlight requests at once
	if a.inFlight() != minInFlight {
		t.Fatalf("%d in flight", a.inFlight())
	}
	summary, err := a.Run(t.Context())
	w.Close()
	if err != nil || summary.Phases[0].Sent != 30 || summary.Phases[0].Acknowledged != 30 {
		t.Fatalf("%+v, %v", summary, err)
	}
	for attempt, err := range ledger.Read(&file) {
		if err != nil {
			t.Fatal(err)
		}
		if attempt.Request == 29 && attempt.Lag() < 200*time.Millisecond {
			t.Errorf("the last request lags %v", attempt.Lag())
		}
	}
}

func TestClosedLoopKeepsToItsClients(t *testing.T) {
	var now, most atomic.Int64
	f := newFake(t, func(uint64, int) reaction { return accept })
	inner := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(2 * time.Millisecond)
		now.Add(-1)
		inner.ServeHTTP(w, r)
	})
	closed := []Phase{
		{Name: "by requests", Clients: 3, Requests: 100},
		{Name: "by time", Clients: 2, Duration: 100 * time.Millisecond},
	}
	if _, _, err := run(t, t.Context(), Config{URL: f.URL, AheadBytes: 100_000, Phases: closed}); err != nil {
		t.Fatal(err)
	}
	if most.Load() != 3 {
		t.Errorf("%d requests at once, want 3", most.Load())
	}
	// An open loop sends by its schedule, however many are under way.
	summary, told, err := run(t, t.Context(), Config{URL: f.URL, AheadBytes: 100_000,
		Phases: append(closed, Phase{Name: "open", Rate: 200, Requests: 10})})
	if err != nil {
		t.Fatal(err)
	}
	p := summary.Phases
	if p[0].Sent != 100 || p[1].Sent < 10 || p[1].Planned != p[1].Sent || p[2].Sent != 10 {
		t.Errorf("%+v", p)
	}
	// The numbering has neither gaps nor repeats across phases.
	if p[1].FirstRequest != 100 || p[2].FirstRequest != 100+p[1].Sent {
		t.Errorf("%+v", p)
	}
	for request := range 110 + p[1].Sent {
		if len(told[request]) != 1 {
			t.Errorf("request %d has %d attempts", request, len(told[request]))
		}
	}
}

// Stopped in the middle, the ledger still accounts for every planned request.
func TestStoppedAttackAccountsForEveryRequest(t *testing.T) {
	f := newFake(t, func(request uint64, n int) reaction {
		if request%10 == 3 {
			return lose
		}
		return accept
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(200*time.Millisecond, cancel)
	summary, told, err := run(t, ctx, Config{
		URL: f.URL, Timeout: time.Minute, Phases: []Phase{
			{Name: "cut", Rate: 100, Duration: time.Second},
			{Name: "never", Rate: 100, Duration: 500 * time.Millisecond},
			{Name: "closed", Clients: 1, Requests: 5},
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	causes := map[string]int{}
	for request := range uint64(155) {
		attempts := told[request]
		if len(attempts) != 1 {
			t.Fatalf("request %d: %+v", request, attempts)
		}
		causes[attempts[0].Cause]++
		if attempts[0].Cause == ledger.CauseNotSent && (attempts[0].Attempt != 0 || attempts[0].Outcome() != ledger.Refused) {
			t.Errorf("%+v", attempts[0])
		}
	}
	sent := summary.Phases[0].Sent
	if len(told) != 155 || sent == 0 || causes[""] == 0 || causes[ledger.CauseCanceled] == 0 || causes[ledger.CauseNotSent] != 155-int(sent) {
		t.Errorf("causes %v, %d sent, %d requests", causes, sent, len(told))
	}
	if p := summary.Phases[1]; p.Planned != 50 || p.Sent != 0 {
		t.Errorf("%+v", p)
	}
}

func TestStoppedBeforeItBegan(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, told, err := run(t, ctx, Config{URL: "http://127.0.0.1:1", Phases: []Phase{{Name: "a", Rate: 10, Requests: 10}}})
	if !errors.Is(err, context.Canceled) || len(told) != 10 {
		t.Errorf("%v, %d rows", err, len(told))
	}
}

func TestProgress(t *testing.T) {
	f := newFake(t, func(uint64, int) reaction { return accept })
	w := ledger.NewWriter(io.Discard)
	defer w.Close()
	a, err := New(Config{
		URL: f.URL, Stream: testStream(t), Ledger: w, EventsPerRequest: testEvents,
		Phases: []Phase{{Name: "first", Rate: 500, Requests: 50}, {Name: "second", Rate: 500, Requests: 50}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if p := a.Progress(); !p.StartedAt.IsZero() || p.Planned != 100 || p.Phase != "first" {
		t.Errorf("before: %+v", p)
	}
	if _, err := a.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := Progress{Phase: "second", Planned: 100, Sent: 100, Answered: 100, AcknowledgedEvents: 500}
	got := a.Progress()
	if got.StartedAt.IsZero() {
		t.Error("never started")
	}
	got.StartedAt = time.Time{}
	if got != want {
		t.Errorf("after: %+v, want %+v", got, want)
	}
}

// TestClusterIsTriedInTurn: requests begin at one server after the other, and what one of them
// refuses is taken to the next. One that is gone costs no request.
func TestClusterIsTriedInTurn(t *testing.T) {
	all := func(uint64, int) reaction { return accept }
	first, last := newFake(t, all), newFake(t, func(_ uint64, n int) reaction { return refuse })
	gone := newFake(t, all)
	gone.Close()
	var book bytes.Buffer
	w := ledger.NewWriter(&book)
	a, err := New(Config{URL: first.URL, Others: []string{gone.URL, last.URL}, Stream: testStream(t), Ledger: w, EventsPerRequest: testEvents,
		Retry: testRetry(), Phases: []Phase{{Name: "one", Clients: 2, Requests: 30}}})
	if err != nil {
		t.Fatal(err)
	}
	summary, err := a.Run(t.Context())
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if summary.Phases[0].Acknowledged != 30 || len(first.seen) != 30 {
		t.Errorf("%d of 30 acknowledged, the first server saw %d", summary.Phases[0].Acknowledged, len(first.seen))
	}
	// A third begins at each; what the missing one could not take goes on to the last, and back to the
	// first.
	var attempts, refused, unconnected int
	for attempt, err := range ledger.Read(&book) {
		if err != nil {
			t.Fatal(err)
		}
		attempts++
		switch attempt.Cause {
		case string(refuse):
			refused++
		case ledger.CauseConnectionRefused:
			unconnected++
		}
	}
	if attempts != 60 || refused != 20 || unconnected != 10 {
		t.Errorf("%d attempts, %d refused, %d unconnected; want 60, 20 and 10", attempts, refused, unconnected)
	}
}
