package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sekali/loadgen/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ack10 = `{"ack":"journal","accepted":10,"rejected":0}`

// answer writes one answer of the aggregator.
func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// reset breaks the connection with a RST once the request is read.
func reset(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	c, _, _ := http.NewResponseController(w).Hijack()
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// hangUp closes the connection without an answer.
func hangUp(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	c, _, _ := http.NewResponseController(w).Hijack()
	c.Close()
}

// cut promises more than it sends.
func cut(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	c, _, _ := http.NewResponseController(w).Hijack()
	io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 44\r\n\r\n{\"ack\":")
	c.Close()
}

// stall answers long after anyone waits.
func stall(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// serve answers the n-th request with the n-th handler, and then with the last.
func serve(t *testing.T, handlers ...http.HandlerFunc) (*url.URL, *atomic.Int64) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		handlers[min(int(n), len(handlers))-1](w, r)
	}))
	t.Cleanup(server.Close)
	target, err := url.Parse(server.URL + "/publish")
	if err != nil {
		t.Fatal(err)
	}
	return target, &requests
}

func quickPolicy(attempts int) Policy {
	return Policy{MaxAttempts: attempts, MaxElapsed: 10 * time.Second, BaseDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond, MaxRetryAfter: 10 * time.Millisecond}
}

func newSender(t *testing.T, p Policy, timeout time.Duration) *Sender {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &Sender{Transport: transport, Policy: p, Timeout: timeout, Start: time.Now()}
}

func TestEveryAttemptIsToldAsItWas(t *testing.T) {
	problem := func(code string) string { return `{"type":"about:blank","status":503,"code":"` + code + `"}` }
	for name, c := range map[string]struct {
		handlers []http.HandlerFunc
		attempts string // status/cause/outcome of each
		outcome  ledger.Outcome
		gaveUp   bool
	}{
		"acknowledged":           {[]http.HandlerFunc{answer(202, ack10)}, "202//acknowledged", ledger.Acknowledged, false},
		"stored":                 {[]http.HandlerFunc{answer(200, `{"ack":"store","accepted":10,"rejected":0,"stored":7,"duplicates":3}`)}, "200//acknowledged", ledger.Acknowledged, false},
		"refused, then taken":    {[]http.HandlerFunc{answer(503, problem("queue_full"), "Retry-After", "1"), answer(202, ack10)}, "503/queue_full/refused 202//acknowledged", ledger.Acknowledged, false},
		"always refused":         {[]http.HandlerFunc{answer(503, problem("queue_full"))}, "503/queue_full/refused 503/queue_full/refused 503/queue_full/refused", ledger.Refused, true},
		"disk failing":           {[]http.HandlerFunc{answer(503, problem("disk_failing")), answer(503, problem("queue_full"))}, "503/disk_failing/unknown 503/queue_full/refused 503/queue_full/refused", ledger.Unknown, true},
		"reset, then taken":      {[]http.HandlerFunc{reset, answer(202, ack10)}, "0/reset/unknown 202//acknowledged", ledger.Acknowledged, false},
		"hung up":                {[]http.HandlerFunc{hangUp, answer(202, ack10)}, "0/eof/unknown 202//acknowledged", ledger.Acknowledged, false},
		"answer cut":             {[]http.HandlerFunc{cut, answer(202, ack10)}, "0/eof/unknown 202//acknowledged", ledger.Acknowledged, false},
		"timeout":                {[]http.HandlerFunc{stall, answer(202, ack10)}, "0/timeout/unknown 202//acknowledged", ledger.Acknowledged, false},
		"gateway":                {[]http.HandlerFunc{answer(502, "bad gateway"), answer(504, "<html>"), answer(202, ack10)}, "502//unknown 504//unknown 202//acknowledged", ledger.Acknowledged, false},
		"too many requests":      {[]http.HandlerFunc{answer(429, ""), answer(202, ack10)}, "429//refused 202//acknowledged", ledger.Acknowledged, false},
		"malformed":              {[]http.HandlerFunc{answer(400, problem("malformed"))}, "400/malformed/refused", ledger.Refused, false},
		"all rejected":           {[]http.HandlerFunc{answer(422, `{"ack":"journal","accepted":0,"rejected":10}`)}, "422//refused", ledger.Refused, false},
		"a bug":                  {[]http.HandlerFunc{answer(500, problem("internal"))}, "500/internal/unknown", ledger.Unknown, false},
		"redirected":             {[]http.HandlerFunc{answer(307, "", "Location", "/elsewhere")}, "307//unknown", ledger.Unknown, false},
		"not an acknowledgement": {[]http.HandlerFunc{answer(200, "<html>welcome</html>")}, "200/bad_answer/unknown", ledger.Unknown, false},
		"of other events":        {[]http.HandlerFunc{answer(202, `{"accepted":11,"rejected":0}`)}, "202/bad_answer/unknown", ledger.Unknown, false},
		"without a number":       {[]http.HandlerFunc{answer(202, `{"rejected":10}`)}, "202/bad_answer/unknown", ledger.Unknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			target, requests := serve(t, c.handlers...)
			s := newSender(t, quickPolicy(3), 300*time.Millisecond)
			var told []string
			var last ledger.Attempt
			result := s.Send(t.Context(), Request{Number: 7, PlannedNS: 42, URL: target, Header: http.Header{}, Body: bytes.Repeat([]byte("x"), 1000), Events: 10},
				func(a ledger.Attempt) {
					told = append(told, fmt.Sprintf("%d/%s/%v", a.Status, a.Cause, a.Outcome()))
					if a.Request != 7 || a.Attempt != len(told) || a.PlannedNS != 42 || a.Bytes != 1000 {
						t.Errorf("attempt %+v", a)
					}
					if a.SentNS < last.DoneNS || a.DoneNS < a.SentNS {
						t.Errorf("sent at %d, done at %d, after one done at %d", a.SentNS, a.DoneNS, last.DoneNS)
					}
					last = a
				})
			if got := strings.Join(told, " "); got != c.attempts {
				t.Errorf("attempts %s, want %s", got, c.attempts)
			}
			if result.Outcome != c.outcome || result.GaveUp != c.gaveUp || result.Last != last {
				t.Errorf("result %+v, want %v, gave up %v", result, c.outcome, c.gaveUp)
			}
			if int(requests.Load()) != len(told) {
				t.Errorf("the server saw %d requests, the ledger %d", requests.Load(), len(told))
			}
		})
	}
}

func TestCountsOfTheAnswer(t *testing.T) {
	target, _ := serve(t, answer(200, `{"ack":"store","accepted":8,"rejected":2,"stored":5,"duplicates":3,"errors":[{"index":4,"code":"invalid_timestamp","detail":"no offset"}]}`))
	result := newSender(t, Policy{}, time.Second).Send(t.Context(), Request{Header: http.Header{}, URL: target, Events: 10}, func(ledger.Attempt) {})
	if a := result.Last; a.Accepted != 8 || a.Rejected != 2 || a.Duplicates != 3 {
		t.Errorf("%+v", a)
	}
	if e := result.Answer.Errors; len(e) != 1 || e[0].Index != 4 || e[0].Code != "invalid_timestamp" {
		t.Errorf("%+v", e)
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := &url.URL{Scheme: "http", Host: listener.Addr().String(), Path: "/publish"}
	listener.Close()
	result := newSender(t, quickPolicy(2), time.Second).Send(t.Context(), Request{Header: http.Header{}, URL: target, Events: 1}, func(ledger.Attempt) {})
	if result.Outcome != ledger.Refused || result.Last.Cause != ledger.CauseConnectionRefused || !result.GaveUp {
		t.Errorf("%+v", result)
	}
}

func TestStoppedWhileItWaits(t *testing.T) {
	target, _ := serve(t, stall)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	result := newSender(t, quickPolicy(5), time.Minute).Send(ctx, Request{Header: http.Header{}, URL: target, Events: 1}, func(ledger.Attempt) {})
	if result.Last.Cause != ledger.CauseCanceled || result.Last.Attempt != 1 || result.Outcome != ledger.Unknown {
		t.Errorf("%+v", result)
	}
}

// The body is whole at every attempt, and free for another use afterwards.
func TestBodyIsSentWholeEveryTime(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 50_000)
	var seen [][]byte
	keep := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			got, _ := io.ReadAll(r.Body)
			seen = append(seen, got)
			next(w, r)
		}
	}
	target, _ := serve(t, keep(reset), keep(answer(503, `{"code":"busy"}`)), keep(answer(202, ack10)))
	result := newSender(t, quickPolicy(5), 5*time.Second).Send(t.Context(), Request{Header: http.Header{}, URL: target, Body: body, Events: 10}, func(ledger.Attempt) {})
	if !result.BodyFree {
		t.Error("the transport still holds the body")
	}
	if len(seen) != 3 {
		t.Fatalf("%d bodies", len(seen))
	}
	for i, got := range seen {
		if !bytes.Equal(got, body) {
			t.Errorf("attempt %d sent %d bytes, want %d", i+1, len(got), len(body))
		}
	}
}

// script is a transport that plays answers; in a synctest bubble time is free.
type script []any // an error or *http.Response per attempt, then the last again

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	next := (*s)[0]
	if len(*s) > 1 {
		*s = (*s)[1:]
	}
	r.Body.Close()
	if err, ok := next.(error); ok {
		return nil, err
	}
	return next.(*http.Response), nil
}

func response(status int, retryAfter string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {retryAfter}}, Body: io.NopCloser(strings.NewReader(""))}
}

func timesOf(t *testing.T, p Policy, s script) (sent []time.Duration, result Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sender := &Sender{Transport: &s, Policy: p, Timeout: time.Second, Start: time.Now()}
		result = sender.Send(t.Context(), Request{URL: &url.URL{Host: "h"}}, func(a ledger.Attempt) { sent = append(sent, time.Duration(a.SentNS)) })
	})
	return sent, result
}

func TestRetryAfterIsWaitedUpToItsCap(t *testing.T) {
	p := Policy{MaxAttempts: 3, MaxElapsed: time.Hour, BaseDelay: time.Millisecond, MaxDelay: time.Millisecond, MaxRetryAfter: 5 * time.Second}
	sent, _ := timesOf(t, p, script{response(503, "2"), response(503, "86400"), response(400, "")})
	if len(sent) != 3 || sent[1] < 2*time.Second || sent[1] > 2001*time.Millisecond || sent[2]-sent[1] < 5*time.Second || sent[2]-sent[1] > 5001*time.Millisecond {
		t.Errorf("sent at %v", sent)
	}
}

func TestPolicyEnds(t *testing.T) {
	failing := script{errors.New("broken")}
	p := Policy{MaxAttempts: 4, MaxElapsed: time.Hour, BaseDelay: time.Second, MaxDelay: time.Minute}
	if sent, result := timesOf(t, p, failing); len(sent) != 4 || !result.GaveUp {
		t.Errorf("%d attempts, %+v", len(sent), result)
	}
	p = Policy{MaxAttempts: 1 << 30, MaxElapsed: time.Minute, BaseDelay: time.Second, MaxDelay: 10 * time.Second}
	sent, result := timesOf(t, p, failing)
	if len(sent) < 6 || sent[len(sent)-1] > time.Minute || !result.GaveUp {
		t.Errorf("sent at %v", sent)
	}
	if sent, result := timesOf(t, Policy{}, failing); len(sent) != 1 || !result.GaveUp {
		t.Errorf("the zero policy made %d attempts, %+v", len(sent), result)
	}
}

func TestDefaultPolicy(t *testing.T) {
	if err := DefaultPolicy().Validate(); err != nil {
		t.Error(err)
	}
}

func TestTarget(t *testing.T) {
	for _, c := range []struct{ aggregator, ack, want string }{
		{"http://127.0.0.1:8080", "", "http://127.0.0.1:8080/publish"},
		{"http://127.0.0.1:8080/", "store", "http://127.0.0.1:8080/publish?ack=store"},
		{"https://logs.example/sekali?x=1", "memory", "https://logs.example/sekali/publish?ack=memory"},
	} {
		if got, err := Target(c.aggregator, c.ack); err != nil || got.String() != c.want {
			t.Errorf("%s %s: %v, %v", c.aggregator, c.ack, got, err)
		}
	}
	for _, c := range [][2]string{{"127.0.0.1:8080", ""}, {"http://", ""}, {"file:///x", ""}, {"http://%zz", ""}, {"http://h", "disk"}} {
		if got, err := Target(c[0], c[1]); err == nil {
			t.Errorf("%q: %v", c, got)
		}
	}
}
