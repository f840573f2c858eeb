package jetstream

import (
	"bufio"
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
)

// guard is a server that lets in who has the token of now, and nobody else.
type guard struct {
	ln net.Listener

	mu    sync.Mutex // guards all below
	token string
	conns []net.Conn
}

func newGuard(t *testing.T, token string) *guard {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{ln: ln, token: token}
	t.Cleanup(func() { _ = ln.Close(); g.change("") })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go g.serve(conn)
		}
	}()
	return g
}

func (g *guard) serve(conn net.Conn) {
	defer conn.Close()
	_, _ = conn.Write([]byte(`INFO {"server_id":"x","version":"2.12.0","proto":1,"headers":true,"auth_required":true,"max_payload":1048576}` + "\r\n"))
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch {
		case strings.HasPrefix(line, "CONNECT"):
			if !g.admits(line, conn) {
				_, _ = conn.Write([]byte("-ERR 'Authorization Violation'\r\n"))
				return
			}
		case strings.HasPrefix(line, "PING"):
			_, _ = conn.Write([]byte("PONG\r\n"))
		}
	}
}

func (g *guard) admits(line string, conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, conn)
	return strings.Contains(line, `"pass":"`+g.token+`"`)
}

// change changes the token as a server does that was started anew: all who are there are cut off.
func (g *guard) change(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.token = token
	for _, conn := range g.conns {
		_ = conn.Close()
	}
	g.conns = nil
}

// told is a log that a test reads.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *told) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *told) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestLoginIsTriedAgain: a client whose token is refused, at the start or later, goes on to try,
// says why nothing goes on, and says it once; it is let in once the file has the right token,
// without a restart. A file that is gone meanwhile changes nothing.
func TestLoginIsTriedAgain(t *testing.T) {
	server := newGuard(t, "second")
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	said := &told{}
	log, err := Dial(Config{URLs: "nats://" + server.ln.Addr().String(), TokenFile: file, Name: "test", Logger: slog.New(slog.NewTextHandler(said, nil))}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	await := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not within 10 s: %s", what, said)
			}
		}
	}
	refused := func() bool {
		_, err := log.Head(t.Context())
		return errors.Is(err, cluster.ErrUnreachable) && errors.Is(err, cluster.ErrLogin)
	}
	await("refused at the start", refused)
	write("second")
	await("let in", log.conn.IsConnected)
	if err := log.unreachable(errors.New("x")); errors.Is(err, cluster.ErrLogin) {
		t.Errorf("while it is let in: %v", err)
	}
	server.change("third")
	await("refused later", refused)
	if err := log.Append([]byte("x"), func(uint64, error) {}); !errors.Is(err, cluster.ErrLogin) {
		t.Errorf("what is sent: %v", err)
	}
	reads := log.conn.Stats().Reconnects
	await("tries", func() bool { return log.conn.Stats().Reconnects >= reads+3 })
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	server.change("second")
	await("let in with the token before", log.conn.IsConnected)
	await("two ends of two refusals", func() bool { return strings.Count(said.String(), "lets this client in again") == 2 })
	if n := strings.Count(said.String(), "level=ERROR"); n != 2 {
		t.Errorf("it has told of two refusals %d times: %s", n, said)
	}
}
