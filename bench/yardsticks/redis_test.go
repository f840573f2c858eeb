package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestRedisThatDoesNotAnswer: the end of a round's time ends the call that waits, and every one
// that comes after it.
func TestRedisThatDoesNotAnswer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "redis.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c, err := dialRedis(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	ended := make(chan error, 1)
	go func() {
		for range 2 {
			_, err := c.call(redisCommand("PING"))
			ended <- err
		}
	}()
	for range 2 {
		select {
		case err := <-ended:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("it ended with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a call goes on after the end")
		}
	}
}
