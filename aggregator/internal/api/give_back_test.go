package api

import (
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
)

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("reader") }

// TestPanicGivesBack: whatever panics, the budgets have again what the request took.
func TestPanicGivesBack(t *testing.T) {
	var counts budget
	counts.most = bodiesBytes
	func() {
		defer func() { _ = recover() }()
		_, _ = readBody(panics{}, -1, 1<<20, &counts)
	}()
	if counts.taken != 0 {
		t.Errorf("a body's reader panicked: %d bytes are still counted", counts.taken)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{MaxBodyBytes: 1 << 20}, nil, nil, slog.New(slog.DiscardHandler)) // Publish panics
	routes["/panics"] = route{method: fasthttp.MethodPost, handle: func(a *Server, ctx *fasthttp.RequestCtx) {
		a.take(ctx, intake{decode: func(body []byte) (*event.Request, error) { return event.ParseJSON(body, nil) }, room: func(*event.Request) int { return 1 << 20 }})
	}}
	routes["/panics-in-decode"] = route{method: fasthttp.MethodPost, handle: func(a *Server, ctx *fasthttp.RequestCtx) {
		a.take(ctx, intake{decode: func([]byte) (*event.Request, error) { panic("decoder") }})
	}}
	defer delete(routes, "/panics")
	defer delete(routes, "/panics-in-decode")
	served := make(chan error, 1)
	go func() { served <- a.Serve(ln, nil) }()
	client := http.Client{Timeout: 10 * time.Second}
	for _, path := range []string{"/panics", "/panics-in-decode"} {
		answer, err := client.Post("http://"+ln.Addr().String()+path, "application/json", strings.NewReader("[]"))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusInternalServerError || !answer.Close {
			t.Errorf("%s: %s, closes %v; want 500 and the end of the connection", path, answer.Status, answer.Close)
		}
	}
	if a.bodies.taken != 0 || a.pages.taken != 0 {
		t.Errorf("%d bytes of bodies and %d of pages are still counted", a.bodies.taken, a.pages.taken)
	}
	a.conns.mu.Lock()
	for c := range a.conns.open {
		if c.phase.Load() == bodied {
			t.Error("a connection still counts as one with a body")
		}
	}
	a.conns.mu.Unlock()
	// What is refused is counted among the bodies: 100 000 events in 200 KB take 13 MB.
	a.bodies.take(bodiesBytes - 4<<20)
	answer, err := client.Post("http://"+ln.Addr().String()+"/publish", "application/json", strings.NewReader("["+strings.Repeat("1,", 99_999)+"1]"))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("100 000 refusals where there is no room: %s, want 503", answer.Status)
	}
	a.bodies.put(bodiesBytes - 4<<20)
	// Nothing can be taken: the probe says so.
	a.bodies.take(bodiesBytes)
	answer, err = client.Get("http://" + ln.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without room for a body: %s, want 503", answer.Status)
	}
	if err := a.Shutdown(5 * time.Second); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
