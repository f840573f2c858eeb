package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sekali/bench/system/ports"
)

const (
	// startTimeout bounds the time until a server takes requests.
	startTimeout = 30 * time.Second
	// stopTimeout bounds its graceful end, a last checkpoint included; then it is killed.
	stopTimeout = 60 * time.Second
	// readyInterval is how often a starting server is asked.
	readyInterval = 20 * time.Millisecond
)

// server is a system's process, with those it has started.
type server struct {
	command *exec.Cmd
	log     string
	exited  chan struct{} // closed when it has been reaped
	err     error         // valid after exited
}

// startServer runs a program with its output in dir, and returns once ready has no error. As is nil
// for our own user.
func startServer(ctx context.Context, dir string, as *syscall.Credential, ready func() error, program string, args ...string) (*server, error) {
	s := &server{log: filepath.Join(dir, "server.log"), exited: make(chan struct{})}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.command = exec.Command(program, args...)
	s.command.Dir, s.command.Stdout, s.command.Stderr = dir, log, log
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: as}
	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the child ends, so this one is kept.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.command.Start()
		started <- err
		if err == nil {
			s.err = s.command.Wait()
			close(s.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	if err := s.await(ctx, ready); err != nil {
		return nil, errors.Join(err, s.stop(syscall.SIGKILL))
	}
	return s, nil
}

// await asks until ready has no error.
func (s *server) await(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w%s", s.command.Path, ctx.Err(), err, s.quote())
		case <-s.exited:
			return fmt.Errorf("%s ended before it was ready: %w%s", s.command.Path, s.err, s.quote())
		case <-ticker.C:
		}
	}
}

// quote is the end of the log, for error messages.
func (s *server) quote() string {
	text, err := os.ReadFile(s.log)
	if err != nil || len(text) == 0 {
		return ""
	}
	const most = 500
	return "\n" + string(bytes.TrimSpace(text[max(0, len(text)-most):]))
}

// stop sends the signal that ends the server and waits for the end. A nil server has ended.
func (s *server) stop(signal syscall.Signal) error {
	if s == nil {
		return nil
	}
	_ = s.command.Process.Signal(signal) // it may have ended
	select {
	case <-s.exited:
		return nil
	case <-time.After(stopTimeout):
		_ = s.command.Process.Kill()
		<-s.exited
		return fmt.Errorf("%s did not end within %s of %s, and was killed", s.command.Path, stopTimeout, signal)
	}
}

// ended is what the server used in its life, with the processes below it; nil: it has not ended, or
// there was none.
func (s *server) ended() *syscall.Rusage {
	if s == nil {
		return nil
	}
	select {
	case <-s.exited:
		usage, _ := s.command.ProcessState.SysUsage().(*syscall.Rusage)
		return usage
	default:
		return nil
	}
}

// usage is what the server and the processes below it have used: CPU time with that of children
// that have ended, and memory that is resident, what they share counted once.
func (s *server) usage() (cpu time.Duration, memory int64, err error) {
	own := s.command.Process.Pid
	for _, pid := range descendants(own) {
		c, err := cpuTime(pid)
		if err != nil && pid != own {
			continue // it has ended since, and its parent has its time
		}
		if err != nil {
			return 0, 0, err
		}
		m, err := proportionalSetSize(pid)
		if err != nil {
			return 0, 0, err
		}
		cpu, memory = cpu+c, memory+m
	}
	return cpu, memory, nil
}

// descendants are a process and all below it.
func descendants(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, descendants(child)...)
			}
		}
	}
	return all
}

// cpuTime is user and system time, with that of children that were waited for.
func cpuTime(pid int) (time.Duration, error) {
	const clockTick = time.Second / 100 // USER_HZ is 100 on every architecture that Go runs Linux on
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the name in brackets and may hold spaces; utime, stime, cutime and cstime
	// are the 12th to the 15th after it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var total time.Duration
	for _, field := range fields[11:15] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		total += time.Duration(ticks) * clockTick
	}
	return total, nil
}

func proportionalSetSize(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Pss:" {
			kB, err := strconv.ParseInt(fields[1], 10, 64)
			return kB << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/smaps_rollup has no Pss", pid)
}

// heldPort is a port of the loopback for one server. It is held until we end, and we start few.
func heldPort() (string, error) {
	held, err := ports.Hold(1)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(held.Addresses[0])
	return port, err
}
