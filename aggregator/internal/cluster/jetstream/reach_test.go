package jetstream

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
)

// refuser is a server that lets nobody in, as one does that wants another token.
func refuser(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(`INFO {"server_id":"x","version":"2.12.0","proto":1,"auth_required":true,"max_payload":1048576}` + "\r\n"))
			in := bufio.NewReader(conn)
			_, _ = in.ReadString('\n') // CONNECT
			_, _ = in.ReadString('\n') // PING
			_, _ = conn.Write([]byte("-ERR 'Authorization Violation'\r\n"))
			_ = conn.Close()
		}
	}()
	return "nats://" + ln.Addr().String()
}

// TestReachSaysWhy: a wrong port and a wrong token are told apart, each with its server, and a
// refused login is not tried on and on.
func TestReachSaysWhy(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "nats://" + ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	err = Reach(t.Context(), Config{URLs: nobody, Name: "test"}, 0)
	if !errors.Is(err, cluster.ErrUnreachable) || errors.Is(err, cluster.ErrLogin) || !strings.Contains(err.Error(), nobody+": ") {
		t.Errorf("nobody listens: %v", err)
	}
	server := refuser(t)
	began := time.Now()
	err = Reach(t.Context(), Config{URLs: nobody + "," + server, Name: "test"}, time.Minute)
	if !errors.Is(err, cluster.ErrLogin) || !strings.Contains(err.Error(), server+": it refuses the login: -cluster-token-file") {
		t.Errorf("the login is refused: %v", err)
	}
	if time.Since(began) > 20*time.Second {
		t.Errorf("it took %v", time.Since(began))
	}
}
