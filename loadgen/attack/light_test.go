package attack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sekali/loadgen/ledger"
)

// TestLightLedgerTellsWhatHappened: with the light client too, the ledger and the server's own
// account agree on every attempt.
func TestLightLedgerTellsWhatHappened(t *testing.T) {
	turns := []reaction{accept, refuse, breakIt, failing, accept, lose, bug, accept}
	f := newFake(t, func(request uint64, n int) reaction { return turns[(request*3+uint64(n))%uint64(len(turns))] })
	const requests = 120
	summary, told, err := run(t, t.Context(), Config{
		URL: f.URL, Light: true, Phases: []Phase{{Name: "mixed", Clients: 16, Requests: requests, Measured: true}},
		Retry: testRetry(), Timeout: 400 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != requests || len(f.seen) != requests {
		t.Fatalf("%d requests in the ledger, %d at the server, want %d", len(told), len(f.seen), requests)
	}
	causes := map[string]int{}
	for request, attempts := range told {
		seen := f.seen[request]
		if len(seen) != len(attempts) {
			t.Fatalf("request %d: %v at the server, %+v in the ledger", request, seen, attempts)
		}
		for i, a := range attempts {
			causes[a.Cause]++
			if got := a.Cause; got != string(seen[i]) && !(got == "" && seen[i] == accept) {
				t.Errorf("request %d attempt %d: cause %q, the server did %q", request, a.Attempt, got, seen[i])
			}
		}
	}
	for _, cause := range []reaction{"", refuse, breakIt, failing, lose, bug} {
		if causes[string(cause)] == 0 {
			t.Errorf("the test shows nothing of %q: %v", cause, causes)
		}
	}
	if p := summary.Phases[0]; p.Sent != requests || p.Acknowledged == 0 || summary.Connections.Opened < 16 {
		t.Errorf("summary %+v", summary)
	}
}

// TestLightClosedLoop keeps to its clients, a connection each, and to its time.
func TestLightClosedLoop(t *testing.T) {
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
	summary, told, err := run(t, t.Context(), Config{URL: f.URL, Light: true, Phases: []Phase{
		{Name: "by requests", Clients: 3, Requests: 100}, {Name: "by time", Clients: 2, Duration: 100 * time.Millisecond}}})
	if err != nil {
		t.Fatal(err)
	}
	p := summary.Phases
	if most.Load() != 3 || summary.Connections.Opened != 3 || len(summary.Connections.First) != 3 {
		t.Errorf("%d requests at once over %d connections, want 3 each", most.Load(), summary.Connections.Opened)
	}
	if p[0].Sent != 100 || p[0].Acknowledged != 100 || p[1].Sent < 10 || p[1].Acknowledged != p[1].Sent || p[1].FirstRequest != 100 || len(told) != int(100+p[1].Sent) {
		t.Errorf("%+v, %d requests told", p, len(told))
	}
}

// TestLightIsStopped: who is stopped waits for no answer.
func TestLightIsStopped(t *testing.T) {
	f := newFake(t, func(request uint64, n int) reaction {
		if request >= 3 {
			return lose
		}
		return accept
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(200*time.Millisecond, cancel)
	began := time.Now()
	_, told, err := run(t, ctx, Config{URL: f.URL, Light: true, Timeout: time.Minute, Phases: []Phase{{Name: "cut", Clients: 2, Requests: 10}}})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second || len(told) != 10 {
		t.Errorf("%v, %d requests told", err, len(told))
	}
	causes := map[string]int{}
	for _, attempts := range told {
		causes[attempts[0].Cause]++
	}
	if causes[""] != 3 || causes[ledger.CauseCanceled] != 2 || causes[ledger.CauseNotSent] != 5 {
		t.Errorf("causes %v", causes)
	}
}

// TestLightRequest is what net/http's would be, but for the headers that it does not need.
func TestLightRequest(t *testing.T) {
	var got atomic.Pointer[http.Request]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Clone(context.Background()))
		fmt.Fprintf(w, `{"accepted":%d,"rejected":0}`, testEvents)
	}))
	defer server.Close()
	_, _, err := run(t, t.Context(), Config{URL: server.URL, AckLevel: "store", Token: "secret", Encoding: EncodingNDJSON, Light: true,
		FirstRequest: 42, Phases: []Phase{{Name: "one", Clients: 1, Requests: 1}}})
	if err != nil || got.Load() == nil {
		t.Fatal(err)
	}
	r := got.Load()
	if r.Method != "POST" || r.URL.String() != "/publish?ack=store" || r.ContentLength <= 0 || "http://"+r.Host != server.URL || r.Header.Get("Authorization") != "Bearer secret" ||
		r.Header.Get("Content-Type") != "application/x-ndjson" || r.Header.Get("Sekali-Request") != "42" {
		t.Errorf("%s %s, %d bytes, %v", r.Method, r.URL, r.ContentLength, r.Header)
	}
}

// TestLightAnswers: an answer that is not whole is an error, and no connection is used again after
// one that ends it.
func TestLightAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok":                      "202 ok, kept",
		"HTTP/1.1 503 Busy\r\nretry-after: 7\r\nContent-Length: 0\r\n\r\n":          "503 , kept, retry after 7",
		"HTTP/1.0 202 Accepted\r\nConnection: close\r\ncontent-length: 2\r\n\r\nok": "202 ok",
		"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nok":                      "unexpected EOF",
		"HTTP/1.1 202 Accepted\r\nContent-Le":                                       "unexpected EOF",
		"":                                                                          "EOF",
		"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n": errNoLength.Error(),
		"HTTP/1.1 202 Accepted\r\nContent-Length: -1\r\n\r\n":                             errNoLength.Error(),
		"HTTP/1.1 202 Accepted\r\nContent-Length: many\r\n\r\n":                           `strconv.ParseInt: parsing "many": invalid syntax`,
		"SSH-2.0-OpenSSH\r\n":                        `light client: "SSH-2.0-OpenSSH" is no status line`,
		"HTTP/1.1 202 Accepted\r\nno header\r\n\r\n": `light client: "no header" is no header`,
		"HTTP/1.1 202 " + strings.Repeat("x", 2*lightBuffer) + "\r\nContent-Length: 0\r\n\r\n": "bufio: buffer full",
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				return
			}
			io.WriteString(conn, answer)
			if !strings.Contains(want, "kept") {
				return
			}
			io.Copy(io.Discard, conn)
		}()
		l := newLight(&dialer{open: new(net.Dialer).DialContext})
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+listener.Addr().String()+"/publish", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if response, err := l.RoundTrip(request); err != nil {
			got = err.Error()
		} else {
			body, _ := io.ReadAll(response.Body)
			got = fmt.Sprintf("%d %s", response.StatusCode, body)
			if len(l.idle) == 1 {
				got += ", kept"
			}
			if after := response.Header.Get("Retry-After"); after != "" {
				got += ", retry after " + after
			}
		}
		if got != want {
			t.Errorf("%q: %s, want %s", answer, got, want)
		}
		l.stop()
		if len(l.open) > 1 {
			t.Errorf("%q: %d connections", answer, len(l.open))
		}
		listener.Close()
	}
}
