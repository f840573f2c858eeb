package api

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestTimeouts: a request whose headers or body do not arrive is told so, and then, or if no next
// one comes, its connection is closed; while bytes trickle in the time goes on.
func TestTimeouts(t *testing.T) {
	const (
		short = 200 * time.Millisecond
		long  = time.Minute // so that no other one ends it
		// patience is for a busy machine.
		patience = 20 * time.Second
	)
	const head = "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for name, tc := range map[string]struct {
		header, body, idle time.Duration
		sent, trickled     string
		statuses           []int
	}{
		"nothing":              {short, long, long, "", "", []int{408}},
		"headers":              {short, long, long, "POST /publish HTTP/1.1\r\nHost:", "", []int{408}},
		"headers that trickle": {short, long, long, "POST /publish HTTP/1.1\r\nHost:", "x", []int{408}},
		"a body":               {long, short, long, head + "Content-Length: 100000\r\n\r\n[", "", []int{408}},
		"a body that trickles": {long, short, long, head + "Content-Length: 100000\r\n\r\n[", " ", []int{408}},
		"a chunked body":       {long, short, long, head + "Transfer-Encoding: chunked\r\n\r\n5\r\n[", "", []int{408}},
		"a second request":     {long, long, short, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "", []int{200}},
		"its headers":          {short, long, long, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez", "", []int{200, 408}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			a := New(Config{MaxBodyBytes: 1 << 20}, nil, nil, slog.New(slog.DiscardHandler))
			a.http.ReadTimeout, a.bodyTimeout, a.http.IdleTimeout = tc.header, tc.body, tc.idle
			served := make(chan error, 1)
			go func() { served <- a.Serve(ln, nil) }()
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, tc.sent)
			if tc.trickled != "" {
				go func() {
					for err := error(nil); err == nil; _, err = io.WriteString(conn, tc.trickled) {
						time.Sleep(short / 10)
					}
				}()
			}
			r := bufio.NewReader(conn)
			for _, status := range tc.statuses {
				answer, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(answer.Body)
				if err != nil || answer.StatusCode != status {
					t.Fatalf("%s %s %v, want %d", answer.Status, body, err, status)
				}
				var problem struct{ Code string }
				if status == 408 && (json.Unmarshal(body, &problem) != nil || problem.Code != "timeout") {
					t.Errorf("%s, want code timeout", body)
				}
			}
			// It is closed: with a reset, where something came that was not read.
			if _, err := r.ReadByte(); err == nil || isTimeout(err) {
				t.Errorf("after the last answer: %v, want the end", err)
			}
			if err := a.Shutdown(patience); err != nil {
				t.Error(err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

func isTimeout(err error) bool {
	network, ok := err.(net.Error)
	return ok && network.Timeout()
}

// TestAnswersAfterAPause: what fasthttp writes of itself arrives though the time in which the
// connection's answer before had to leave is long over.
func TestAnswersAfterAPause(t *testing.T) {
	const (
		short = 100 * time.Millisecond
		head  = "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	)
	for name, tc := range map[string]struct {
		request  string
		statuses []int
	}{
		"no request":       {"GET\r\n\r\n", []int{400}},
		"a body too late":  {head + "Content-Length: 100\r\n\r\n", []int{408}},
		"a body asked for": {head + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n[", []int{100, 400}},
		"a body too large": {head + "Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n", []int{413}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			a := New(Config{MaxBodyBytes: 1 << 20}, nil, nil, slog.New(slog.DiscardHandler))
			a.bodyTimeout, a.http.WriteTimeout = 3*short, short
			go a.Serve(ln, nil)
			defer a.Shutdown(time.Second)
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(conn)
			answers := func(request string, statuses ...int) {
				t.Helper()
				io.WriteString(conn, request)
				for _, status := range statuses {
					answer, err := http.ReadResponse(r, nil)
					if err != nil || answer.StatusCode != status {
						t.Fatalf("%v, %v, want %d", answer, err, status)
					}
					io.Copy(io.Discard, answer.Body)
				}
			}
			answers("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 200)
			time.Sleep(3 * short)
			answers(tc.request, tc.statuses...)
		})
	}
}
