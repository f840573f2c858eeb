package runner

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekali/bench/system/cluster"
	"sekali/bench/system/process"
)

// says is the line with which every process of ours says that it listens.
const says = `echo '{"msg":"listening","addr":"127.0.0.1:1"}' >&2; `

// shell is a process that does what a script says once it listens.
func shell(script string) process.Config {
	return process.Config{Binary: "sh", Plain: true, Args: []string{"-c", says + script}, Log: io.Discard}
}

// TestUsageOfALogServerThatEnds: it counts while it lives, also while it is being ended, and once
// when it is gone.
func TestUsageOfALogServerThatEnds(t *testing.T) {
	p, err := process.Start(t.Context(), shell(`trap 'sleep 0.4; exit 0' TERM; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; while :; do sleep 0.01; done`))
	if err != nil {
		t.Fatal(err)
	}
	l := &logServer{machine: &cluster.Machine{LogName: "log-1", Log: p}, current: p}
	for l.usage().CPUNS == 0 {
		time.Sleep(time.Millisecond)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.end(t.Context(), syscall.SIGTERM) }()
	for marked := false; !marked; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		marked = l.expected
		l.mu.Unlock()
	}
	if now := l.usage(); now.CPUNS == 0 || now.RSSBytes == 0 {
		t.Errorf("while it is being ended: %+v", now)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	exit, _ := p.Wait(t.Context())
	if now := l.usage(); now.CPUNS != exit.Usage.CPUNS || now.RSSBytes != 0 {
		t.Errorf("after its end: %+v, it used %+v", now, exit.Usage)
	}
}

// TestUsageOfAJoin: the command that makes a node anew is none of the other processes that make a
// run INVALID, neither while it runs nor after.
func TestUsageOfAJoin(t *testing.T) {
	first, err := process.Start(t.Context(), shell("exec sleep 60"))
	if err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(t.TempDir(), "join")
	if err := os.WriteFile(work, []byte("#!/bin/sh\ni=0; while [ $i -lt 300000 ]; do i=$((i+1)); done\n[ \"$4\" != refused ] || { echo no such log >&2; exit 3; }\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := &aggregator{client: newClient(), current: first}
	s := &session{config: &Config{Aggregator: work}, aggregator: a, replicas: &replicas{nodes: []*aggregator{a}}}
	before := s.usage().CPUNS
	joined := make(chan error, 1)
	go func() { joined <- s.join(t.Context(), t.TempDir(), "c", "urls") }()
	for end := time.Now().Add(10 * time.Second); s.usage().CPUNS == before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	if used := s.usage().CPUNS - before; used < int64(10*time.Millisecond) {
		t.Errorf("it used %v after its end", time.Duration(used))
	}
	if err := s.join(t.Context(), t.TempDir(), "c", "refused"); err == nil || !strings.Contains(err.Error(), "exit code 3: no such log") {
		t.Errorf("a join that is refused: %v", err)
	}
}

// TestNeverReady: an aggregator that does not get ready is gone when that is said.
func TestNeverReady(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	a := &aggregator{client: newClient(), config: shell("exec sleep 60")}
	if _, err := a.start(ctx); err == nil {
		t.Fatal("it was ready")
	}
	select {
	case <-a.process().Exited():
	default:
		t.Error("it still runs")
	}
}
