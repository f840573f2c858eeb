package attack

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestFirstAnswers has a server that is slow in the first answer of each connection, and one that
// is not.
func TestFirstAnswers(t *testing.T) {
	const slow = 60 * time.Millisecond
	for _, lies := range []bool{false, true} {
		known := map[string]bool{}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lies && !known[r.RemoteAddr] {
				time.Sleep(slow)
			}
			known[r.RemoteAddr] = true
		}))
		d := &dialer{open: new(net.Dialer).DialContext}
		for range 3 {
			transport := &http.Transport{Proxy: nil, DialContext: d.dial}
			for range 5 {
				request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL, strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				answer, err := transport.RoundTrip(request)
				if err != nil {
					t.Fatal(err)
				}
				answer.Body.Close()
			}
			transport.CloseIdleConnections()
		}
		server.Close()
		seen := d.connections()
		if seen.Opened != 3 || len(seen.First) != 3 || (seen.Median() >= slow) != lies {
			t.Errorf("slow %v: %+v", lies, seen)
		}
	}
}

// TestFirstAnswersBesideOthers has a server that stands still for all, which is why connections are
// opened; and one that is slow to a new connection while others are answered.
func TestFirstAnswersBesideOthers(t *testing.T) {
	wait := func(begun, done time.Duration) Wait { return Wait{begun * time.Millisecond, done * time.Millisecond} }
	for name, test := range map[string]struct {
		seen Connections
		want time.Duration
	}{
		"all wait":               {Connections{First: []Wait{wait(0, 3), wait(110, 300), wait(150, 301), wait(200, 302)}, Slow: []Wait{wait(100, 300)}}, 0},
		"new ones alone":         {Connections{First: []Wait{wait(0, 250), wait(20, 270), wait(40, 290)}}, 250 * time.Millisecond},
		"others waited before":   {Connections{First: []Wait{wait(300, 550)}, Slow: []Wait{wait(0, 290)}}, 250 * time.Millisecond},
		"others waited for less": {Connections{First: []Wait{wait(300, 550)}, Slow: []Wait{wait(310, 360)}}, 200 * time.Millisecond},
		"none":                   {Connections{}, 0},
	} {
		if got := test.seen.Median(); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// TestSlowAnswersAreSeen has a server that answers later requests of a connection slowly.
func TestSlowAnswersAreSeen(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if requests++; requests == 3 {
			time.Sleep(2 * slowAnswer)
		}
	}))
	defer server.Close()
	d := &dialer{open: new(net.Dialer).DialContext}
	client := http.Client{Transport: &http.Transport{Proxy: nil, DialContext: d.dial}}
	for range 5 {
		answer, err := client.Post(server.URL, "text/plain", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	client.CloseIdleConnections()
	seen := d.connections()
	if seen.Opened != 1 || len(seen.First) != 1 || len(seen.Slow) < 1 || seen.Slow[0].took() < 2*slowAnswer {
		t.Errorf("%+v", seen)
	}
}

// TestDial: with either client, connections are opened as the config says.
func TestDial(t *testing.T) {
	for _, light := range []bool{false, true} {
		f := newFake(t, func(uint64, int) reaction { return accept })
		var dialled atomic.Uint64
		summary, _, err := run(t, t.Context(), Config{URL: f.URL, Light: light, Phases: []Phase{{Name: "only", Clients: 3, Requests: 30, Measured: true}},
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				dialled.Add(1)
				return new(net.Dialer).DialContext(ctx, network, address)
			}})
		if opened := summary.Connections.Opened; err != nil || opened == 0 || opened > dialled.Load() || summary.Phases[0].Acknowledged != 30 {
			t.Errorf("light %v: %d connections of %+v, %v", light, dialled.Load(), summary, err)
		}
	}
}
