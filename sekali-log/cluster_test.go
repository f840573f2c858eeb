package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sekali/bench/system/ports"
)

// The test binary is the program, too, when the environment says so.
const runVariable = "SEKALI_LOG_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runVariable) == "" {
		os.Exit(m.Run())
	}
	os.Unsetenv(runVariable)
	main()
}

// cluster is three servers, each a process with a folder.
type cluster struct {
	t       *testing.T
	servers []*member
	routes  []string
	extra   []string // flags of all
}

type member struct {
	name, dir, listen, route string
	lazy                     bool     // the control: it syncs now and then, as JetStream does by default
	under                    []string // the command that starts it, such as ip netns exec
	command                  *exec.Cmd
	exited                   chan struct{}

	mu     sync.Mutex
	log    bytes.Buffer
	jsName string // as JetStream knows it
}

// newCluster starts three servers and waits until they have a leader.
func newCluster(t *testing.T, extra ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, extra: extra}
	addresses := hold(t, 6)
	for i := range 3 {
		m := &member{name: fmt.Sprintf("log-%d", i+1), dir: filepath.Join(t.TempDir(), "log"), listen: addresses[2*i], route: addresses[2*i+1]}
		c.servers, c.routes = append(c.servers, m), append(c.routes, m.route)
	}
	return c
}

func (c *cluster) startAll() *cluster {
	c.t.Helper()
	for _, m := range c.servers {
		c.start(m)
	}
	for _, m := range c.servers {
		c.listening(m)
	}
	return c
}

// hold keeps addresses for servers until the test ends: each server has its own in every life.
func hold(t *testing.T, n int) []string {
	t.Helper()
	held, err := ports.Hold(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Release)
	return held.Addresses
}

func (c *cluster) start(m *member, more ...string) {
	c.t.Helper()
	args := []string{"-name", m.name, "-dir", m.dir, "-listen", m.listen, "-cluster-listen", m.route, "-routes", strings.Join(c.routes, ",")}
	if m.lazy {
		args = append(args, "-lab-lazy-sync")
	}
	line := append(append([]string{}, m.under...), os.Args[0])
	line = append(append(append(line, args...), c.extra...), more...)
	m.command = exec.Command(line[0], line[1:]...)
	m.command.Env = append(os.Environ(), runVariable+"=1")
	m.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := m.command.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := m.command.Start(); err != nil {
		c.t.Fatal(err)
	}
	m.mu.Lock()
	m.log.Reset()
	m.jsName = ""
	m.mu.Unlock()
	exited := make(chan struct{})
	m.exited = exited
	command := m.command
	go func() {
		defer close(exited)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			m.read(lines.Bytes())
		}
		command.Wait()
	}()
	c.t.Cleanup(func() {
		command.Process.Kill()
		<-exited
		if c.t.Failed() {
			m.mu.Lock()
			c.t.Logf("%s:\n%s", m.name, m.log.String())
			m.log.Reset()
			m.mu.Unlock()
		}
	})
}

// read takes a line of a server's log.
func (m *member) read(line []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintf(&m.log, "%s\n", line)
	var said struct{ Msg, Name string }
	if json.Unmarshal(line, &said) == nil && said.Msg == "listening" {
		m.jsName = said.Name
	}
}

func (m *member) says(text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Contains(m.log.String(), text)
}

func (m *member) identityNow() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.jsName
}

func (c *cluster) listening(m *member) {
	c.t.Helper()
	c.within(40*time.Second, m.name+" listens", func() bool {
		select {
		case <-m.exited:
			c.t.Fatalf("%s has ended", m.name)
		default:
		}
		return m.identityNow() != ""
	})
}

// end sends a signal and waits until the process is gone; the code is -1 if the signal ended it.
func (m *member) end(s syscall.Signal) int {
	m.command.Process.Signal(s)
	<-m.exited
	return m.command.ProcessState.ExitCode()
}

// within waits until a thing is so.
func (c *cluster) within(d time.Duration, what string, so func() bool) {
	c.t.Helper()
	for end := time.Now().Add(d); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// urls are all servers', as an aggregator is given them.
func (c *cluster) urls() string {
	var all []string
	for _, m := range c.servers {
		all = append(all, "nats://"+m.listen)
	}
	return strings.Join(all, ",")
}

func (c *cluster) connect(options ...nats.Option) *nats.Conn {
	c.t.Helper()
	options = append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond), nats.ReconnectBufSize(-1),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(2 * time.Second)}, options...)
	nc, err := nats.Connect(c.urls(), options...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	return nc
}

// stream makes the stream as soon as the cluster has a leader.
func (c *cluster) stream(nc *nats.Conn) jetstream.Stream {
	c.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	var stream jetstream.Stream
	var last error
	end := time.Now().Add(40 * time.Second)
	for stream == nil && time.Now().Before(end) {
		ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
		stream, last = js.CreateStream(ctx, jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log"}, Replicas: 3, Storage: jetstream.FileStorage,
			Discard: jetstream.DiscardNew, MaxBytes: 256 << 20, DenyDelete: true, AllowDirect: true})
		cancel()
		if stream == nil {
			time.Sleep(200 * time.Millisecond)
		}
	}
	if stream == nil {
		c.t.Fatal("no stream: ", last)
	}
	return stream
}

// ready waits until all three have the stream.
func (c *cluster) ready() (*nats.Conn, jetstream.JetStream, jetstream.Stream) {
	c.t.Helper()
	nc := c.connect()
	stream := c.stream(nc)
	c.healed(stream)
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	return nc, js, stream
}

// info is the stream's state, nil while nobody says it.
func (c *cluster) info(stream jetstream.Stream) *jetstream.StreamInfo {
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
	defer cancel()
	info, err := stream.Info(ctx)
	if err != nil || info.Cluster == nil || info.Cluster.Leader == "" {
		return nil
	}
	return info
}

// healed waits until all three have all of the stream.
func (c *cluster) healed(stream jetstream.Stream) *jetstream.StreamInfo {
	c.t.Helper()
	var info *jetstream.StreamInfo
	c.within(60*time.Second, "three current replicas", func() bool {
		if info = c.info(stream); info == nil || len(info.Cluster.Replicas) != 2 {
			return false
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline || r.Lag != 0 {
				return false
			}
		}
		return true
	})
	return info
}

// by finds a server by the name that JetStream has for it.
func (c *cluster) by(name string) *member {
	c.t.Helper()
	for _, m := range c.servers {
		if m.identityNow() == name {
			return m
		}
	}
	c.t.Fatalf("no server is called %q", name)
	return nil
}

// leader is the server that leads the stream.
func (c *cluster) leader(stream jetstream.Stream) *member {
	c.t.Helper()
	return c.by(c.filled(stream, 0).Cluster.Leader)
}

// filled waits until the stream has so many events, and somebody who says so.
func (c *cluster) filled(stream jetstream.Stream, events uint64) *jetstream.StreamInfo {
	c.t.Helper()
	var info *jetstream.StreamInfo
	c.within(40*time.Second, fmt.Sprintf("a leader with %d events", events), func() bool {
		info = c.info(stream)
		return info != nil && info.State.Msgs >= events
	})
	return info
}
