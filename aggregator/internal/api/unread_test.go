package api

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sekali/aggregator/journal"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// TestUnreadAnswers: whoever does not read an export, a stream or a page is cut off when the time
// for it to leave is over, and leaves neither a connection nor a stream behind; others are served.
func TestUnreadAnswers(t *testing.T) {
	const (
		short    = 200 * time.Millisecond
		patience = 20 * time.Second
		events   = 400 // of 60 KB: more than the kernel's buffers hold
	)
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	s, state, err := store.Open(dir, store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	j, backlog, err := journal.Open(dir+"/journal", state.Journal)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	p := pipeline.New(pipeline.Config{QueueEvents: 1000, QueueBytes: 64 << 20, BacklogBytes: 64 << 20, BatchEvents: 100}, s, j, state, backlog, log)
	ended := make(chan error, 3)
	go func() { ended <- p.RunCommitter(t.Context()) }()
	go func() { ended <- p.RunWriter(t.Context()) }()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{Ack: pipeline.Store, MaxBodyBytes: 1 << 20}, p, s, log)
	a.http.WriteTimeout = short
	go func() { ended <- a.Serve(ln, nil) }()
	defer func() {
		p.Close()
		if err := a.Shutdown(patience); err != nil {
			t.Error(err)
		}
		for range cap(ended) {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	publish := func(id string) {
		body := fmt.Sprintf(`{"topic":"t","event_id":%q,"timestamp":"2026-11-23T06:41:10Z","payload":"%s"}`, id, strings.Repeat("x", 60<<10))
		answer, err := client.Post("http://"+ln.Addr().String()+"/publish", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != 200 {
			t.Fatal(answer.Status)
		}
	}
	for i := range events {
		publish(fmt.Sprint(i))
	}
	for name, request := range map[string]string{
		"export": "GET /events HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n",
		"stream": "GET /events/stream HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 0\r\n\r\n",
		"pages":  strings.Repeat("GET /events?limit=10000 HTTP/1.1\r\nHost: x\r\n\r\n", 20),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			for held := true; held; time.Sleep(short / 10) {
				if held = time.Since(began) < short || a.Connections() > 0 || a.streams.Load() > 0; held && time.Since(began) > patience {
					t.Fatalf("%d connections, %d streams after %v", a.Connections(), a.streams.Load(), patience)
				}
			}
			publish("after " + name)
		})
	}
}
