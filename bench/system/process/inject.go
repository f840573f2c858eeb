package process

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// attachTimeout bounds how long strace takes to hold a process.
	attachTimeout = 10 * time.Second
	// releaseTimeout bounds how long it takes to let it go.
	releaseTimeout = 10 * time.Second
)

// Injection is strace tampering with a process's system calls.
type Injection struct{ strace *exec.Cmd }

// Inject lets strace tamper with the named system calls of p ("fsync,fdatasync"), in the terms of
// its -e inject: "error=EIO", "delay_enter=200000" (µs). It returns once every call is tampered
// with. While it lasts strace also stops the process at every other system call for a moment.
func Inject(p *Process, calls, tampering string) (*Injection, error) {
	return attach(p, "-o", "/dev/null", "-e", "trace="+calls, "-e", "inject="+calls+":"+tampering)
}

// Syncs counts the syncs that a process asks the kernel for, from WatchSyncs until Count.
type Syncs struct {
	injection *Injection
	log       string
}

// WatchSyncs lets strace write every sync of p into a file, which is made.
func WatchSyncs(p *Process, log string) (*Syncs, error) {
	i, err := attach(p, "-y", "-o", log, "-e", "trace=fsync,fdatasync")
	if err != nil {
		return nil, err
	}
	return &Syncs{i, log}, nil
}

// Count lets the process go and returns how many syncs were of files whose path contains the text.
func (s *Syncs) Count(path string) (n uint64, err error) {
	s.injection.Release()
	text, err := os.ReadFile(s.log)
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		// A call that others came between has a second line, without the file.
		if call, _, _ := strings.Cut(line, ">"); strings.Contains(call, "sync(") && strings.Contains(call, path) {
			n++
		}
	}
	return n, nil
}

func attach(p *Process, args ...string) (*Injection, error) {
	command := exec.Command("strace", append([]string{"-f", "-p", fmt.Sprint(p.PID())}, args...)...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	stderr, err := command.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("process: strace: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	said := make(chan string, 1) // the first line
	go func() {                  // ends with strace
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			select {
			case said <- lines.Text():
			default:
			}
		}
		close(said)
	}()
	i := &Injection{command}
	select {
	case line := <-said:
		if strings.Contains(line, "attached") {
			return i, nil
		}
		err = fmt.Errorf("process: strace: %s", line)
	case <-time.After(attachTimeout):
		err = errors.New("process: strace did not attach in time")
	}
	i.Release()
	return nil, err
}

// Release lets the process go; its calls are its own again.
func (i *Injection) Release() { i.release(releaseTimeout) }

// release kills a strace that does not end within so long: the kernel then lets the process go.
func (i *Injection) release(within time.Duration) {
	kill := time.AfterFunc(within, func() { _ = i.strace.Process.Kill() })
	defer kill.Stop()
	_ = i.strace.Process.Signal(syscall.SIGINT)
	_ = i.strace.Wait() // its code is the signal's
}
