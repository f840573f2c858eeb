package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sekali/loadgen/delivery"
	"sekali/loadgen/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testConfig(url string) Config {
	return Config{
		URL: url, PerRequest: 10, Count: 100, Seed: 1, Timeout: 5 * time.Second, Wait: 5 * time.Second,
		Retry: delivery.Policy{MaxAttempts: 5, MaxElapsed: 5 * time.Second, BaseDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond},
	}
}

// publish runs the publisher, and reads its last line.
func publish(t *testing.T, ctx context.Context, c Config) (report Report, complaints string, err error) {
	t.Helper()
	var stdout, stderr strings.Builder
	err = Run(ctx, c, &stdout, &stderr)
	if lines := strings.Split(stdout.String(), "\n"); len(lines) != 2 || lines[1] != "" {
		t.Fatalf("standard output is not one line: %q", stdout.String())
	}
	decoder := json.NewDecoder(strings.NewReader(stdout.String()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&report); err != nil {
		t.Fatal(err)
	}
	return report, stderr.String(), err
}

func TestTheStreamIsPublishedAndARerunIsADuplicate(t *testing.T) {
	a := newAggregator(t)
	c := testConfig(a.URL)
	c.Duplicates, c.Ack, c.PerRequest, c.TokenFile = 0.2, "store", 7, writeFile(t, "token", "secret\n")
	report, complaints, err := publish(t, t.Context(), c)
	if err != nil || complaints != "" || report.Acknowledged != 100 || *report.Duplicates != 20 || report.Requests != 15 || report.Retries != 0 {
		t.Fatalf("%+v, %q, %v", report, complaints, err)
	}
	s, _ := stream.New(stream.Config{Seed: 1, Duplicates: 0.2})
	for original := range uint64(80) {
		if want := string(s.AppendOriginal(nil, original)); a.order[original] != want {
			t.Fatalf("original %d is %s, want %s", original, a.order[original], want)
		}
	}
	if got := a.headers.Get("Authorization"); got != "Bearer secret" {
		t.Errorf("Authorization: %q", got)
	}
	report, _, err = publish(t, t.Context(), c)
	if err != nil || report.Acknowledged != 100 || *report.Duplicates != 100 || len(a.stored) != 80 {
		t.Errorf("again: %+v, %v, %d stored", report, err, len(a.stored))
	}
}

// Every failure that repeating can help against is repeated, and nothing else.
func TestRetries(t *testing.T) {
	reset := func(w http.ResponseWriter) {
		c, _, _ := http.NewResponseController(w).Hijack()
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	for name, fail := range map[string]func(http.ResponseWriter){
		"queue full": problem(503, "queue_full"), "too many": problem(429, ""), "bad gateway": problem(502, ""),
		"gateway timeout": problem(504, ""), "reset": reset,
	} {
		t.Run(name, func(t *testing.T) {
			a := newAggregator(t)
			a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n%3 != 0 {
					fail(w)
				}
				return n%3 != 0
			}
			report, complaints, err := publish(t, t.Context(), testConfig(a.URL))
			if err != nil || complaints != "" || report.Acknowledged != 100 || report.Requests != 10 || report.Retries != 20 || len(a.stored) != 100 {
				t.Errorf("%+v, %q, %v", report, complaints, err)
			}
		})
	}
}

// The answer is lost after the events were taken: they are sent again, and
// stored once.
func TestALostAnswer(t *testing.T) {
	a := newAggregator(t)
	a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n != 2 {
			return false
		}
		s, _ := stream.New(stream.Config{Seed: 1})
		var body []byte
		for i := uint64(10); i < 20; i++ {
			body = append(s.AppendEvent(body, i), '\n')
		}
		a.take(httptest.NewRecorder(), body, "")
		c, _, _ := http.NewResponseController(w).Hijack()
		c.Close()
		return true
	}
	report, _, err := publish(t, t.Context(), testConfig(a.URL))
	if err != nil || report.Acknowledged != 100 || report.Retries != 1 || len(a.stored) != 100 {
		t.Errorf("%+v, %v, %d stored", report, err, len(a.stored))
	}
}

func TestWhatIsNotAcknowledgedIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		fail       func(http.ResponseWriter)
		report     Report
		complaint  string
		errorHolds string
	}{
		// Of this batch: the others are sent.
		"malformed": {problem(400, "malformed"), Report{Acknowledged: 90, Refused: 10, Requests: 10}, "400 malformed", "not everything"},
		// Of all that would follow.
		"unauthorized": {problem(401, "unauthorized"), Report{Acknowledged: 10, Refused: 10, Requests: 2}, "401 unauthorized: because (no -token-file is given)", "401 unauthorized: because (no -token-file is given)"},
		"a bug":        {problem(500, "internal"), Report{Acknowledged: 10, Unknown: 10, Requests: 2}, "event 10 to 19 unknown: 500 internal", "500"},
		"nonsense":     {func(w http.ResponseWriter) { io.WriteString(w, "<html>") }, Report{Acknowledged: 10, Unknown: 10, Requests: 2}, "bad_answer", "bad_answer"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAggregator(t)
			a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 2 {
					c.fail(w)
				}
				return n == 2
			}
			report, complaints, err := publish(t, t.Context(), testConfig(a.URL))
			report.ElapsedMS = 0
			if report != c.report {
				t.Errorf("report %+v, want %+v", report, c.report)
			}
			if err == nil || errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.errorHolds) || !strings.Contains(complaints, c.complaint) {
				t.Errorf("error %v, complaints %q", err, complaints)
			}
		})
	}
}

// A request that is too large is sent in halves. An event that is too large by itself is told, and
// passed over.
func TestTooLarge(t *testing.T) {
	a := newAggregator(t)
	a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
		large := r.ContentLength > 800 // more than three of these events
		if large {
			problem(413, "too_large")(w)
		}
		return large
	}
	c := testConfig(a.URL)
	c.Lines, c.Topic, c.Count, c.Retry.MaxAttempts = true, "t", unbounded, 1
	c.State = filepath.Join(t.TempDir(), "state")
	c.Input = writeFile(t, "log", numbered("line", 4)+strings.Repeat("x", 1000)+"\n"+numbered("other", 5))
	report, complaints, err := publish(t, t.Context(), c)
	if err == nil || report.Acknowledged != 9 || report.Refused != 1 || report.Retries != 0 || report.Requests != uint64(a.publishes) || len(a.stored) != 9 {
		t.Errorf("%+v, %v, %d stored", report, err, len(a.stored))
	}
	if !strings.Contains(complaints, "line 5 to 5 refused: 413 too_large: because") || strings.Count(complaints, "\n") != 1 {
		t.Errorf("%q", complaints)
	}
	if report, _, err = publish(t, t.Context(), c); err != nil || report.Requests != 0 {
		t.Errorf("again: %+v, %v", report, err)
	}
}

// What the attempts at a request came to before it was halved holds for both halves, and for their
// halves. Each attempt is booked once.
func TestHalvesOfWhatMayBeStored(t *testing.T) {
	a := newAggregator(t)
	// Of the events 0 to 3 together, 0 and 1, 0, 1, 2 and 3, then 4 to 7, which nobody halves.
	answers := []int{504, 413, 413, 400, 503, 400, 400, 400}
	a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
		problem(answers[min(n, len(answers))-1], "because")(w)
		return true
	}
	c := testConfig(a.URL)
	c.PerRequest, c.Count = 4, 8
	report, complaints, err := publish(t, t.Context(), c)
	if err == nil || report.Unknown != 4 || report.Refused != 4 || report.Requests != 6 || report.Retries != 2 || a.publishes != len(answers) {
		t.Errorf("%+v, %v, %d requests, %s", report, err, a.publishes, complaints)
	}
}

// An answer that counts failed events, without their names, has stored the others: whatever comes
// behind it, the request was not refused.
func TestUnnamedFailuresMayBeStored(t *testing.T) {
	a := newAggregator(t)
	a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n > 1 {
			problem(503, "queue_full")(w)
			return true
		}
		io.WriteString(w, `{"ack":"store","accepted":2,"rejected":0,"errors":[],"failed":1,"stored":1,"duplicates":0}`)
		return true
	}
	c := testConfig(a.URL)
	c.PerRequest, c.Count, c.Ack, c.Retry.MaxAttempts = 2, 2, "store", 3
	report, complaints, err := publish(t, t.Context(), c)
	if err == nil || report.Unknown != 2 || report.Refused != 0 || report.Requests != 1 || report.Retries != 2 || a.publishes != 3 {
		t.Errorf("%+v, %v, %d requests, %s", report, err, a.publishes, complaints)
	}
}

func TestItGivesUp(t *testing.T) {
	a := newAggregator(t)
	a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n > 3 {
			problem(503, "queue_full")(w)
		}
		return n > 3
	}
	report, complaints, err := publish(t, t.Context(), testConfig(a.URL))
	if err == nil || report.Acknowledged != 30 || report.Refused != 10 || report.Retries != 4 || !strings.Contains(complaints, "(5 attempts)") {
		t.Errorf("%+v, %q, %v", report, complaints, err)
	}
}

func TestItWaitsForAnAggregator(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()

	c := testConfig("http://" + address)
	c.Wait = 300 * time.Millisecond
	if report, _, err := publish(t, t.Context(), c); err == nil || report.Requests != 0 || !strings.Contains(err.Error(), "no aggregator") {
		t.Errorf("%+v, %v", report, err)
	}

	// Up after a while, and ready after another.
	a := &aggregator{stored: make(map[string]string)}
	a.Server = httptest.NewUnstartedServer(a)
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(200 * time.Millisecond)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		a.Listener.Close()
		a.Listener = listener
		a.Start()
		time.Sleep(200 * time.Millisecond)
		a.mu.Lock()
		a.ready = true
		a.mu.Unlock()
	})
	c.Wait = 10 * time.Second
	report, _, err := publish(t, t.Context(), c)
	wg.Wait()
	defer a.Close()
	if err != nil || report.Acknowledged != 100 || report.Retries != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// A restart in the middle: connections refused for a while.
func TestItOutlastsARestart(t *testing.T) {
	a := newAggregator(t)
	address := a.Listener.Addr().String()
	var wg sync.WaitGroup
	defer wg.Wait()
	a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n != 3 {
			return false
		}
		wg.Go(func() {
			a.Listener.Close()
			time.Sleep(100 * time.Millisecond)
			listener, err := net.Listen("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			again := &http.Server{Handler: a}
			t.Cleanup(func() { again.Close() })
			go again.Serve(listener)
		})
		time.Sleep(20 * time.Millisecond)
		c, _, _ := http.NewResponseController(w).Hijack()
		c.Close()
		return true
	}
	c := testConfig(a.URL)
	c.Retry.MaxAttempts, c.Retry.MaxDelay = 1000, 20*time.Millisecond
	report, _, err := publish(t, t.Context(), c)
	if err != nil || report.Acknowledged != 100 || report.Retries < 2 || len(a.stored) != 100 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestRate(t *testing.T) {
	a := newAggregator(t)
	c := testConfig(a.URL)
	c.Rate = 300
	report, _, err := publish(t, t.Context(), c)
	// The last of ten requests is due after 90/300 s.
	if err != nil || report.Acknowledged != 100 || report.ElapsedMS < 295 || report.ElapsedMS > 2000 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestStopped(t *testing.T) {
	for _, c := range []struct {
		name     string
		count    uint64
		complete bool
	}{{"a stream without an end", unbounded, true}, {"a stream with an end", 1 << 40, false}} {
		t.Run(c.name, func(t *testing.T) {
			a := newAggregator(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 3 {
					cancel()
					time.Sleep(20 * time.Millisecond) // the answer under way is waited for
				}
				return false
			}
			config := testConfig(a.URL)
			config.Count = c.count
			report, complaints, err := publish(t, ctx, config)
			if (err == nil) != c.complete || report.Acknowledged != 30 || report.Unknown != 0 || complaints != "" {
				t.Errorf("%+v, %q, %v", report, complaints, err)
			}
		})
	}
}

// Stopped while a request is sent again and again, it says what became of the events, and how to go
// on; the run after it does.
func TestStoppedWhileItRetries(t *testing.T) {
	lines := strings.Repeat("started\n", 100)
	for name, c := range map[string]struct {
		change func(*testing.T, *Config)
		fail   func(http.ResponseWriter)
		holds  []string
	}{
		"a stream": {func(*testing.T, *Config) {}, problem(503, "queue_full"),
			[]string{"with the same flags and input"}},
		"a stream without an end": {func(_ *testing.T, c *Config) { c.Count = unbounded }, problem(502, ""),
			[]string{"with the same flags and input"}},
		"a file, with -state": {func(t *testing.T, c *Config) {
			c.Lines, c.Topic, c.Count, c.Input, c.State = true, "t", unbounded, writeFile(t, "log", lines), filepath.Join(t.TempDir(), "state")
		}, problem(503, "queue_full"), []string{"by -state it goes on"}},
		"lines without a time, of a pipe": {func(_ *testing.T, c *Config) {
			c.Lines, c.Topic, c.Count, c.Input, c.Stdin = true, "t", unbounded, "-", strings.NewReader(lines)
		}, problem(503, "queue_full"), []string{"but not lines without a time, unless -run"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each takes the whole grace
			a := newAggregator(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 6 {
					cancel()
				}
				if n > 3 {
					c.fail(w)
				}
				return n > 3
			}
			config := testConfig(a.URL)
			config.Retry.MaxAttempts, config.Retry.MaxElapsed, config.Retry.MaxDelay = 1<<30, time.Hour, 50*time.Millisecond
			c.change(t, &config)
			report, _, err := publish(t, ctx, config)
			// The end may come in the middle of an attempt, which then has no answer.
			if !errors.Is(err, errIncomplete) || report.Acknowledged != 30 || report.Refused+report.Unknown != 10 {
				t.Fatalf("%+v, %v", report, err)
			}
			told := fmt.Sprintf("30 events were, %d were sent and refused, %d were sent and had no answer, ", report.Refused, report.Unknown)
			for _, want := range append(c.holds, told, "stopped: ", " were read and not sent. Run it again") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not said: %v", want, err)
				}
			}
			if config.Count == unbounded && config.Input == "" || config.Input == "-" {
				return
			}
			a.before = nil
			if report, _, err = publish(t, t.Context(), config); err != nil || len(a.stored) != 100 {
				t.Errorf("again: %+v, %v, %d stored", report, err, len(a.stored))
			}
		})
	}
}

func TestRunRefusesBadFiles(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"input": func(c *Config) { c.Input = "/does/not/exist" },
		"token": func(c *Config) { c.TokenFile = "/does/not/exist" },
	} {
		c := testConfig("http://127.0.0.1:1")
		spoil(&c)
		if err := Run(t.Context(), c, io.Discard, io.Discard); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
