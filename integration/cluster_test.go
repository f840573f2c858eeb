package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sekali/aggregator/crash"
	"sekali/bench/system/ports"
	"sekali/bench/system/process"
	"sekali/internal/programs"
)

// clusterCounters is the part of /stats that must be the same on all nodes at one position.
type clusterCounters struct {
	Unique     int `json:"unique_processed"`
	Duplicates int `json:"duplicate_dropped"`
	Conflicts  int `json:"conflicts"`
	Expired    int `json:"expired"`
	LastSeq    int `json:"last_seq"`
	Cluster    struct {
		Position uint64   `json:"position"`
		Head     uint64   `json:"head"`
		Hash     string   `json:"hash"`
		Leader   string   `json:"log_leader"`
		Outbox   int      `json:"outbox_frames"`
		Apply    int      `json:"apply"`
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
	program string   // sekali-log
	flags   []string // of the nodes, beside the usual
	logs    []*logServer
	urls    string
	dirs    []string
	locks   []sync.RWMutex // of the nodes: held for writing while one is replaced
	nodes   []*aggregator
}

// logBinary is sekali-log, which is a module of its own.
var logBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "sekali-log")
	build := exec.Command("go", "build", "-trimpath", "-o", path, ".")
	build.Dir = "../sekali-log"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// clusters bounds how many there are at once: each has six processes, and elections that wait for
// them.
var clusters = make(chan struct{}, 2)

// startCluster starts all of it, and returns once every node is ready.
func startCluster(t *testing.T) *testCluster {
	t.Helper()
	return startClusterWith(t, nil, nil)
}

// startClusterWith is startCluster with more flags of the log's servers, and of the nodes.
func startClusterWith(t *testing.T, logFlags, flags []string) *testCluster {
	t.Helper()
	c := startLogs(t, logFlags)
	c.flags = flags
	init := append([]string{"cluster", "init", "-cluster", c.urls, "-nodes", "a,b,c"}, flags...)
	if out, err := exec.Command(binary, init...).CombinedOutput(); err != nil {
		t.Fatalf("cluster init: %v\n%s", err, out)
	}
	for i, name := range []string{"a", "b", "c"} {
		c.dirs = append(c.dirs, t.TempDir())
		c.nodes = append(c.nodes, nil)
		c.startNode(t, i, name)
	}
	return c
}

// startLogs starts the three servers of a log that nobody has made yet.
func startLogs(t *testing.T, flags []string) *testCluster {
	t.Helper()
	program, err := logBinary()
	if err != nil {
		t.Skipf("skipped: sekali-log cannot be built here: %v", err)
	}
	clusters <- struct{}{}
	t.Cleanup(func() { <-clusters })
	c := &testCluster{program: program, locks: make([]sync.RWMutex, 3)}
	held, err := ports.Hold(6)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Release)
	urls, routes := held.Addresses[:3], held.Addresses[3:]
	for i := range 3 {
		name := fmt.Sprint("log-", i+1)
		args := []string{"-name", name, "-dir", t.TempDir(), "-listen", urls[i], "-cluster-listen", routes[i], "-routes", strings.Join(routes, ",")}
		s := &logServer{name: name, args: append(args, flags...)}
		s.start(t, c.program)
		t.Cleanup(s.kill)
		c.logs = append(c.logs, s)
	}
	c.urls = "nats://" + strings.Join(urls, ",nats://")
	return c
}

func (c *testCluster) startNode(t *testing.T, i int, name string) {
	t.Helper()
	c.nodes[i] = start(t, c.dirs[i], append([]string{"-cluster", c.urls, "-node", name}, c.flags...)...)
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
	t.Parallel()
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
	if version := c.counters(t, 0).Cluster.Apply; version != 2 {
		t.Errorf("a new log begins with apply version %d, want 2, of which frames are packed", version)
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

// TestClusterLogIsWatched: a log whose settings would lose something is refused while that lasts,
// and one that was made anew under the same name halts every node.
func TestClusterLogIsWatched(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes a quarter of a minute")
	}
	c := startCluster(t)
	c.nodes[0].mustPublish(t, []byte(`{"topic":"t","event_id":"1","timestamp":"2026-11-23T06:41:10Z"}`), "store")
	if text, err := c.nodes[2].get("/events?min_position=1-1", "application/json"); err != nil || !strings.Contains(string(text), `"event_id":"1"`) {
		t.Fatalf("before anything is changed a node serves %s, %v", text, err)
	}
	js := c.jetstream(t)
	s, err := js.Stream(t.Context(), "SEKALI_1")
	if err != nil {
		t.Fatal(err)
	}
	good := s.CachedInfo().Config
	bad := good
	bad.Discard = jetstream.DiscardOld
	if _, err := js.UpdateStream(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	c.awaitReadyz(t, "log_not_synced", "discards old messages")
	if status, text, err := c.nodes[0].publish([]byte(`{"topic":"t","event_id":"2","timestamp":"2026-11-23T06:41:10Z"}`), "replicated"); status != 503 || err != nil {
		t.Errorf("published over a log that discards: %d %s %v", status, text, err)
	}
	if _, err := js.UpdateStream(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	c.awaitReadyz(t, "", "ok")
	if err := js.DeleteStream(t.Context(), "SEKALI_1"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	c.awaitReadyz(t, "halted", "made anew")
	if status, text, err := c.nodes[1].publish([]byte(`{"topic":"t","event_id":"3","timestamp":"2026-11-23T06:41:10Z"}`), "journal"); status != 503 || err != nil {
		t.Errorf("published to a halted node: %d %s %v", status, text, err)
	}
	if text, err := c.nodes[2].get("/events", "application/json"); err != nil || !strings.Contains(string(text), `"event_id":"1"`) {
		t.Errorf("a halted node serves %s, %v", text, err)
	}
}

// jetstream is a client of the log of its own.
func (c *testCluster) jetstream(t *testing.T) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(c.urls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// TestClusterWithoutQuorum: of three log servers one is left. Every node says no_quorum, and names
// the two; once they are back, it takes events again.
func TestClusterWithoutQuorum(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes half a minute")
	}
	c := startCluster(t)
	for _, s := range c.logs[:2] {
		s.kill()
	}
	status, text, err := c.nodes[0].publish([]byte(`{"topic":"t","event_id":"1","timestamp":"2026-11-23T06:41:10Z"}`), "replicated")
	if status != 503 || err != nil || !strings.Contains(string(text), "no_quorum") {
		t.Errorf("published without a quorum: %d %s %v", status, text, err)
	}
	c.awaitReadyz(t, "no_quorum", "do not answer: log-")
	answer, err := c.nodes[0].client.Get(c.nodes[0].URL + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	stats := struct {
		Cluster struct {
			Peers []struct {
				Name    string `json:"name"`
				Offline bool   `json:"offline"`
			} `json:"log_peers"`
		} `json:"cluster"`
	}{}
	if err := json.NewDecoder(answer.Body).Decode(&stats); err != nil {
		t.Fatal(err)
	}
	for _, p := range stats.Cluster.Peers {
		if p.Offline == strings.HasPrefix(p.Name, "log-3-") || p.Name == "" {
			t.Errorf("%+v", p)
		}
	}
	if len(stats.Cluster.Peers) != 3 {
		t.Errorf("the log's servers are %+v", stats.Cluster.Peers)
	}
	for _, s := range c.logs[:2] {
		s.start(t, c.program)
	}
	c.awaitReadyz(t, "", "ok")
}

// awaitReadyz waits until /readyz of every node has the code and says so; without a code, until it
// is ready.
func (c *testCluster) awaitReadyz(t *testing.T, code, detail string) {
	t.Helper()
	for i, n := range c.nodes {
		status, said := 0, ""
		for end := time.Now().Add(readyTimeout); ; time.Sleep(50 * time.Millisecond) {
			if answer, err := n.client.Get(n.URL + "/readyz"); err == nil {
				text, _ := io.ReadAll(answer.Body)
				answer.Body.Close()
				status, said = answer.StatusCode, string(text)
			}
			if code == "" && status == 200 && strings.HasPrefix(said, detail) ||
				code != "" && strings.Contains(said, `"code":"`+code+`"`) && strings.Contains(said, detail) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("node %d says %s, want %s: %s", i, said, code, detail)
			}
		}
	}
}

// runCommand runs a command of the aggregator that has to end with the code. It returns its words.
func runCommand(t *testing.T, code int, args ...string) string {
	t.Helper()
	command := exec.Command(binary, args...)
	out, _ := command.CombinedOutput() // its code is looked at
	if got := command.ProcessState.ExitCode(); got != code {
		t.Fatalf("%v: exit %d, want %d: %s", args, got, code, out)
	}
	return string(out)
}

// batch is n events under ids of their own.
func batch(name string, n int) []byte {
	var events []string
	for i := range n {
		events = append(events, fmt.Sprintf(`{"topic":"t","event_id":"%s-%d","timestamp":"2026-11-23T06:41:10Z"}`, name, i))
	}
	return []byte("[" + strings.Join(events, ",") + "]")
}

// TestClusterLostLog: the log is lost on all three servers, while one node is behind and others
// have in their journals what no log ever had. A new epoch begins with the furthest replica. The
// one behind is made from a copy of it, and keeps its own journal. What was acknowledged is there.
func TestClusterLostLog(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes half a minute")
	}
	c := startCluster(t)
	c.nodes[0].mustPublish(t, batch("first", 100), "store")
	c.settle(t)
	c.nodes[2].kill() // c is behind from here on
	c.nodes[0].mustPublish(t, batch("second", 50), "store")
	for a, b := c.counters(t, 0), c.counters(t, 1); a.Cluster.Position != b.Cluster.Position; b = c.counters(t, 1) {
		time.Sleep(10 * time.Millisecond)
	}
	for _, s := range c.logs {
		s.kill()
	}
	c.nodes[1].mustPublish(t, batch("third", 5), "journal")
	c.startUnready(t, 2)
	c.nodes[2].mustPublish(t, batch("fourth", 5), "journal")
	for i := range c.nodes {
		c.nodes[i].kill()
	}
	for _, s := range c.logs {
		dir := s.args[3]
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		s.start(t, c.program)
	}
	epoch := []string{"cluster", "new-epoch", "-cluster", c.urls, "-data"}
	runCommand(t, 0, append(epoch, c.dirs[0], "-begin", "-nodes", "a,b,c")...)
	runCommand(t, 0, append(epoch, c.dirs[1])...)
	if said := runCommand(t, 1, append(epoch, c.dirs[2])...); !strings.Contains(said, "make it from a copy") {
		t.Errorf("of a replica that is behind it says %s", said)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	runCommand(t, 0, "backup", "-data", c.dirs[0], "-to", copied)
	runCommand(t, 0, "cluster", "join", "-cluster", c.urls, "-data", c.dirs[2], "-from", copied)
	for i, name := range []string{"a", "b", "c"} {
		c.startNode(t, i, name)
	}
	c.settle(t)
	var before string
	for i := range c.nodes {
		text, err := c.nodes[i].get("/events", "application/x-ndjson")
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(string(text), "\n"); lines != 160 {
			t.Errorf("node %d has %d events, want 160", i, lines)
		}
		if i > 0 && string(text) != before {
			t.Errorf("nodes %d and %d differ", i-1, i)
		}
		before = string(text)
	}
	if status, text, err := c.read(0, "/events?min_position=1-1"); status != 409 || !strings.Contains(text, "epoch_changed") {
		t.Errorf("a position of the lost log: %d %s %v", status, text, err)
	}
	runCommand(t, 0, "cluster", "status", "-cluster", c.urls)
	init := []string{"cluster", "init", "-cluster", c.urls, "-nodes"} // of a log that a later one has followed
	if said := runCommand(t, 0, append(init, "a,b,c")...); !strings.Contains(said, "there already, of epoch 2") {
		t.Errorf("cluster init says %s", said)
	}
	runCommand(t, 1, append(init, "a,b")...)
	for i := range c.nodes {
		c.nodes[i].stop(t)
		runCommand(t, 0, "check", "-data", c.dirs[i])
	}
}

// TestClusterBeginsWithTheFurthest: a new epoch that is begun while nodes run, named by -nodes or
// not, or with a replica that is behind, is refused, and makes no log: the furthest can begin it.
func TestClusterBeginsWithTheFurthest(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes half a minute")
	}
	c := startCluster(t)
	c.settle(t)
	c.nodes[2].stop(t)
	epoch := []string{"cluster", "new-epoch", "-cluster", c.urls, "-data"}
	begin := []string{"-begin", "-log-bytes", fmt.Sprint(64 << 20), "-nodes", "b,c"}
	if said := runCommand(t, 1, append(append(epoch, c.dirs[2]), begin...)...); !strings.Contains(said, "how far they are: a, b") {
		t.Errorf("while two nodes run it says %s", said)
	}
	begin[len(begin)-1] = "a,b,c"
	c.nodes[0].mustPublish(t, batch("first", 10), "store") // c is behind from here on
	for a, b := c.counters(t, 0), c.counters(t, 1); a.Cluster.Position != b.Cluster.Position; b = c.counters(t, 1) {
		time.Sleep(10 * time.Millisecond)
	}
	for _, n := range c.nodes[:2] {
		n.stop(t) // and tells where it is
	}
	if said := runCommand(t, 1, append(append(epoch, c.dirs[2]), begin...)...); !strings.Contains(said, "another replica is further: node a was at") {
		t.Errorf("of a replica that is behind it says %s", said)
	}
	runCommand(t, 0, append(append(epoch, c.dirs[0]), begin...)...)
	runCommand(t, 0, append(epoch, c.dirs[1])...)
	if said := runCommand(t, 1, append(epoch, c.dirs[2])...); !strings.Contains(said, "make it from a copy") {
		t.Errorf("of a replica that is behind it says %s", said)
	}
}

// startUnready starts a node that has no log.
func (c *testCluster) startUnready(t *testing.T, i int) {
	t.Helper()
	c.nodes[i] = startUnready(t, c.dirs[i], "-cluster", c.urls, "-node", string(rune('a'+i)))
}

// read gets a path of a node, whatever the status.
func (c *testCluster) read(i int, path string) (int, string, error) {
	answer, err := c.nodes[i].client.Get(c.nodes[i].URL + path)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// TestClusterCrashPlaces kills a node at each place between its journal, the log and its store, and
// compares the replicas after each: what was acknowledged is there, and nothing twice.
func TestClusterCrashPlaces(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes half a minute")
	}
	mortal := filepath.Join(t.TempDir(), "aggregator")
	if err := programs.Build(mortal, programs.CrashTag, "aggregator"); err != nil {
		t.Fatal(err)
	}
	c := startCluster(t)
	c.nodes[1].kill()
	acked := 0
	for round, place := range []string{crash.JournalSynced, crash.LogSending, crash.LogAnswered, crash.LogSeen, crash.StoreApplied, crash.StoreCommitted, crash.WriterAnswer} {
		flags := []string{"-cluster", c.urls, "-node", "b"}
		log := &logged{}
		p, err := process.Start(context.Background(), process.Config{Binary: mortal, Args: flags, Data: c.dirs[1], Environ: []string{"SEKALI_CRASH=" + place + ":3"}, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		c.nodes[1].Process = p
		sent, died := 0, false
		for end := time.Now().Add(readyTimeout); !died; {
			select {
			case <-p.Exited():
				died = true
			case <-time.After(10 * time.Millisecond):
				if status, _, err := c.nodes[1].publish(batch(fmt.Sprint(round, "-", sent), 3), "store"); err == nil && status == 200 {
					acked += 3
					sent++
				}
			}
			if time.Now().After(end) {
				t.Fatalf("%s was never passed", place)
			}
		}
		alive, err := launch(t, mortal, c.dirs[1], flags...)
		if err != nil {
			t.Fatal(err)
		}
		c.nodes[1] = alive
		c.awaitReadyz(t, "", "ok")
		c.nodes[1].mustPublish(t, batch(fmt.Sprint(round, "-", sent), 3), "store") // again, what had no answer
		acked += 3
		c.settle(t)
		if x, y := c.counters(t, 0), c.counters(t, 1); fmt.Sprint(x) != fmt.Sprint(y) || x.Unique != acked {
			t.Errorf("after a crash at %s: %+v and %+v, want %d events", place, x, y, acked)
		}
		c.nodes[1].kill()
	}
}

// TestClusterSkipsPoison: a message that is no frame halts every node. Once an operator has told to
// pass over it, and the nodes are started again, they go on, alike; what was told in error is
// refused. Meanwhile content expires at one place of the log.
func TestClusterSkipsPoison(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes half a minute")
	}
	c := startCluster(t)
	c.nodes[0].mustPublish(t, batch("first", 20), "store")
	c.settle(t)
	skip := []string{"cluster", "skip", "-cluster", c.urls, "-position"}
	if said := runCommand(t, 1, append(skip, "1")...); !strings.Contains(said, "has applied message 1") {
		t.Errorf("to pass over what was applied: %s", said)
	}
	runCommand(t, 2, append(skip, "99")...)
	ack, err := c.jetstream(t).Publish(t.Context(), "sekali.1.log.0", []byte("poison"))
	if err != nil {
		t.Fatal(err)
	}
	c.awaitReadyz(t, "halted", fmt.Sprintf("message %d of the log", ack.Sequence))
	position := fmt.Sprint(ack.Sequence)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) { // until all have told
		if out, err := exec.Command(binary, append(skip, position)...).CombinedOutput(); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("cluster skip: %v\n%s", err, out)
		}
	}
	for i, name := range []string{"a", "b", "c"} {
		c.nodes[i].kill()
		c.nodes[i] = start(t, c.dirs[i], "-cluster", c.urls, "-node", name, "-retention", "2s")
	}
	c.awaitReadyz(t, "", "ok")
	c.nodes[1].mustPublish(t, batch("second", 20), "store")
	for end := time.Now().Add(drainTimeout); ; time.Sleep(100 * time.Millisecond) {
		expired := 0
		for i := range c.nodes {
			if s := c.counters(t, i); s.Expired == 40 {
				expired++
			}
		}
		if expired == len(c.nodes) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("not all has expired on all nodes")
		}
	}
	c.nodes[2].mustPublish(t, batch("second", 20), "store") // duplicates of what has expired
	c.settle(t)
	for i := range 2 {
		if x, y := c.counters(t, i), c.counters(t, i+1); fmt.Sprint(x) != fmt.Sprint(y) || x.Unique != 40 || x.Duplicates != 20 || x.Conflicts != 0 {
			t.Errorf("nodes %d and %d: %+v, %+v", i, i+1, x, y)
		}
	}
	for i := range c.nodes {
		c.nodes[i].stop(t)
		runCommand(t, 0, "check", "-data", c.dirs[i])
	}
}

// TestClusterHaltsAtPanic: a message that makes the program panic where it is applied ends no node:
// all halt before it, say so, and serve what they have. An operator has them pass over it.
func TestClusterHaltsAtPanic(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes half a minute")
	}
	mortal := filepath.Join(t.TempDir(), "aggregator")
	if err := programs.Build(mortal, programs.CrashTag, "aggregator"); err != nil {
		t.Fatal(err)
	}
	c := startCluster(t)
	again := func() {
		t.Helper()
		for i, name := range []string{"a", "b", "c"} {
			c.nodes[i].stop(t)
			alive, err := launchIn(t, []string{"SEKALI_POISON=poison"}, mortal, c.dirs[i], "-cluster", c.urls, "-node", name)
			if err != nil {
				t.Fatal(err)
			}
			c.nodes[i] = alive
		}
	}
	again()
	c.awaitReadyz(t, "", "ok")
	c.nodes[0].mustPublish(t, batch("first", 20), "store")
	c.settle(t)
	at := c.counters(t, 0).Cluster.Position + 1
	poison := []byte(`[{"topic":"poison","event_id":"p","timestamp":"2026-11-23T06:41:10Z","payload":1}]`)
	if status, _, err := c.nodes[0].publish(poison, "replicated"); err != nil || status/100 != 2 && status != 503 {
		t.Fatal(status, err)
	}
	says := fmt.Sprintf("message %d of the log: it makes this program panic: the topic poison is poison", at)
	c.awaitReadyz(t, "halted", says)
	again()
	c.awaitReadyz(t, "halted", says)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) { // until all have told
		command := exec.Command(binary, "cluster", "status", "-cluster", c.urls)
		said, _ := command.CombinedOutput() // its code is looked at
		if strings.Count(string(said), says) == 3 && command.ProcessState.ExitCode() == 1 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("cluster status: exit %d: %s", command.ProcessState.ExitCode(), said)
		}
	}
	runCommand(t, 0, "cluster", "skip", "-cluster", c.urls, "-position", fmt.Sprint(at))
	again()
	c.awaitReadyz(t, "", "ok")
	c.nodes[1].mustPublish(t, batch("second", 20), "store")
	c.settle(t)
	for i := range 2 {
		if x, y := c.counters(t, i), c.counters(t, i+1); fmt.Sprint(x) != fmt.Sprint(y) || x.Unique != 40 {
			t.Errorf("nodes %d and %d: %+v, %+v", i, i+1, x, y)
		}
	}
	for i := range c.nodes {
		c.nodes[i].stop(t)
		runCommand(t, 0, "check", "-data", c.dirs[i])
	}
}
