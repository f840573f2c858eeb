package senders_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// stopTimeout bounds how long a sender may take to save its queue, on a busy machine.
	stopTimeout = 60 * time.Second
	// linePeriod is the pause between two lines that a sender is given.
	linePeriod = time.Millisecond
	// page is where the configurations stand.
	page = "../../docs/howto/send.md"
	// pageAddress is the aggregator's address on the page; a trial has its proxy's.
	pageAddress = "127.0.0.1:8080"
	// pageToken stands on the page for the aggregator's token; a trial's aggregator wants it as it is.
	pageToken = "TOKEN"
)

// program is a sender that is a program of its own, as Debian has it.
type program struct {
	t       *testing.T
	path    string
	root    string   // "" if installed, else the folder of the unpacked packages
	stdout  *os.File // nil: the test's stderr
	command *exec.Cmd
	exited  chan struct{} // closed when command has ended
}

// findProgram looks in PATH and among the unpacked packages; the test is skipped without it.
func findProgram(t *testing.T, name, needs string) *program {
	t.Helper()
	p := &program{t: t, root: unpacked}
	for _, dir := range []string{"usr/sbin", "usr/bin", "lib/systemd"} {
		if path := filepath.Join(p.root, dir, name); p.root != "" && isFile(path) && isFile(p.module(needs)) {
			p.path = path
			return p
		}
	}
	p.root = ""
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/lib/systemd") {
		if path := filepath.Join(dir, name); isFile(path) && isFile(p.module(needs)) {
			p.path = path
			return p
		}
	}
	t.Skipf("skipped: there is no %s with %s, neither in PATH nor in $%s", name, needs, unpackedVariable)
	return nil
}

// module is the path of what belongs to the program, by its pattern below the root.
func (p *program) module(pattern string) string {
	found, err := filepath.Glob(filepath.Join("/", p.root, pattern))
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// run is the command with its libraries, which stand below the root if it is unpacked.
func (p *program) run(args ...string) *exec.Cmd {
	command := exec.Command(p.path, args...)
	command.Env = os.Environ()
	if p.root != "" {
		var dirs []string
		for _, pattern := range []string{"usr/lib/*-linux-gnu", "lib/*-linux-gnu", "usr/lib/syslog-ng", "lib/*-linux-gnu/systemd"} {
			found, _ := filepath.Glob(filepath.Join(p.root, pattern)) // the patterns are well-formed
			dirs = append(dirs, found...)
		}
		command.Env = append(command.Env, "LD_LIBRARY_PATH="+strings.Join(dirs, ":"))
	}
	return command
}

// start runs the program in the foreground, as its arguments have to say, until stop.
func (p *program) start(args ...string) {
	p.t.Helper()
	p.command = p.run(args...)
	p.command.Stdout, p.command.Stderr = os.Stderr, os.Stderr
	if p.stdout != nil {
		p.command.Stdout = p.stdout
	}
	// Its workers end with it, and it ends when this process does, however that is. SIGTERM lets it
	// end its workers.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	command, exited, started := p.command, make(chan struct{}), make(chan error, 1)
	p.exited = exited
	go func() {
		runtime.LockOSThread() // the kernel sends Pdeathsig when the thread ends that started the child
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // how it ended is not asked: what it has sent is
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // it may have ended
		<-exited
	})
}

// stop asks the program to end, with SIGTERM, and waits for it.
func (p *program) stop() {
	p.t.Helper()
	select {
	case <-p.exited:
		p.t.Fatalf("%s ended by itself: %v", p.path, p.command.ProcessState)
	default:
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		p.t.Fatalf("%s did not end in %v", p.path, stopTimeout)
	}
}

// kill ends the program with SIGKILL.
func (p *program) kill() {
	p.t.Helper()
	if err := syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	<-p.exited
}

// version is the first number with dots that the program says with a flag.
func (p *program) version(flag string) string {
	p.t.Helper()
	out, err := p.run(flag).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", p.path, flag, err, out)
	}
	return regexp.MustCompile(`\d+(\.\d+)+`).FindString(string(out))
}

// configuration is what the page shows behind <!-- run: NAME -->, with the proxy's address.
func (tr *trial) configuration(name string) string {
	tr.t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		tr.t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^<!-- run: " + regexp.QuoteMeta(name) + " -->\n+```[^\n]*\n(.*?)^```$").FindSubmatch(text)
	if block == nil {
		tr.t.Fatalf("%s has no block behind <!-- run: %s -->", page, name)
	}
	return strings.ReplaceAll(string(block[1]), pageAddress, tr.proxy.Listener.Addr().String())
}

// feed gives a sender events, one at a time. The aggregator is killed at a third and at two thirds,
// and the events go on; between the two the sender is started again.
func (tr *trial) feed(events int, give func(n int) error, restart func()) {
	tr.t.Helper()
	var kills sync.WaitGroup
	defer kills.Wait()
	for n := range events {
		switch n {
		case events / 3, 2 * events / 3:
			kills.Wait()
			kills.Go(tr.kill)
		case events / 2:
			kills.Wait()
			restart()
		}
		if err := give(n); err != nil {
			tr.t.Fatal(err)
		}
		time.Sleep(linePeriod)
	}
}

// newLog makes a file that a sender follows, and writes a line of it at each call.
func newLog(t *testing.T, file string) func(line string) error {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func(line string) error {
		_, err := fmt.Fprintln(f, line)
		return err
	}
}
