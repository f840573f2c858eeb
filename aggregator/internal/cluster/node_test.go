package cluster_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
	"sekali/aggregator/journal"
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

// framesOf is a journal of frames, each under the offset of its number.
type framesOf [][]byte

func (j framesOf) Read(at journal.Frame, _ []byte) ([]byte, error) { return j[at.Start.Offset], nil }

// TestAckedByAnotherLog: what a journal has left says how far its session was acknowledged, by the
// log of before. Of the new one, which has none of it, the first message is lost on the way: no
// other comes before it that says that it was acknowledged.
func TestAckedByAnotherLog(t *testing.T) {
	log := memorylog.New("a")
	var sent atomic.Int32
	log.Fate = func([]byte) memorylog.Fate {
		lost := sent.Add(1) == 1
		return memorylog.Fate{Lost: lost, Silent: lost}
	}
	var j framesOf
	var backlog []journal.Frame
	session, previous := cluster.NewSession(), uint32(0)
	for number := uint64(1); number <= 4; number++ {
		r := event.NewRequest(0)
		if err := r.Add(&event.Fields{Topic: []byte("t"), ID: []byte("e"), Timestamp: []byte("2026-11-23T06:41:10Z")}); err != nil {
			t.Fatal(err)
		}
		f := cluster.Frame{Apply: 1, Session: session, Number: number, Previous: previous, Acked: number - 1, AckedAt: 100, Time: time.Unix(1, 0), Events: 1, Body: r.Data}
		backlog = append(backlog, journal.Frame{Start: journal.Position{Segment: 1, Offset: int64(len(j))}})
		j = append(j, f.Encode(nil))
		previous = f.Sum
	}
	cursor := cluster.Cursor{Sessions: map[cluster.Session]cluster.Seen{}}
	n := cluster.Open(cluster.Config{Name: "a", Log: log, Registry: log.Registry(), Replica: &cluster.Replica{Identity: log.Identity(), Apply: 1}, Cursor: cursor, Known: 1,
		Journal: j, DoubtAfter: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}, nil)
	if err := n.Outbox.Load(j, backlog, &cursor); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	counted, ended := make(chan uint64, 4), make(chan error, 1)
	go func() {
		ended <- n.Run(ctx, func(_ context.Context, e *cluster.Entry) error {
			if e.Counts {
				counted <- e.Frame.Number
			}
			return nil
		})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for want := uint64(1); want <= 4; want++ {
		select {
		case number := <-counted:
			if number != want {
				t.Errorf("frame %d counts, want %d", number, want)
			}
		case <-n.Stopped():
			t.Fatal(n.Halted())
		case <-time.After(10 * time.Second):
			t.Fatalf("frame %d does not come", want)
		}
	}
}

// TestAgeIsByTheOwnClock: how long another node has told nothing is not asked of its clock.
func TestAgeIsByTheOwnClock(t *testing.T) {
	log := memorylog.New("a", "b")
	n := cluster.Open(cluster.Config{Name: "a", Log: log, Registry: log.Registry(), Replica: &cluster.Replica{Identity: log.Identity(), Apply: 1}, Known: 1,
		Logger: slog.New(slog.DiscardHandler)}, nil)
	value, err := json.Marshal(cluster.Beat{Node: "b", At: time.Now().Add(3 * time.Hour), Cluster: log.Identity().Cluster, Epoch: log.Identity().Epoch})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Registry().Put(t.Context(), "b", value, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- n.Run(ctx, func(context.Context, *cluster.Entry) error { return nil })
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if nodes := n.Status().Nodes; len(nodes) > 0 {
			if age := nodes[0].AgeSeconds; age < 0 || age > 10 {
				t.Errorf("it has told nothing for %v s", age)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatal("nothing is heard of it")
		}
	}
}
