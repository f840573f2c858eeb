package process

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary is also the process that the tests start: behave names what it does.
const behave = "SEKALI_TEST_PROCESS"

func TestMain(m *testing.M) {
	switch os.Getenv(behave) {
	case "":
	case "die":
		fmt.Fprintln(os.Stderr, "no such disk")
		os.Exit(1)
	case "parent":
		startAndHang()
	default:
		serve(os.Getenv(behave))
	}
	goleak.VerifyTestMain(m)
}

// serve is a tiny server with the aggregator's command line: it says where it listens and ends on
// SIGTERM.
func serve(behaviour string) {
	var listen, data string
	for i, arg := range os.Args {
		switch arg {
		case "-listen":
			listen = os.Args[i+1]
		case "-data":
			data = os.Args[i+1]
		}
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.MkdirAll(data, 0o700)
	os.WriteFile(filepath.Join(data, "written"), bytes.Repeat([]byte("x"), 1<<20), 0o600)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "not json")
	fmt.Fprintf(os.Stderr, `{"msg":"listening","addr":%q,"admin":"127.0.0.1:1"}`+"\n", listener.Addr())
	ready := time.Now().Add(50 * time.Millisecond)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if time.Now().Before(ready) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	for {
		<-stop
		switch behaviour {
		case "graceful":
			os.Exit(0)
		case "fails":
			fmt.Fprintln(os.Stderr, "could not drain")
			os.Exit(1)
		}
	}
}

// log is a Writer for a process's standard error.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func start(t *testing.T, behaviour string, listen string) (*Process, *log) {
	t.Helper()
	t.Setenv(behave, behaviour)
	text := &log{}
	ctx, cancel := context.WithCancel(context.Background())
	p, err := Start(ctx, Config{Binary: os.Args[0], Data: filepath.Join(t.TempDir(), "data"), Listen: listen, Log: text})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-p.Exited() })
	return p, text
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestStartReadyStop(t *testing.T) {
	p, text := start(t, "graceful", "")
	if p.URL == "" || p.Admin != "http://127.0.0.1:1" {
		t.Errorf("URL %q, Admin %q", p.URL, p.Admin)
	}
	before := time.Now()
	if err := p.WaitReady(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(before); took < 10*time.Millisecond {
		t.Errorf("ready after %s, though the server says 503 for 50 ms", took)
	}
	exit, err := p.Stop(within(t, 10*time.Second))
	if err != nil || exit.Code != 0 || exit.Signal != "" {
		t.Errorf("Stop: %v, %v", exit, err)
	}
	if exit.Usage.CPUNS == 0 || exit.Usage.RSSMaxBytes == 0 {
		t.Errorf("no final usage: %+v", exit.Usage)
	}
	if !strings.Contains(text.String(), "not json") {
		t.Errorf("log lacks a line: %q", text)
	}
}

func TestKillAndRestartOnTheSamePort(t *testing.T) {
	p, _ := start(t, "graceful", "")
	p.Kill()
	exit, err := p.Wait(within(t, 10*time.Second))
	if err != nil || exit.Signal != "SIGKILL" {
		t.Errorf("Wait: %v, %v", exit, err)
	}
	if exit.Usage.WriteBytes < 1<<20 {
		t.Errorf("the dead process's written bytes are lost: %+v", exit.Usage)
	}
	again, _ := start(t, "graceful", p.Addr)
	if again.Addr != p.Addr {
		t.Errorf("restarted at %s instead of %s", again.Addr, p.Addr)
	}
	if err := again.WaitReady(within(t, 10*time.Second)); err != nil {
		t.Error(err)
	}
}

func TestUsageOfALivingProcess(t *testing.T) {
	p, _ := start(t, "graceful", "")
	usage, err := p.Usage()
	if err != nil || usage.RSSBytes == 0 || usage.RSSMaxBytes < usage.RSSBytes || usage.WriteBytes < 1<<20 {
		t.Errorf("%+v, %v", usage, err)
	}
}

func TestWhatGoesWrongIsSaid(t *testing.T) {
	t.Setenv(behave, "die")
	_, err := Start(context.Background(), Config{Binary: os.Args[0], Data: t.TempDir(), Log: &log{}})
	if err == nil || !strings.Contains(err.Error(), "exit code 1") || !strings.Contains(err.Error(), "no such disk") {
		t.Errorf("a process that dies at once: %v", err)
	}
	if _, err := Start(context.Background(), Config{Binary: "/nonexistent", Log: &log{}}); err == nil {
		t.Error("a missing binary is no error")
	}
	failing, _ := start(t, "fails", "")
	if _, err := failing.Stop(within(t, 10*time.Second)); err == nil || !strings.Contains(err.Error(), "could not drain") {
		t.Errorf("exit code 1 after SIGTERM: %v", err)
	}
	// What ends by itself was not killed, and what it said last is told.
	if err := failing.Killed(); err == nil || !strings.Contains(err.Error(), "ended by itself: exit code 1") || !strings.Contains(err.Error(), "could not drain") {
		t.Errorf("not killed: %v", err)
	}
	killed, _ := start(t, "graceful", "")
	killed.Kill()
	if err := killed.Killed(); err != nil {
		t.Errorf("killed: %v", err)
	}
	stubborn, _ := start(t, "stubborn", "")
	if exit, err := stubborn.Stop(within(t, 100*time.Millisecond)); err == nil || exit.Signal != "SIGKILL" {
		t.Errorf("a process that ignores SIGTERM: %v, %v", exit, err)
	}
}

func TestContextEndsTheProcess(t *testing.T) {
	t.Setenv(behave, "stubborn")
	ctx, cancel := context.WithCancel(context.Background())
	p, err := Start(ctx, Config{Binary: os.Args[0], Data: t.TempDir(), Log: &log{}})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if exit, err := p.Wait(within(t, 10*time.Second)); err != nil || exit.Signal != "SIGKILL" {
		t.Errorf("%v, %v", exit, err)
	}
}

// startAndHang is a bench that starts a process and is then killed itself.
func startAndHang() {
	os.Setenv(behave, "stubborn")
	p, err := Start(context.Background(), Config{Binary: os.Args[0], Data: os.Getenv("SEKALI_TEST_DATA"), Log: &log{}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.process.Pid)
	select {}
}

func TestNoProcessOutlivesAKilledBench(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), behave+"=parent", "SEKALI_TEST_DATA="+t.TempDir())
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 20)
	n, err := output.Read(line)
	parent.Process.Kill()
	parent.Wait()
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil || convErr != nil {
		t.Fatalf("the parent said %q: %v, %v", line[:n], err, convErr)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if ended(pid) {
			return
		}
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the aggregator outlived its bench")
		}
	}
}

// ended says that a process is gone, or dead and waiting for whoever inherited it.
func ended(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.HasPrefix(string(text[bytes.LastIndexByte(text, ')')+1:]), " Z")
}
