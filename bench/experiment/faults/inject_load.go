package faults

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopped stops the process for a while, as a debugger or a suspended machine would.
func stopped(s *sitting) error {
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	t.pause = pause
	a, err := s.start(t.data)
	if err != nil {
		return err
	}
	for range s.times() {
		err := t.underLoad(a, func() error {
			if err := a.Signal(syscall.SIGSTOP); err != nil {
				return err
			}
			s.sleep(s.long(time.Second, 10*time.Second))
			return a.Signal(syscall.SIGCONT)
		})
		if err != nil {
			return err
		}
		t.injected()
	}
	return t.lookAndStop(a)
}

// silentConnections say nothing, or no more, while the aggregator stops.
const silentConnections = 50

// stoppedUnderLoad: SIGTERM loses nothing that was acknowledged at any level, and connections on
// which nothing happens do not hold it up.
func stoppedUnderLoad(s *sitting) error {
	t, err := s.newTrial(s.dataFolder(), "memory", "journal", "store")
	if err != nil {
		return err
	}
	t.publishers, t.pause = 6, pause
	a, err := s.start(t.data)
	if err != nil {
		return err
	}
	slowest := time.Duration(0)
	for range s.times() {
		if err := s.openSilent(a); err != nil {
			return err
		}
		answered := t.acknowledged()
		ended := make(chan time.Duration, 1)
		go func() {
			s.sleep(settle)
			began := time.Now()
			t.expect(a.stop())
			ended <- time.Since(began)
		}()
		err := t.load(a.URL, a.Exited())
		slowest = max(slowest, <-ended)
		if err != nil {
			return err
		}
		if t.acknowledged() == answered {
			t.broken("nothing was acknowledged before the stop")
		}
		t.injected()
		if a, err = t.restart(); err != nil {
			return err
		}
	}
	s.record.Note = fmt.Sprintf("with %d silent connections, stopped within %.1f s", silentConnections, slowest.Seconds())
	return t.lookAndStop(a)
}

// openSilent opens connections on which nothing happens, half of them in the middle of a request.
func (s *sitting) openSilent(a *aggregator) error {
	for i := range silentConnections {
		c, err := net.Dial("tcp", a.Addr)
		if err != nil {
			return err
		}
		s.onEnd(c.Close)
		if i%2 == 0 {
			if _, err := io.WriteString(c, "POST /publish HTTP/1.1\r\nHost: aggregator\r\nContent-Length: 100\r\n\r\n["); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropReplies listens before a server and passes on every request but, while drop says so, no
// answer.
func (s *sitting) dropReplies(server string, drop func() bool) (url string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.onEnd(listener.Close)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go passOn(client, server, drop)
		}
	}()
	return "http://" + listener.Addr().String(), nil
}

// passOn serves one connection of the proxy; both its ends are closed when it returns.
func passOn(client net.Conn, server string, drop func() bool) {
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
}

// answeredAfter is how many replies get through at the end.
const answeredAfter = 200

// repliesDropped: publishers never hear that they were heard, and repeat themselves.
func repliesDropped(s *sitting) error {
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	a, err := s.start(t.data)
	if err != nil {
		return err
	}
	var replies atomic.Int64
	times := int64(s.times())
	ended := make(chan struct{})
	url, err := s.dropReplies(a.Addr, func() bool {
		n := replies.Add(1)
		if n == times+answeredAfter {
			close(ended)
		}
		return n <= times
	})
	if err != nil {
		return err
	}
	if err := t.load(url, ended); err != nil {
		return err
	}
	t.injected()
	t.record.Injected = int(times)
	now, err := a.drained()
	if err != nil {
		return err
	}
	if now.DuplicateDropped < uint64(times)*eventsPerRequest/2 {
		t.broken("%d duplicates dropped after %d repeated requests", now.DuplicateDropped, times)
	}
	return t.lookAndStop(a)
}

// overloadFactor is how many times what it accepts the aggregator is offered at least.
const overloadFactor = 5

// overload sends far more than a slow writer lets in. With one event a transaction the build with
// small bounds copies the WAL behind each, so that it is slow on any disk.
func overload(s *sitting) error {
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	t.publishers = 64
	a, err := s.startCrash(nil, t.data, "-queue-events=500", "-backlog-bytes=200000", oneByOne)
	if err != nil {
		return err
	}
	err = t.underLoad(a, func() error {
		s.sleep(s.long(time.Second, 10*time.Second))
		return nil
	})
	if err != nil {
		return err
	}
	t.injected()
	accepted := t.acknowledged()
	if offered := accepted + t.refusals(); offered < overloadFactor*accepted {
		t.broken("%d requests offered, %d accepted: there was no overload", offered, accepted)
	}
	return t.lookAndStop(a)
}

// descriptors leaves the process few file descriptors, and takes those away with idle connections.
func descriptors(s *sitting) error {
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	t.pause = pause
	a, err := s.start(t.data)
	if err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: 64, Max: 64}
	if err := unix.Prlimit(a.PID(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		return skip("prlimit: %v", err)
	}
	err = t.underLoad(a, func() error {
		var idle []net.Conn
		defer func() {
			for _, c := range idle {
				c.Close()
			}
		}()
		for range 200 {
			c, err := net.DialTimeout("tcp", a.Addr, time.Second)
			if err != nil {
				break // the kernel's own queue is full as well
			}
			idle = append(idle, c)
		}
		s.sleep(s.long(time.Second, 5*time.Second))
		if !a.log.has("no connection can be accepted") {
			t.broken("there were file descriptors all the time")
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.injected()
	select {
	case <-a.Exited():
		t.broken("it ended for want of file descriptors")
		if a, err = t.restart(); err != nil {
			return err
		}
	default:
	}
	return t.lookAndStop(a)
}

// memoryLimit is under what a loaded aggregator takes.
const memoryLimit = 24 << 20

// memory limits the process's memory: the kernel may kill it, and nothing acknowledged may be lost
// by that.
func memory(s *sitting) error {
	procs, err := s.memoryGroup()
	if err != nil {
		return err
	}
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	killed := 0
	a, err := s.start(t.data)
	if err != nil {
		return err
	}
	for range s.times() {
		if err := os.WriteFile(procs, []byte(fmt.Sprint(a.PID())), 0); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.long(2*time.Second, 5*time.Second))
		exited := a.Exited()
		go func() {
			<-exited
			cancel()
		}()
		err = t.load(a.URL, ctx.Done())
		cancel()
		if err != nil {
			return err
		}
		select {
		case <-a.Exited():
			killed++
		default:
			a.Kill()
		}
		t.wasKilled(a)
		t.injected()
		if a, err = t.restart(); err != nil { // outside of the limit
			return err
		}
	}
	if killed == 0 && !s.Short {
		t.broken("the limit met nothing")
	}
	s.record.Note = fmt.Sprintf("killed by the kernel %d times", killed)
	return t.lookAndStop(a)
}

// memoryGroup makes a cgroup with the limit and returns the file that takes its processes.
func (s *sitting) memoryGroup() (procs string, err error) {
	group := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprint("sekali-fault-", os.Getpid()))
	limitFile := "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		group, limitFile = filepath.Join("/sys/fs/cgroup", filepath.Base(group)), "memory.max"
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		return "", skip("no memory cgroup: %v", err)
	}
	s.onEnd(func() error { return os.Remove(group) })
	if err := os.WriteFile(filepath.Join(group, limitFile), []byte(fmt.Sprint(memoryLimit)), 0); err != nil {
		return "", skip("no memory limit: %v", err)
	}
	return filepath.Join(group, "cgroup.procs"), nil
}
