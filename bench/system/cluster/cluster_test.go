package cluster

import (
	"context"
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
)

// The test binary is also every program of a cluster, when behave is set; "no quorum" is one whose
// stream cannot be made.
const behave = "SEKALI_TEST_CLUSTER"

func TestMain(m *testing.M) {
	behaviour := os.Getenv(behave)
	if behaviour == "" {
		os.Exit(m.Run())
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
	if !heard.has("node-2 has ended (killed by SIGKILL)") {
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

// TestNotStarted: what was started is ended if the rest cannot be, and why is said.
func TestNotStarted(t *testing.T) {
	t.Setenv(behave, "no quorum")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
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
