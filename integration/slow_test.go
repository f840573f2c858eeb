package integration_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSlowClientsBesideAPublisher: twice as many clients as connections are served, silent, slow in
// the headers or slow in bodies that announce the largest size, do not lock a publisher out.
func TestSlowClientsBesideAPublisher(t *testing.T) {
	const (
		clients  = 1000
		requests = 300
		// mostRatio bounds the publisher's p99 beside them over its p99 without; the machine runs other
		// tests meanwhile.
		mostRatio = 20
		// refusedFor is more than the second for which a waiting connection keeps its place, and the
		// Retry-After.
		refusedFor = 5 * time.Second
		// trickle is how often a slow client sends a byte.
		trickle = 200 * time.Millisecond
	)
	trickles := map[string]bool{"slow headers": true, "slow bodies": true, "chunked bodies": true}
	for name, sent := range map[string]string{
		"silent":         "",
		"slow headers":   "POST /publish HTTP/1.1\r\nHost:",
		"slow bodies":    "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Content-Length: 16000000\r\n\r\n" + strings.Repeat(" ", 10_000),
		"chunked bodies": "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Transfer-Encoding: chunked\r\n\r\n10000\r\n" + strings.Repeat(" ", 10_000),
		"idle":           get("/livez"),
	} {
		t.Run(name, func(t *testing.T) {
			a := start(t, dataFolder(t))
			published := 0
			alone := a.p99(t, "alone", requests, 0, &published)
			var conns []net.Conn
			for range clients {
				conn, err := net.Dial("tcp", a.Addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				io.WriteString(conn, sent)
				conns = append(conns, conn)
			}
			if trickles[name] {
				stop, done := make(chan struct{}), make(chan struct{})
				defer func() { close(stop); <-done }()
				go func() {
					defer close(done)
					for {
						for _, conn := range conns {
							io.WriteString(conn, " ") // fails where it was cut off
						}
						select {
						case <-stop:
							return
						case <-time.After(trickle):
						}
					}
				}()
			}
			beside := a.p99(t, "beside", requests, refusedFor, &published)
			a.client.CloseIdleConnections()
			again := a.p99(t, "again", requests, refusedFor, &published) // on a new connection
			t.Logf("p99 alone %v, beside %d clients %v, on a new connection %v", alone, clients, beside, again)
			if most := mostRatio * max(alone, time.Millisecond); beside > most || again > most {
				t.Errorf("want %v at most", most)
			}
			if c := a.drained(t); c.Unique != published {
				t.Errorf("%d stored, want %d", c.Unique, published)
			}
			a.stop(t)
		})
	}
}

// TestConnectionBeyondTheBound: while no connection has waited for long, a newcomer is told to come
// again.
func TestConnectionBeyondTheBound(t *testing.T) {
	a := start(t, dataFolder(t))
	for range 520 { // of 512 that are served
		conn, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	// It is told before it asks, and a client of net/http takes that for a fault.
	conn, err := net.Dial("tcp", a.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" || !strings.Contains(string(body), `"code":"busy"`) {
		t.Errorf("%s %v %s, want 503 with Retry-After and code busy", answer.Status, answer.Header, body)
	}
}

// p99 publishes n events one after another and returns the 99th percentile of the times from the
// first attempt to the answer. For the time refusedFor at most it may be told 503 with Retry-After,
// or cut off, and publishes again.
func (a *aggregator) p99(t *testing.T, id string, n int, refusedFor time.Duration, published *int) time.Duration {
	t.Helper()
	var times []time.Duration
	begin := time.Now()
	for end := begin.Add(refusedFor); len(times) < n; {
		answer, err := a.client.Post(a.URL+"/publish", "application/json", strings.NewReader(oneEvent(fmt.Sprint(id, len(times)))))
		refused := err != nil
		if err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			refused = answer.StatusCode == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != ""
			if !refused && answer.StatusCode != http.StatusAccepted {
				t.Fatal(answer.Status)
			}
		}
		if !refused {
			times = append(times, time.Since(begin))
			begin = time.Now()
			continue
		}
		if time.Now().After(end) {
			t.Fatalf("refused for %v: %v", refusedFor, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	*published += n
	slices.Sort(times)
	return times[n*99/100]
}
