package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"sekali/client"
)

func TestMain(m *testing.M) {
	if os.Getenv(childURL) != "" {
		fmt.Fprintln(os.Stderr, child())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds everything a test waits for.
const patience = 20 * time.Second

// open returns a client of a fake that does not wait longer than a test can.
func open(t rapid.TB, url string, options client.Options) *client.Client {
	t.Helper()
	c, err := client.New(url, options)
	if err != nil {
		t.Fatal(err)
	}
	client.Hasten(c)
	return c
}

// within returns a context for what must not take long.
func within(t interface{ Cleanup(func()) }) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// TestEveryEventOnce: whatever the aggregator does to the requests, each event that it can take is
// stored once and in order, each other is reported once, and nothing else happens.
func TestEveryEventOnce(t *testing.T) {
	var met [int(faults)]int
	repeats := 0
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		f := newFake()
		defer f.Close()
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		share := rapid.IntRange(0, 80).Draw(t, "percent of faults")
		f.maxEvents = rapid.IntRange(1, 20).Draw(t, "events the server takes")
		f.next = func() fault {
			todo := none
			if random.IntN(100) < share {
				todo = fault(1 + random.IntN(int(faults)-1))
			}
			met[todo]++
			return todo
		}
		failed := map[string]int{}
		spool := ""
		if rapid.IntRange(0, 2).Draw(t, "with a spool") == 0 {
			spool = filepath.Join(dir, strconv.Itoa(f.Listener.Addr().(*net.TCPAddr).Port))
		}
		c := open(t, f.URL, client.Options{
			BatchEvents: rapid.IntRange(1, 50).Draw(t, "batch"),
			Spool:       spool,
			QueueEvents: rapid.IntRange(1, 30).Draw(t, "queue"),
			Linger:      time.Duration(rapid.IntRange(-1, 2).Draw(t, "linger")) * time.Millisecond,
			Timeout:     slowness / 2,
			Failed: func(e client.Event, err error) {
				var rejected *client.RejectedError
				if !errors.As(err, &rejected) {
					t.Errorf("%s failed with %v", e.Payload, err)
				}
				failed[string(e.Payload)]++
			},
		})
		kinds := []string{"good", "good", "good", "good", "bad", "poison"}
		const publishers = 3
		events := rapid.IntRange(0, 12).Draw(t, "events of each publisher")
		var sent [publishers][]string
		bad := 0
		var all sync.WaitGroup
		for p := range publishers {
			for i := range events {
				kind := rapid.SampledFrom(kinds).Draw(t, "kind")
				if kind != "good" {
					bad++
				}
				sent[p] = append(sent[p], fmt.Sprintf(`{"kind": %q, "p":%d,"i":%d}`, kind, p, i))
			}
			all.Go(func() {
				for _, payload := range sent[p] {
					if err := c.Publish(within(t), client.Event{Topic: "t", Payload: json.RawMessage(payload)}); err != nil {
						t.Errorf("Publish: %v", err)
					}
				}
			})
		}
		all.Wait()
		if err := c.Close(within(t)); errors.Is(err, client.ErrFailed) != (bad > 0) || errors.Is(err, client.ErrUnsent) {
			t.Fatalf("Close with %d bad events: %v", bad, err)
		}
		checkStored(t, f, sent[:], failed)
		repeats += f.repeats
	})
	t.Logf("faults by kind: %v; %d events came again", met, repeats)
	if slices.Contains(met[:], 0) || repeats == 0 {
		t.Error("a kind of fault was never met")
	}
}

// checkStored compares what a fake stored with what each publisher sent, in its order.
func checkStored(t rapid.TB, f *fake, sent [][]string, failed map[string]int) {
	t.Helper()
	got := make([][]string, len(sent))
	for _, e := range f.events() {
		var from struct{ P int }
		if err := json.Unmarshal(e.Payload, &from); err != nil {
			t.Fatal(err)
		}
		got[from.P] = append(got[from.P], string(e.Payload))
	}
	reported := 0
	for p, payloads := range sent {
		var want []string
		for _, payload := range payloads {
			var kind struct{ Kind string }
			if err := json.Unmarshal([]byte(payload), &kind); err != nil {
				t.Fatal(err)
			}
			if kind.Kind == "good" {
				want = append(want, payload)
			} else if reported++; failed[payload] != 1 {
				t.Errorf("%s was reported %d times", payload, failed[payload])
			}
		}
		if !slices.Equal(got[p], want) {
			t.Errorf("publisher %d: stored %q, sent %q", p, got[p], want)
		}
	}
	if len(failed) != reported {
		t.Errorf("reported %v", failed)
	}
}

func TestGiveUp(t *testing.T) {
	f := newFake()
	defer f.Close()
	f.next = func() fault { return refuse }
	c := open(t, f.URL, client.Options{GiveUp: 20 * time.Millisecond})
	if err := c.Publish(t.Context(), client.Event{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	err := c.Flush(within(t))
	if !errors.Is(err, client.ErrGaveUp) || !errors.Is(err, client.ErrFailed) {
		t.Errorf("Flush: %v", err)
	}
	f.mu.Lock()
	requests := f.requests
	f.mu.Unlock()
	if requests < 2 {
		t.Errorf("it gave up after %d attempts", requests)
	}
	if err := c.Close(within(t)); err != nil {
		t.Errorf("Close told the failure again: %v", err)
	}
	if err := c.Publish(t.Context(), client.Event{Topic: "t"}); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Publish after Close: %v", err)
	}
}

// TestBounds: a full queue holds Publish up, and Close lets go of it and says what was not sent.
func TestBounds(t *testing.T) {
	f := newFake()
	defer f.Close()
	f.next = func() fault { return refuse }
	c := open(t, f.URL, client.Options{QueueEvents: 3})
	for range 3 {
		if err := c.Publish(t.Context(), client.Event{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Publish(ctx, client.Event{Topic: "t"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish to a full queue: %v", err)
	}
	blocked := make(chan error, 1)
	go func() { blocked <- c.Publish(context.Background(), client.Event{Topic: "t"}) }()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); !errors.Is(err, client.ErrUnsent) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	if err := <-blocked; !errors.Is(err, client.ErrClosed) {
		t.Errorf("the Publish that waited: %v", err)
	}
}

func TestInvalid(t *testing.T) {
	c := open(t, "http://127.0.0.1:1", client.Options{BatchBytes: 1000})
	for name, e := range map[string]client.Event{
		"no topic":      {},
		"long id":       {Topic: "t", ID: string(make([]byte, 256))},
		"not UTF-8":     {Topic: "t\xff"},
		"not JSON":      {Topic: "t", Payload: json.RawMessage(`{`)},
		"empty payload": {Topic: "t", Payload: json.RawMessage(``)},
		"large":         {Topic: "t", Payload: json.RawMessage(`"` + string(make([]byte, 1000)) + `"`)},
		"far future":    {Topic: "t", Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if err := c.Publish(t.Context(), e); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.Close(within(t)); err != nil {
		t.Error(err)
	}
	for _, url := range []string{"", "127.0.0.1:8080", "ftp://x"} {
		if _, err := client.New(url, client.Options{}); err == nil {
			t.Errorf("New took %q", url)
		}
	}
}

// TestPolicy: for ever unless GiveUp says otherwise, and with the pauses that the page says.
func TestPolicy(t *testing.T) {
	p := client.Policy(client.Options{})
	if err := p.Validate(); err != nil || p.BaseDelay != 100*time.Millisecond || p.MaxDelay != 10*time.Second || p.MaxRetryAfter != time.Minute {
		t.Errorf("%+v, %v", p, err)
	}
	if p.MaxElapsed < 100*365*24*time.Hour || p.MaxAttempts < 1<<30 {
		t.Errorf("it gives up: %+v", p)
	}
	p = client.Policy(client.Options{GiveUp: time.Second, FirstPause: time.Minute, LongestRetryAfter: time.Hour})
	if p.MaxElapsed != time.Second || p.BaseDelay != time.Minute || p.MaxDelay != time.Minute || p.MaxRetryAfter != time.Hour {
		t.Errorf("%+v", p)
	}
}

// TestRetryAfter: the next attempt comes no earlier than the server asks for.
func TestRetryAfter(t *testing.T) {
	var times []time.Time
	c := open(t, "http://aggregator", client.Options{Transport: transport(func(*http.Request) *http.Response {
		times = append(times, time.Now())
		if len(times) == 1 {
			return respond(503, `{"code":"queue_full"}`, "Retry-After", "1")
		}
		return respond(202, `{"ack":"journal","accepted":1,"rejected":0}`)
	})})
	if err := c.Publish(t.Context(), client.Event{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	if len(times) != 2 || times[1].Sub(times[0]) < time.Second {
		t.Errorf("attempts at %v", times)
	}
}
