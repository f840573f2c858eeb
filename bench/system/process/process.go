// Package process runs the system under test as a process of its own: started on a data folder,
// watched through /proc, stopped, killed and started again, and never left behind.
package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// startTimeout bounds the time until the "listening" line; it covers the replay of a full journal.
	startTimeout = 60 * time.Second
	// probeInterval is how often /readyz is asked; it is the resolution of every "ready after".
	probeInterval = 2 * time.Millisecond
	// maxLineBytes is the longest line of the log that is searched for the "listening" message.
	maxLineBytes = 1 << 20
	// tailLines is how much of the log an error quotes.
	tailLines = 5
)

// Config says what to start.
type Config struct {
	Binary  string
	Under   []string  // the command that runs it, and becomes it: ip netns exec NAME
	Command string    // of the binary, which then takes no data folder and no admin listener; "": none
	Plain   bool      // there are neither listeners nor a data folder to name: Args has all
	Ends    bool      // it listens nowhere, and ends by itself: Start returns at once
	Args    []string  // after the listeners and the data folder
	Environ []string  // beside this process's own, as NAME=value
	Data    string    // data folder, made by the process
	Listen  string    // "" picks a port; a restart gives the address that publishers know
	Log     io.Writer // receives the process's standard error
	// Begin prepares the process before it runs its first instruction; nil: there is nothing to do. It
	// does not go with Under.
	Begin func(pid int) error
}

// Process is one run of the binary. Its methods may be called from several goroutines.
type Process struct {
	URL   string // of the public API, such as http://127.0.0.1:43211
	Addr  string // host and port of the same
	Admin string // URL of the admin listener, "" if there is none

	process *os.Process
	exited  chan struct{} // closed when the process has been reaped
	exit    Exit          // valid after exited
	waitErr error         // valid after exited

	mu   sync.Mutex
	tail [][]byte // the last lines of the log
}

// Exit is how a process ended and what it used in all.
type Exit struct {
	Code   int    // -1 if a signal ended it
	Signal string // "" or the signal's name
	Usage  Usage
}

// EndedError is of a process that was to go on.
type EndedError struct {
	what  string
	Exit  Exit
	Words string // the end of its log, as an error quotes it; "": it said nothing
}

func (e EndedError) Error() string { return fmt.Sprintf("process: %s: %s%s", e.what, e.Exit, e.Words) }

// Start runs the binary and returns once it has said where it listens, if it does. When ctx ends
// the process is killed.
func Start(ctx context.Context, config Config) (*Process, error) {
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	args := []string{"-listen", config.Listen, "-admin", "127.0.0.1:0", "-data", config.Data}
	if config.Command != "" {
		args = []string{config.Command, "-listen", config.Listen}
	}
	if config.Plain {
		args = nil
	}
	line := append(append(slices.Clone(config.Under), config.Binary), append(args, config.Args...)...)
	command := exec.Command(line[0], line[1:]...)
	command.Env = append(command.Environ(), config.Environ...)
	// A group of its own keeps the terminal's ctrl-C from it: the bench decides what ends when.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Ptrace: config.Begin != nil}
	stderr, err := command.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	p := &Process{exited: make(chan struct{})}
	started, listening := make(chan error, 1), make(chan address, 1)
	go p.run(command, stderr, &config, started, listening)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	stop := context.AfterFunc(ctx, p.Kill)
	go func() { <-p.exited; stop() }()

	if config.Ends {
		return p, nil
	}
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case where := <-listening:
		p.Addr, p.URL = where.Addr, "http://"+where.Addr
		if where.Admin != "" {
			p.Admin = "http://" + where.Admin
		}
		return p, nil
	case <-p.exited:
		return nil, EndedError{config.Binary + " ended before it listened", p.exit, p.quote()}
	case <-timeout.C:
		p.Kill()
		<-p.exited
		return nil, fmt.Errorf("process: %s did not say within %s that it listens%s", config.Binary, startTimeout, p.quote())
	}
}

// address is what the process logs once it serves.
type address struct {
	Message string `json:"msg"`
	Addr    string `json:"addr"`
	Admin   string `json:"admin"`
}

// run owns the process from start to reaping. It keeps its thread: the kernel sends Pdeathsig when
// the thread that started a child ends, not when the whole parent does.
func (p *Process) run(command *exec.Cmd, stderr io.Reader, config *Config, started chan<- error, listening chan<- address) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := command.Start()
	if err == nil && config.Begin != nil {
		err = begin(command, config.Begin)
	}
	if err == nil {
		p.process = command.Process
	}
	started <- err
	if err != nil {
		return
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		p.copyLog(stderr, config.Log, listening)
	}()
	usage := p.lastUsage()
	<-copied
	p.waitErr = command.Wait()
	p.exit = exitOf(command.ProcessState, usage)
	close(p.exited)
}

// begin prepares a process that this thread has started, and that waits for it.
func begin(command *exec.Cmd, prepare func(pid int) error) error {
	pid := command.Process.Pid
	var status syscall.WaitStatus
	_, err := syscall.Wait4(pid, &status, 0, nil)
	if err == nil {
		err = prepare(pid)
	}
	if err == nil {
		err = syscall.PtraceDetach(pid)
	}
	if err != nil {
		_ = command.Process.Kill()
		_ = command.Wait() // it was killed
	}
	return err
}

// lastUsage waits until the process is dead and not yet reaped, when its totals are final and still
// readable.
func (p *Process) lastUsage() Usage {
	for {
		err := unix.Waitid(unix.P_PID, p.process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	usage, err := usageOf(p.process.Pid)
	if err != nil {
		return Usage{}
	}
	return usage
}

func exitOf(state *os.ProcessState, usage Usage) Exit {
	exit := Exit{Code: state.ExitCode(), Usage: usage}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Signal = unix.SignalName(status.Signal())
	}
	exit.Usage.CPUNS = int64(state.UserTime() + state.SystemTime())
	if rusage, ok := state.SysUsage().(*syscall.Rusage); ok {
		exit.Usage.RSSMaxBytes = rusage.Maxrss * 1024
	}
	return exit
}

// copyLog copies every line, remembers the last ones and looks for the one that says where the
// process listens.
func (p *Process) copyLog(stderr io.Reader, log io.Writer, listening chan<- address) {
	lines := bufio.NewReaderSize(stderr, maxLineBytes)
	found := false
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			log.Write(line)
			p.remember(line)
		}
		var where address
		if !found && json.Unmarshal(line, &where) == nil && where.Message == "listening" {
			found = true
			listening <- where
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (p *Process) remember(line []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail = append(p.tail, bytes.Clone(line))
	p.tail = p.tail[max(len(p.tail)-tailLines, 0):]
}

// quote is the end of the log, for error messages.
func (p *Process) quote() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tail) == 0 {
		return ""
	}
	return "\n  its last words:\n    " + string(bytes.TrimSpace(bytes.Join(p.tail, []byte("    "))))
}

// String is for messages.
func (e Exit) String() string {
	if e.Signal != "" {
		return "killed by " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// WaitReady asks /readyz until it answers 200, ctx ends or the process does.
func (p *Process) WaitReady(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}, Timeout: time.Second}
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/readyz", nil)
		if err != nil {
			return fmt.Errorf("process: %w", err)
		}
		answer, err := client.Do(request)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process: not ready: %w%s", ctx.Err(), p.quote())
		case <-p.exited:
			return EndedError{"ended before it was ready", p.exit, p.quote()}
		case <-ticker.C:
		}
	}
}

// PID is the number of the process.
func (p *Process) PID() int { return p.process.Pid }

// Signal sends SIGTERM, SIGSTOP and their like; a process that has ended is no error.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("process: %s: %w", unix.SignalName(signal), err)
	}
	return nil
}

// Kill sends SIGKILL.
func (p *Process) Kill() { _ = p.Signal(syscall.SIGKILL) }

// Wait returns how the process ended. When ctx ends first the process is killed, and that is an
// error.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.exited:
		return p.exit, nil
	case <-ctx.Done():
	}
	p.Kill()
	<-p.exited
	return p.exit, fmt.Errorf("process: did not end in time and was killed: %w%s", ctx.Err(), p.quote())
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Ended is an EndedError of a process that has ended, and nil while it goes on.
func (p *Process) Ended() error {
	select {
	case <-p.exited:
		return EndedError{"ended by itself", p.exit, p.quote()}
	default:
		return nil
	}
}

// Killed waits for the end of the process: nil if it was a SIGKILL, else an EndedError.
func (p *Process) Killed() error {
	<-p.exited
	if p.exit.Signal == "SIGKILL" {
		return nil
	}
	return p.Ended()
}

// Stop ends the process gracefully; anything but exit code 0 is an error.
func (p *Process) Stop(ctx context.Context) (Exit, error) {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return Exit{}, err
	}
	exit, err := p.Wait(ctx)
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("process: SIGTERM was answered by %s%s", exit, p.quote())
	}
	return exit, err
}

// Usage is what the process has used so far.
func (p *Process) Usage() (Usage, error) {
	select {
	case <-p.exited:
		return p.exit.Usage, nil
	default:
		return usageOf(p.process.Pid)
	}
}
