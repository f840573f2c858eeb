package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// clusterCounters is the part of /stats that must be the same on all nodes at one position.
type clusterCounters struct {
	Unique     int `json:"unique_processed"`
	Duplicates int `json:"duplicate_dropped"`
	Conflicts  int `json:"conflicts"`
	LastSeq    int `json:"last_seq"`
	Cluster    struct {
		Position uint64   `json:"position"`
		Head     uint64   `json:"head"`
		Hash     string   `json:"hash"`
		Leader   string   `json:"log_leader"`
		Outbox   int      `json:"outbox_frames"`
		Faults   []string `json:"faults"`
	} `json:"cluster"`
}

// logServer is a process of the log.
type logServer struct {
	name string
	args []string
	cmd  *exec.Cmd
}

func (s *logServer) start(t *testing.T, program string) {
	t.Helper()
	s.cmd = exec.Command(program, s.args...)
	s.cmd.Stderr = io.Discard
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (s *logServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // its code is the signal's
}

// testCluster is three servers of a log, and three aggregators.
type testCluster struct {
	program string // sekali-log
	logs    []*logServer
	urls    string
	dirs    []string
	locks   []sync.RWMutex // of the nodes: held for writing while one is replaced
	nodes   []*aggregator
}

// freeAddress is a loopback address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// startCluster starts all of it, and returns once every node is ready.
func startCluster(t *testing.T) *testCluster {
	t.Helper()
	c := &testCluster{program: filepath.Join(t.TempDir(), "sekali-log"), locks: make([]sync.RWMutex, 3)}
	build := exec.Command("go", "build", "-trimpath", "-o", c.program, ".")
	build.Dir = "../sekali-log"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("skipped: sekali-log cannot be built here: %v\n%s", err, out)
	}
	var urls, routes []string
	for range 3 {
		urls, routes = append(urls, freeAddress(t)), append(routes, freeAddress(t))
	}
	for i := range 3 {
		name := fmt.Sprint("log-", i+1)
		s := &logServer{name: name, args: []string{"-name", name, "-dir", t.TempDir(), "-listen", urls[i], "-cluster-listen", routes[i], "-routes", strings.Join(routes, ",")}}
		s.start(t, c.program)
		t.Cleanup(s.kill)
		c.logs = append(c.logs, s)
	}
	c.urls = "nats://" + strings.Join(urls, ",nats://")
	if out, err := exec.Command(binary, "cluster", "init", "-cluster", c.urls, "-nodes", "a,b,c").CombinedOutput(); err != nil {
		t.Fatalf("cluster init: %v\n%s", err, out)
	}
	for i, name := range []string{"a", "b", "c"} {
		c.dirs = append(c.dirs, t.TempDir())
		c.nodes = append(c.nodes, nil)
		c.startNode(t, i, name)
	}
	return c
}

func (c *testCluster) startNode(t *testing.T, i int, name string) {
	t.Helper()
	c.nodes[i] = start(t, c.dirs[i], "-cluster", c.urls, "-node", name)
}

// on calls do with a node that is not being replaced.
func (c *testCluster) on(i int, do func(*aggregator)) {
	c.locks[i].RLock()
	defer c.locks[i].RUnlock()
	do(c.nodes[i])
}

func (c *testCluster) counters(t *testing.T, i int) (s clusterCounters) {
	t.Helper()
	body, err := c.nodes[i].get("/stats", "application/json")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// killNode kills a node and starts it again.
func (c *testCluster) killNode(t *testing.T, i int) {
	t.Helper()
	c.nodes[i].kill()
	c.locks[i].Lock()
	defer c.locks[i].Unlock()
	c.startNode(t, i, string(rune('a'+i)))
}

// killLeader kills the log's leader, and returns what starts it again.
func (c *testCluster) killLeader(t *testing.T) (again func()) {
	t.Helper()
	leader := c.counters(t, 0).Cluster.Leader
	for _, s := range c.logs {
		if strings.HasPrefix(leader, s.name+"-") {
			s.kill()
			return func() { s.start(t, c.program) }
		}
	}
	t.Fatalf("the leader %q is none of the servers", leader)
	return nil
}

// load publishes to all nodes until it is told to end, repeats what was not acknowledged on another
// node, and returns the ids that were.
func (c *testCluster) load(t *testing.T, end *atomic.Bool) (acked map[string]bool) {
	acked = map[string]bool{}
	var mu sync.Mutex
	var publishers sync.WaitGroup
	for publisher := range 6 {
		publishers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(publisher), 7))
			for i := 0; !end.Load(); i++ {
				var events, ids []string
				for k := range 20 {
					id := fmt.Sprintf("%d-%d-%d", publisher, i, k)
					if k%4 == 3 {
						id = fmt.Sprint("shared-", random.IntN(2000))
					}
					ids = append(ids, id)
					events = append(events, fmt.Sprintf(`{"topic":"t%d","event_id":"%s","timestamp":"2026-11-23T06:41:10Z","payload":"%s"}`, k%3, id, id))
				}
				body := []byte("[" + strings.Join(events, ",") + "]")
				level := []string{"replicated", "store", "journal"}[random.IntN(3)]
				for at := random.IntN(3); !end.Load(); at = (at + 1) % 3 {
					status := 0
					c.on(at, func(a *aggregator) { status, _, _ = a.publish(body, level) })
					if status/100 == 2 {
						mu.Lock()
						for k, id := range ids {
							acked[fmt.Sprintf("t%d %s", k%3, id)] = true
						}
						mu.Unlock()
						break
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	publishers.Wait()
	return acked
}

// settle waits until all nodes are at one position, with nothing left in an outbox.
func (c *testCluster) settle(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(drainTimeout); ; time.Sleep(50 * time.Millisecond) {
		a, b, d := c.counters(t, 0), c.counters(t, 1), c.counters(t, 2)
		if a.Cluster.Position == b.Cluster.Position && b.Cluster.Position == d.Cluster.Position && a.Cluster.Position >= a.Cluster.Head &&
			a.Cluster.Outbox+b.Cluster.Outbox+d.Cluster.Outbox == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not at one position after %v: %+v, %+v, %+v", drainTimeout, a, b, d)
		}
	}
}

// TestClusterSurvivesKills publishes to three nodes over three log servers, with repeats, while
// aggregators and the log's leader are killed. After it all three have the same events under the
// same seqs, and everything that was acknowledged is among them, once.
func TestClusterSurvivesKills(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it takes half a minute")
	}
	c := startCluster(t)
	var end atomic.Bool
	loaded := make(chan map[string]bool, 1)
	go func() { loaded <- c.load(t, &end) }()
	defer func() { end.Store(true) }()
	time.Sleep(time.Second)
	c.killNode(t, 1)
	again := c.killLeader(t)
	time.Sleep(2 * time.Second)
	c.killNode(t, 2) // while there is no leader: what it has acknowledged is in its journal alone
	again()
	time.Sleep(2 * time.Second)
	end.Store(true)
	acked := <-loaded
	c.settle(t)
	if len(acked) < 1000 {
		t.Errorf("only %d events were acknowledged", len(acked))
	}
	var exports []string
	for i := range c.nodes {
		text, err := c.nodes[i].get("/events", "application/x-ndjson")
		if err != nil {
			t.Fatal(err)
		}
		exports = append(exports, string(text))
	}
	for i := range 2 {
		if exports[i] != exports[i+1] {
			t.Errorf("nodes %d and %d differ: %d and %d bytes", i, i+1, len(exports[i]), len(exports[i+1]))
		}
		if x, y := c.counters(t, i), c.counters(t, i+1); fmt.Sprint(x) != fmt.Sprint(y) {
			t.Errorf("nodes %d and %d differ: %+v, %+v", i, i+1, x, y)
		}
	}
	stored := map[string]int{}
	for line := range strings.Lines(exports[0]) {
		var e struct {
			Topic string `json:"topic"`
			ID    string `json:"event_id"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		stored[e.Topic+" "+e.ID]++
	}
	lost := 0
	for id := range acked {
		if stored[id] != 1 {
			lost++
		}
	}
	for id, n := range stored {
		if n != 1 {
			t.Fatalf("%s is stored %d times", id, n)
		}
	}
	if lost > 0 {
		t.Errorf("of %d acknowledged events %d are not stored", len(acked), lost)
	}
	t.Logf("%d events acknowledged, %d stored", len(acked), len(stored))
	if out, err := exec.Command(binary, "cluster", "status", "-cluster", c.urls).CombinedOutput(); err != nil {
		t.Errorf("cluster status: %v\n%s", err, out)
	}
	for i := range c.nodes {
		c.nodes[i].stop(t)
	}
}
