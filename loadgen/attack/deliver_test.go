package attack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
)

// holding answers before it has let go of the body, as net/http does when a
// server refuses early.
type holding struct{ held []io.ReadCloser }

func (h *holding) RoundTrip(r *http.Request) (*http.Response, error) {
	h.held = append(h.held, r.Body)
	return &http.Response{StatusCode: http.StatusRequestEntityTooLarge, Header: http.Header{}, Body: http.NoBody}, nil
}

// The memory of a body is not used again while the transport may read it.
func TestABodyThatIsStillReadIsNotRecycled(t *testing.T) {
	w := ledger.NewWriter(io.Discard)
	defer w.Close()
	a, err := New(Config{
		URL: "http://127.0.0.1:1", Stream: testStream(t), Ledger: w, EventsPerRequest: testEvents,
		Phases: []Phase{{Name: "one", Clients: 1, Requests: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	transport := &holding{}
	deliver := func(number uint64) {
		b := body{number: number, bytes: bodyOf(t, testStream(t), testEvents, number)}
		var target vegeta.Target
		a.deliver.prepare(&target, prepared{body: b})
		r, err := target.Request()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.deliver.RoundTrip(r); err != nil {
			t.Fatal(err)
		}
	}
	a.deliver.begin(t.Context(), delivery.Sender{Transport: transport, Timeout: time.Second, Start: time.Now()})
	deliver(0)
	if len(a.ahead.spare) != 0 {
		t.Error("a body was recycled while the transport held it")
	}
	a.deliver.begin(t.Context(), delivery.Sender{Transport: closing{transport}, Timeout: time.Second, Start: time.Now()})
	deliver(1)
	if len(a.ahead.spare) != 1 {
		t.Errorf("%d bodies recycled, want 1", len(a.ahead.spare))
	}
}

// closing closes the body before it answers.
type closing struct{ *holding }

func (c closing) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Body.Close()
	return c.holding.RoundTrip(r)
}

func TestWhatARequestLooksLike(t *testing.T) {
	var got atomic.Pointer[http.Request]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Clone(context.Background()))
		fmt.Fprintf(w, `{"accepted":%d,"rejected":0}`, testEvents)
	}))
	defer server.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	_, _, err := run(t, t.Context(), Config{
		URL: server.URL, AckLevel: "store", Token: "secret", Encoding: EncodingNDJSON, Compression: CompressionZstd,
		FirstRequest: 42, Phases: []Phase{{Name: "one", Clients: 1, Requests: 1}},
	})
	if err != nil || got.Load() == nil {
		t.Fatal(err)
	}
	r := got.Load()
	if r.Method != "POST" || r.URL.String() != "/publish?ack=store" || r.ContentLength <= 0 {
		t.Errorf("%s %s, %d bytes", r.Method, r.URL, r.ContentLength)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/x-ndjson", "Content-Encoding": "zstd", "Authorization": "Bearer secret",
		"Sekali-Request": "42", "Accept-Encoding": "", "Idempotency-Key": "", "Expect": "",
	} {
		if r.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, r.Header.Get(name), want)
		}
	}
}
