package integration_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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

// silentConnections say nothing, or no more, while the aggregator stops.
const silentConnections = 50

// TestFaultStop: SIGTERM under load loses nothing that was acknowledged at any level, and connections on which nothing happens do not
// hold it up.
func TestFaultStop(t *testing.T) {
	f := result.Fault{Fault: "SIGTERM under load", Promise: result.NothingLost, Times: times(1, 10)}
	data := dataFolder(t)
	p := newPool(data)
	p.acks, p.publishers, p.pause = []string{"memory", "journal", "store"}, 6, pause
	a := start(t, data)
	slowest := time.Duration(0)
	for range f.Times {
		for i := range silentConnections {
			c, err := net.Dial("tcp", a.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if i%2 == 0 {
				_, err = c.Write([]byte("POST /publish HTTP/1.1\r\nHost: aggregator\r\nContent-Length: 100\r\n\r\n["))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		answered := len(p.acknowledged)
		stopped := make(chan time.Duration)
		go func() {
			time.Sleep(200 * time.Millisecond)
			began := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
			defer cancel()
			if _, err := a.Stop(ctx); err != nil {
				t.Error(err)
			}
			stopped <- time.Since(began)
		}()
		p.load(t, a.URL, a.Exited())
		slowest = max(slowest, <-stopped)
		if len(p.acknowledged) == answered {
			t.Error("nothing was acknowledged before the stop")
		}
		a = restart(t, data, &f)
	}
	f.Seen = fmt.Sprintf("with %d silent connections, stopped within %.1f s", silentConnections, slowest.Seconds())
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

// overloadFactor is how many times what it accepts the aggregator is offered at least.
const overloadFactor = 5

// TestFaultOverload sends far more than a slow writer lets in.
func TestFaultOverload(t *testing.T) {
	f := result.Fault{Fault: fmt.Sprint("overload, at least ", overloadFactor, " x"), Promise: result.NothingLost, Times: 1}
	program, err := crashBinary() // with one event a transaction it copies the WAL behind each, so that it is slow on any disk
	if err != nil {
		t.Fatal(err)
	}
	data := dataFolder(t)
	p := newPool(data)
	p.publishers = 64
	a, err := startWith(t, program, nil, data, "-queue-events=500", "-backlog-bytes=200000", oneByOne)
	if err != nil {
		t.Fatal(err)
	}
	underLoad(t, a, p, func() { time.Sleep(long(time.Second, 10*time.Second)) })
	accepted := 0
	for _, answers := range p.acknowledged {
		accepted += answers
	}
	offered := accepted + p.refused
	if offered < overloadFactor*accepted {
		t.Errorf("%d requests offered, %d accepted: there was no overload", offered, accepted)
	}
	f.Seen = fmt.Sprintf("offered %.1f x what was accepted, the rest refused with 503", float64(offered)/float64(accepted))
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
		if !strings.Contains(a.log.String(), "no connection can be accepted") {
			t.Error("there were file descriptors all the time")
		}
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
const memoryLimit = 24 << 20

// TestFaultMemory limits the process's memory: the kernel may kill it, and nothing acknowledged may be lost by that.
func TestFaultMemory(t *testing.T) {
	f := result.Fault{Fault: "memory limited to 24 MB", Promise: result.NothingLost, Times: times(1, 5)}
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
	if killed == 0 && faultsDir != "" {
		t.Error("the limit met nothing")
	}
	f.Seen = fmt.Sprintf("killed by the kernel %d times", killed)
	p.audit(t, start(t, data), &f)
	record(t, f)
}
