package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sekali/bench/system/process"
)

// The test binary is also every program of a cluster, when behave is set; "no quorum" is one whose
// stream cannot be made.
const behave = "SEKALI_TEST_CLUSTER"

func TestMain(m *testing.M) {
	behaviour := os.Getenv(behave)
	if behaviour == "" {
		os.Exit(m.Run())
	}
	if os.Args[1] == "reach" {
		conn, err := net.DialTimeout("tcp", os.Args[2], unheard)
		if err != nil {
			os.Exit(1)
		}
		conn.Close()
		os.Exit(0)
	}
	if os.Args[1] == "cluster" {
		if behaviour == "no quorum" {
			fmt.Fprintln(os.Stderr, "no leader")
			os.Exit(1)
		}
		// A stream is made once the log servers listen.
		for _, url := range strings.Split(os.Args[4], ",") {
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
			if err != nil {
				os.Exit(1)
			}
			conn.Close()
		}
		os.Exit(0)
	}
	at := func(flag string) string { return os.Args[slices.Index(os.Args, flag)+1] }
	listener, err := net.Listen("tcp", at("-listen"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go http.Serve(listener, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	fmt.Fprintf(os.Stderr, `{"msg":"listening","addr":%q}`+"\n", listener.Addr())
	<-stop
}

// spoken collects what Supervise says.
type spoken struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *spoken) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(&s.text, text)
}

func (s *spoken) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

func config(t *testing.T) Config {
	return Config{Dir: t.TempDir(), LogServer: os.Args[0], Aggregator: os.Args[0], Nodes: 3, Log: func(string) io.Writer { return io.Discard }}
}

// TestSupervised: what dies is started again on its address, and at the end nothing is left.
func TestSupervised(t *testing.T) {
	t.Setenv(behave, "well")
	c, err := Start(t.Context(), config(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Kill()
	if urls := c.URLs(); len(urls) != 3 || slices.Contains(urls, "") {
		t.Errorf("URLs: %q", urls)
	}
	ctx, stop := context.WithCancel(t.Context())
	var heard spoken
	supervising := make(chan struct{})
	go func() { defer close(supervising); c.Supervise(ctx, heard.say) }()
	url, log := c.Machines[1].URL, c.Machines[2].log.Args
	c.Machines[1].Node.Kill()
	c.Machines[2].Log.Kill()
	for end := time.Now().Add(20 * time.Second); !heard.has("node-2 runs again") || !heard.has("log-3 runs again"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not started again: %s", heard.text.String())
		}
	}
	if !heard.has("node-2 has ended (killed by SIGKILL)") || !heard.has(fmt.Sprintf("node-2 runs again (pid %d)", c.Machines[1].Node.PID())) {
		t.Errorf("%s", heard.text.String())
	}
	stop()
	<-supervising
	if answer, err := http.Get(url + "/readyz"); err != nil || c.Machines[1].URL != url {
		t.Errorf("the node is not where it was: %v", err)
	} else {
		answer.Body.Close()
	}
	if conn, err := net.Dial("tcp", log[slices.Index(log, "-listen")+1]); err != nil {
		t.Errorf("the log server is not where it was: %v", err)
	} else {
		conn.Close()
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Processes() {
		select {
		case <-p.Exited():
		default:
			t.Errorf("process %d is left", p.PID())
		}
	}
}

// TestOneEndIsToldOnce: a process that cannot be started for a while, as when `cluster join` has
// its folder, has ended only once.
func TestOneEndIsToldOnce(t *testing.T) {
	t.Setenv(behave, "well")
	c, err := Start(t.Context(), config(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Kill()
	ctx, stop := context.WithCancel(t.Context())
	m := c.Machines[1]
	var heard spoken
	tries := 0
	start := func() error {
		if tries++; tries < 3 {
			return fmt.Errorf("the folder is in use, as of %v", time.Now())
		}
		return c.StartNode(m)
	}
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		keep(ctx, m.NodeName, heard.say, func() *process.Process { return m.Node }, start)
	}()
	m.Node.Kill()
	for end := time.Now().Add(20 * time.Second); !heard.has("runs again") && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	<-kept
	text := heard.text.String()
	if strings.Count(text, "has ended") != 1 || tries != 3 ||
		strings.Count(text, "cannot be started, and is tried again every 2s: the folder is in use, as of") != 1 || !strings.Contains(text, "runs again") {
		t.Errorf("%s", text)
	}
}

// TestPorts: all follow from the first, and one that is taken is told with whose it is.
func TestPorts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	wanted := config(t)
	wanted.Port = taken.Addr().(*net.TCPAddr).Port
	if c, err := Start(t.Context(), wanted); !errors.Is(err, ErrPort) || !strings.Contains(err.Error(), "node-1 cannot have it") ||
		!strings.Contains(err.Error(), fmt.Sprint(wanted.Port)) {
		t.Errorf("%v, %v", c, err)
	}
	taken.Close()
	if err := wanted.checkPorts(); err != nil {
		t.Skip(err) // somebody else has one of the next
	}
	c, err := plan(t.Context(), wanted)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("nats://127.0.0.1:%d,", wanted.Port+3); !strings.HasPrefix(c.LogURLs(), want) || c.Machines[2].NodeConfig.Listen != loopback(wanted.Port+2) {
		t.Errorf("%s, %s", c.LogURLs(), c.Machines[2].NodeConfig.Listen)
	}
}

// TestNotStarted: what was started is ended if the rest cannot be, and why is said.
func TestNotStarted(t *testing.T) {
	t.Setenv(behave, "no quorum")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a busy machine takes seconds for init
	defer cancel()
	if c, err := Start(ctx, config(t)); err == nil || !strings.Contains(err.Error(), "no leader") {
		t.Errorf("%v, %v", c, err)
	}
	missing := config(t)
	missing.LogServer = filepath.Join(t.TempDir(), "sekali-log")
	if c, err := Start(t.Context(), missing); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v, %v", c, err)
	}
}
