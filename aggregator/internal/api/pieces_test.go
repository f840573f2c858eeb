package api

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// writesListener counts the writes to all its connections.
type writesListener struct {
	net.Listener
	writes *atomic.Int64
}

func (l writesListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return writesConn{c, l.writes}, nil
}

type writesConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c writesConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// TestAnswersGoOutInLargePieces: an answer that is in memory is handed to the kernel in few writes,
// one for what is buffered with the headers, and one for each pieceBytes of the rest. All of it
// arrives, and what it held is given back.
func TestAnswersGoOutInLargePieces(t *testing.T) {
	a := New(Config{MaxBodyBytes: 1 << 20}, nil, nil, slog.New(slog.DiscardHandler))
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var size atomic.Int64
	routes["/large"] = route{method: fasthttp.MethodGet, public: true, handle: func(a *Server, ctx *fasthttp.RequestCtx) {
		a.send(ctx, fasthttp.StatusOK, body[:size.Load()], nil)
	}}
	defer delete(routes, "/large")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var writes atomic.Int64
	served := make(chan error, 1)
	go func() { served <- a.Serve(writesListener{ln, &writes}, nil) }()
	client := http.Client{Timeout: 10 * time.Second}
	for _, c := range []struct{ size, writes int64 }{{uncountedBytes + 1, 2}, {30 << 10, 2}, {1 << 20, 1 + 1<<20/pieceBytes}} {
		size.Store(c.size)
		writes.Store(0)
		answer, err := client.Get("http://" + ln.Addr().String() + "/large")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || !bytes.Equal(got, body[:c.size]) {
			t.Errorf("%d bytes: %d arrived, %v", c.size, len(got), err)
		}
		if n := writes.Load(); n > c.writes {
			t.Errorf("%d bytes went out in %d writes, want %d at most", c.size, n, c.writes)
		}
	}
	client.CloseIdleConnections()
	if err := a.Shutdown(time.Second); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if a.pages.taken != 0 {
		t.Errorf("%d bytes of pages are still counted", a.pages.taken)
	}
}
