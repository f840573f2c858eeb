package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sekali/client"
)

// streamer serves /events/stream of the events with the seqs 1 to last that are odd: even ones are
// another topic's. It breaks off at random.
type streamer struct {
	last   int
	opened atomic.Int32

	mu     sync.Mutex
	random *rand.Rand
}

// one of n is true at random.
func (s *streamer) oneOf(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n) == 0
}

func (s *streamer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.opened.Add(1)
	if s.oneOf(4) {
		http.Error(w, "", http.StatusServiceUnavailable)
		return
	}
	after, err := strconv.Atoi(r.URL.Query().Get("after"))
	if err != nil || r.URL.Path != "/events/stream" || r.URL.Query().Get("topic") != "odd" {
		http.Error(w, `{"code":"invalid_query"}`, http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "retry: 1000\nid: %d\n\n", after)
	for seq := after + 1; seq <= s.last; seq++ {
		switch {
		case seq%2 == 0:
			fmt.Fprintf(w, "id: %d\n\n", seq)
		default:
			fmt.Fprintf(w, "id: %d\ndata: {\"seq\":%[1]d,\"topic\":\"odd\",\"event_id\":\"e%[1]d\",", seq)
			if s.oneOf(3) {
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler) // in mid-event
			}
			fmt.Fprintf(w, "\"timestamp\":\"2026-11-23T23:59:60Z\",\"received_at\":\"2026-11-23T06:41:10Z\"}\n\n")
			if s.oneOf(8) {
				panic(http.ErrAbortHandler)
			}
		}
	}
	w.(http.Flusher).Flush()
	if s.oneOf(2) {
		<-r.Context().Done() // silence
	}
}

// TestSubscribe: however often the stream breaks, each event comes once, in order.
func TestSubscribe(t *testing.T) {
	opened := 0
	rapid.Check(t, func(t *rapid.T) {
		s := &streamer{random: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), last: rapid.IntRange(1, 20).Draw(t, "last")}
		server := httptest.NewServer(s)
		defer server.Close()
		c := open(t, server.URL, client.Options{})
		client.HastenSilence(c, 20*time.Millisecond)
		defer c.Close(context.Background())
		first := rapid.IntRange(0, s.last-1).Draw(t, "after")
		want := first + 1 + first%2
		if want > s.last {
			return // the last is not of the topic: nothing would come
		}
		for e, err := range c.Subscribe(within(t), "odd", uint64(first)) {
			if err != nil {
				t.Fatal(err)
			}
			if int(e.Seq) != want || e.ID != fmt.Sprint("e", want) || e.Timestamp != "2026-11-23T23:59:60Z" || e.ReceivedAt.IsZero() {
				t.Fatalf("%+v came, want %d", e, want)
			}
			if want += 2; want > s.last {
				break
			}
		}
		if want <= s.last {
			t.Fatalf("it ended before %d", want)
		}
		server.CloseClientConnections()
		opened += int(s.opened.Load())
	})
	if opened < 150 {
		t.Errorf("only %d connections: nothing broke", opened)
	}
}

// TestSubscribeSilence: a stream that says nothing is opened anew.
func TestSubscribeSilence(t *testing.T) {
	var opened atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if opened.Add(1) < 3 {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		http.Error(w, `{"code":"cursor_beyond_end"}`, http.StatusConflict)
	}))
	defer server.Close()
	c := open(t, server.URL, client.Options{})
	defer c.Close(context.Background())
	client.HastenSilence(c, 20*time.Millisecond)
	for e, err := range c.Subscribe(within(t), "", 7) {
		var refused *client.RejectedError
		if !errors.As(err, &refused) || refused.Status != http.StatusConflict || refused.Code != "cursor_beyond_end" {
			t.Errorf("%+v, %v", e, err)
		}
	}
	if opened.Load() != 3 {
		t.Errorf("opened %d times", opened.Load())
	}
}

// TestSubscribeEnds: with its context, and when it gives up.
func TestSubscribeEnds(t *testing.T) {
	c := open(t, "http://aggregator", client.Options{GiveUp: 20 * time.Millisecond, Transport: transport(func(*http.Request) *http.Response {
		return respond(503, "")
	})})
	defer c.Close(context.Background())
	for _, err := range c.Subscribe(within(t), "", 0) {
		if !errors.Is(err, client.ErrGaveUp) {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := false
	for _, err := range c.Subscribe(ctx, "", 0) {
		if ended = errors.Is(err, context.Canceled); !ended {
			t.Error(err)
		}
	}
	if !ended {
		t.Error("it ended without an error")
	}
}

// TestSubscribeRaw: each event comes byte for byte, and the stream is opened anew at its cursor.
func TestSubscribeRaw(t *testing.T) {
	var asked []string // one connection at a time
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked = append(asked, r.URL.Query().Get("after")); len(asked) {
		case 1: // the second event is a repeat, the third is cut
			io.WriteString(w, "id: 1-5\n\nid: 1-6\ndata: {\"seq\":6, \"payload\":\"<&>\"}\n\nid: 1-6\ndata: {}\n\nid: 1-7\ndata: {\"seq\"")
		case 2:
			io.WriteString(w, "id: 1-8\n\n")
		default:
			http.Error(w, `{"code":"epoch_changed"}`, http.StatusConflict)
		}
	}))
	defer server.Close()
	c := open(t, server.URL, client.Options{})
	defer c.Close(context.Background())
	var got []string
	for step, err := range c.SubscribeRaw(within(t), "", "5") {
		switch {
		case err != nil:
			got = append(got, err.Error())
		case step.Broken != nil:
			got = append(got, "broken "+step.Cursor)
		default:
			got = append(got, fmt.Sprintf("%s %s %t", step.Cursor, step.Event, step.More))
		}
	}
	want := []string{
		"1-5  true", `1-6 {"seq":6, "payload":"<&>"} true`, "broken 1-6", "1-8  false", "broken 1-8",
		"client: rejected with 409 epoch_changed: ",
	}
	if !slices.Equal(got, want) || !slices.Equal(asked, []string{"5", "1-6", "1-8"}) {
		t.Errorf("asked after %q, %q came", asked, got)
	}
	for _, err := range c.SubscribeRaw(within(t), "", "1-x") {
		if err == nil || !strings.Contains(err.Error(), `"1-x" is no cursor`) {
			t.Error(err)
		}
	}
	if len(asked) != 3 {
		t.Errorf("asked after %q", asked)
	}
}

// TestSubscribeUnreadable: what would come again the same ends a subscription.
func TestSubscribeUnreadable(t *testing.T) {
	for want, event := range map[string]string{"an event of the stream: invalid character": "no JSON", "an event is too long": strings.Repeat("x", 1<<20)} {
		opened := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			opened++
			fmt.Fprintf(w, "id: 1\ndata: %s\n\n", event)
		}))
		c := open(t, server.URL, client.Options{})
		client.BoundLines(c, 1<<19)
		for e, err := range c.Subscribe(within(t), "", 0) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%.40q, %v; want %q", e.Payload, err, want)
			}
		}
		c.Close(context.Background())
		server.Close()
		if opened != 1 {
			t.Errorf("%s: opened %d times", want, opened)
		}
	}
}
