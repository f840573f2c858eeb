package integration_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sekali/bench/result"
)

// TestFaultStopped stops the process for a while, as a debugger or a suspended machine would.
func TestFaultStopped(t *testing.T) {
	f := result.Fault{Fault: "SIGSTOP", Promise: result.NothingLost, Times: times(1, 3)}
	data := dataFolder(t)
	p := newPool(data)
	p.pause = pause
	a := start(t, data)
	for range f.Times {
		underLoad(t, a, p, func() {
			_ = a.Signal(syscall.SIGSTOP)
			time.Sleep(long(time.Second, 10*time.Second))
			_ = a.Signal(syscall.SIGCONT)
		})
	}
	p.audit(t, a, &f)
	a.stop(t)
	record(t, f)
}

// dropReplies listens before a server and passes on every request but, while drop says so, no answer.
func dropReplies(t *testing.T, server string, drop func() bool) (url string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				upstream, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer upstream.Close()
				requests, answers := bufio.NewReader(client), bufio.NewReader(upstream)
				for {
					request, err := http.ReadRequest(requests)
					if err != nil || request.Write(upstream) != nil {
						return
					}
					answer, err := http.ReadResponse(answers, request)
					if err != nil {
						return
					}
					if drop() { // the whole answer has come: the events are taken
						_, _ = io.Copy(io.Discard, answer.Body)
						return
					}
					if answer.Write(client) != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// TestFaultRepliesDropped: publishers never hear that they were heard, and repeat themselves.
func TestFaultRepliesDropped(t *testing.T) {
	f := result.Fault{Fault: "replies dropped after the commit", Promise: result.NothingLost, Times: times(200, 1000)}
	data := dataFolder(t)
	p := newPool(data)
	a := start(t, data)
	var dropped atomic.Int64
	ended := make(chan struct{})
	url := dropReplies(t, a.Addr, func() bool {
		n := dropped.Add(1)
		if n == int64(f.Times)+200 {
			close(ended)
		}
		return n <= int64(f.Times)
	})
	p.load(t, url, ended)
	p.audit(t, a, &f)
	if now, err := a.stats(); err != nil || now.Duplicates < f.Times*eventsPerRequest/2 {
		t.Errorf("%d duplicates dropped after %d repeated requests; %v", now.Duplicates, f.Times, err)
	}
	a.stop(t)
	record(t, f)
}

// TestFaultOverload sends far more than may wait.
func TestFaultOverload(t *testing.T) {
	f := result.Fault{Fault: "overload", Promise: result.NothingLost, Times: 1}
	data := dataFolder(t)
	p := newPool(data)
	p.publishers = 64
	a := start(t, data, "-queue-events=500", "-backlog-bytes=200000", "-batch-events=50")
	underLoad(t, a, p, func() { time.Sleep(long(time.Second, 10*time.Second)) })
	if p.refused == 0 {
		t.Error("nobody was refused: there was no overload")
	}
	f.Seen = fmt.Sprintf("%d refused with 503", p.refused)
	p.audit(t, a, &f)
	a.stop(t)
	record(t, f)
}

// TestFaultDescriptors leaves the process few file descriptors, and takes those away with idle connections.
func TestFaultDescriptors(t *testing.T) {
	f := result.Fault{Fault: "64 file descriptors", Promise: result.NothingLost, Times: 1}
	data := dataFolder(t)
	p := newPool(data)
	p.pause = pause
	a := start(t, data)
	limit := unix.Rlimit{Cur: 64, Max: 64}
	if err := unix.Prlimit(a.PID(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		skipFault(t, f.Fault, f.Promise, "prlimit: "+err.Error())
	}
	underLoad(t, a, p, func() {
		var idle []net.Conn
		for range 200 {
			c, err := net.DialTimeout("tcp", a.Addr, time.Second)
			if err != nil {
				break // the kernel's own queue is full as well
			}
			idle = append(idle, c)
		}
		time.Sleep(long(time.Second, 5*time.Second))
		for _, c := range idle {
			c.Close()
		}
	})
	select {
	case <-a.Exited():
		t.Error("it ended for want of file descriptors")
		a = restart(t, data, &f)
	default:
	}
	p.audit(t, a, &f)
	record(t, f)
}

// memoryLimit is under what a loaded aggregator takes.
const memoryLimit = 40 << 20

// TestFaultMemory limits the process's memory: the kernel may kill it, and nothing acknowledged may be lost by that.
func TestFaultMemory(t *testing.T) {
	f := result.Fault{Fault: "memory limited to 40 MB", Promise: result.NothingLost, Times: times(1, 5)}
	group := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprint("sekali-test-", os.Getpid()))
	limitFile := "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		group, limitFile = filepath.Join("/sys/fs/cgroup", filepath.Base(group)), "memory.max"
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		skipFault(t, f.Fault, f.Promise, "no memory cgroup: "+err.Error())
	}
	t.Cleanup(func() { _ = os.Remove(group) })
	if err := os.WriteFile(filepath.Join(group, limitFile), []byte(fmt.Sprint(memoryLimit)), 0); err != nil {
		skipFault(t, f.Fault, f.Promise, "no memory limit: "+err.Error())
	}
	data := dataFolder(t)
	p := newPool(data)
	killed := 0
	for range f.Times {
		a := restart(t, data, &f)
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(fmt.Sprint(a.PID())), 0); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			select {
			case <-a.Exited():
			case <-time.After(long(2*time.Second, 5*time.Second)):
			}
		}()
		p.load(t, a.URL, ended)
		select {
		case <-a.Exited():
			killed++
		default:
			a.kill()
		}
	}
	f.Seen = fmt.Sprintf("killed by the kernel %d times", killed)
	p.audit(t, start(t, data), &f)
	record(t, f)
}
