package cluster_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
)

// watchedLog says when a reading of it has begun and ended.
type watchedLog struct {
	*memorylog.Log
	begun atomic.Int64
	ended chan struct{}
}

func (l *watchedLog) Read(ctx context.Context, after uint64, each func(at uint64, message []byte) error) error {
	l.begun.Add(1)
	defer func() { l.ended <- struct{}{} }()
	return l.Log.Read(ctx, after, each)
}

// TestHaltedNodeReadsNoMore: a node that halts while its reader waits for more reads no more.
func TestHaltedNodeReadsNoMore(t *testing.T) {
	log := &watchedLog{Log: memorylog.New("a"), ended: make(chan struct{}, 100)}
	n := cluster.Open(cluster.Config{Name: "a", Log: log, Registry: log.Registry(), Replica: &cluster.Replica{Identity: log.Identity(), Apply: 1}, Known: 1,
		Logger: slog.New(slog.DiscardHandler)}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- n.Run(ctx, func(context.Context, *cluster.Entry) error {
			t.Error("a message was handed on")
			return nil
		})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for end := time.Now().Add(10 * time.Second); n.Durable() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(n.Durable())
		}
	}
	n.HaltAt(7, context.DeadlineExceeded)
	select {
	case <-log.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on reading 10 s after it has halted")
	}
	read := log.begun.Load()
	time.Sleep(500 * time.Millisecond) // it rests 200 ms between two
	if begun := log.begun.Load(); begun != read {
		t.Errorf("%d readings have begun since", begun-read)
	}
}
