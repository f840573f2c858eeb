package api

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// A server without a pipeline panics in /readyz: fasthttp would take the process along.
func TestPanicAnswers500AndServes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{MaxBodyBytes: 1 << 20}, nil, nil, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- a.Serve(ln, nil) }()
	client := &http.Client{Timeout: 5 * time.Second}
	for _, want := range []struct {
		path   string
		status int
		body   string
	}{{"/readyz", 500, `"code":"internal"`}, {"/livez", 200, "ok"}} {
		resp, err := client.Get("http://" + ln.Addr().String() + want.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want.status || !bytes.Contains(body, []byte(want.body)) {
			t.Errorf("%s: %d %s %v, want %d with %s", want.path, resp.StatusCode, body, err, want.status, want.body)
		}
	}
	// An export panics in a goroutine of its own; its connection is cut, and the next request is
	// served.
	export, err := http.NewRequest(http.MethodGet, "http://"+ln.Addr().String()+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	export.Header.Set("Accept", "application/x-ndjson")
	if resp, err := client.Do(export); err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Errorf("an export that panicked ended whole, with %s", resp.Status)
		}
	}
	resp, err := client.Get("http://" + ln.Addr().String() + "/livez")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("after it: %v %v", resp, err)
	}
	resp.Body.Close()
	if err := a.Shutdown(5 * time.Second); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
