package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
		"the end of a chunk":   {long, short, long, head + "Transfer-Encoding: chunked\r\n\r\n1\r\n[", "", []int{408}},
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

// TestLateSenders: a sender whose request stops anywhere behind its first line is answered 503, in
// its own protocol's form: many drop what they sent at any other status. It is counted as its
// endpoint's. A request of which not even that is known is 408.
func TestLateSenders(t *testing.T) {
	const short = 200 * time.Millisecond
	parts := map[string]string{
		"in its headers":      "Content-Le",
		"before its body":     "Content-Length: 100000\r\n\r\n",
		"in its first bytes":  "Content-Length: 100000\r\n\r\n{",
		"later":               "Content-Length: 100000\r\n\r\n{" + strings.Repeat(" ", 20_000),
		"in its first chunk":  "Transfer-Encoding: chunked\r\n\r\n5\r\n{",
		"in a chunk's length": "Transfer-Encoding: chunked\r\n\r\n5",
		"behind a chunk":      "Transfer-Encoding: chunked\r\n\r\n1\r\n{",
	}
	for _, tc := range []struct{ path, label, form string }{
		{"/v1/logs", "/v1/logs", `"code":14`},
		{"/_bulk", "/_bulk", `"status":503`},
		{"/elasticsearch/app/_bulk?filter_path=errors", "/_bulk", `"status":503`},
		{"/ingest/alerts?id=/id", "/ingest/{topic}", `"code":"timeout"`},
		{"/cloudevents", "/cloudevents", `"code":"timeout"`},
		{"/services/collector/event", "/services/collector/event", `"code":9`},
		{"/loki/api/v1/push", "/loki/api/v1/push", `"code":"timeout"`},
		{"/upload", "/upload", `"code":"timeout"`},
	} {
		t.Run(tc.path, func(t *testing.T) {
			t.Parallel()
			a, address := serveLate(t, short)
			for name, sent := range parts {
				status, header, body := lateAnswer(t, address, "POST "+tc.path+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+sent)
				if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(body, tc.form) {
					t.Errorf("stopped %s: %d %v %s, want 503 with %s", name, status, header, body, tc.form)
				}
			}
			if n := countOf(t, a, tc.label, "503"); n != len(parts) {
				t.Errorf("%d answers are counted at %s, want %d", n, tc.label, len(parts))
			}
		})
	}
	t.Run("nothing is known", func(t *testing.T) {
		t.Parallel()
		a, address := serveLate(t, short)
		for _, sent := range []string{"", "POST /v1/lo", "POST /" + strings.Repeat("x", 2*lineKept) + " HTTP/1.1\r\n"} {
			if status, _, body := lateAnswer(t, address, sent); status != 408 || !strings.Contains(body, `"code":"timeout"`) {
				t.Errorf("%d %s, want 408", status, body)
			}
		}
		if n := countOf(t, a, "none", "408"); n != 3 {
			t.Errorf("%d answers are counted at none, want 3", n)
		}
	})
}

// serveLate serves, with this time for headers and for a body, until the test ends.
func serveLate(t *testing.T, short time.Duration) (*Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{MaxBodyBytes: 1 << 20}, nil, nil, slog.New(slog.DiscardHandler))
	a.http.ReadTimeout, a.bodyTimeout = short, short
	served := make(chan error, 1)
	go func() { served <- a.Serve(ln, nil) }()
	t.Cleanup(func() {
		if err := errors.Join(a.Shutdown(20*time.Second), <-served); err != nil {
			t.Error(err)
		}
	})
	return a, ln.Addr().String()
}

// lateAnswer is what a client is told that sends this and no more.
func lateAnswer(t *testing.T, address, sent string) (status int, header http.Header, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", sent, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}

// countOf is how many answers of an endpoint have a status.
func countOf(t *testing.T, a *Server, endpoint, status string) int {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(a.metrics.durations)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatal(len(families), err)
	}
	for _, m := range families[0].GetMetric() {
		if labels := m.GetLabel(); labels[0].GetValue() == status && labels[1].GetValue() == endpoint { // in the order of their names
			return int(m.GetHistogram().GetSampleCount())
		}
	}
	return 0
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
