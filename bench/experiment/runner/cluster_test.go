package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekali/bench/scenario"
	"sekali/bench/system/memoryserver"
)

// The stand-in for a cluster: log servers that only listen, a first node that keeps events in
// memory, and further ones that hand everything to it. So all replicas give the same, unless the
// test says which lie.
const lackVariable = "SEKALI_TEST_REPLICA_LACKS"

// argument is what stands behind a flag.
func argument(name string) string {
	for i, arg := range os.Args[:len(os.Args)-1] {
		if arg == name {
			return os.Args[i+1]
		}
	}
	return ""
}

// serveOfCluster is what the test binary does as a program of a cluster.
func serveOfCluster() error {
	if len(os.Args) > 2 && os.Args[1] == "cluster" { // init
		return nil
	}
	listener, err := net.Listen("tcp", argument("-listen"))
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	say := func() { fmt.Fprintf(os.Stderr, `{"msg":"listening","addr":%q,"admin":""}`+"\n", listener.Addr()) }
	if argument("-name") != "" {
		say()
		<-stop
		return nil
	}
	data := argument("-data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	first := filepath.Join(filepath.Dir(data), "first")
	var handler http.Handler
	var memory *memoryserver.Server
	if argument("-node") == "node-1" {
		if memory, err = memoryserver.Open(filepath.Join(data, "requests.log")); err != nil {
			return err
		}
		handler = leads{memory}
		if err := os.WriteFile(first+".new", []byte("http://"+listener.Addr().String()), 0o600); err != nil {
			return err
		}
		if err := os.Rename(first+".new", first); err != nil {
			return err
		}
	} else if handler, err = handOver(first); err != nil {
		return err
	}
	go http.Serve(listener, handler)
	say()
	<-stop
	if memory != nil {
		return writeDatabase(data, memory.Stored())
	}
	return writeDatabase(data, storedBy(handler))
}

// leads adds to the figures which log server leads.
type leads struct{ http.Handler }

func (l leads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/stats" {
		l.Handler.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	l.Handler.ServeHTTP(answer, r)
	w.Write(bytes.Replace(answer.Body.Bytes(), []byte("{"), []byte(`{"cluster":{"log_leader":"log-2-0abc"},`), 1))
}

// handOver is a node that gives what the first one has, but for an event that it lacks.
func handOver(first string) (http.Handler, error) {
	var text []byte
	err := os.ErrNotExist
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		text, err = os.ReadFile(first)
	}
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(string(text))
	if err != nil {
		return nil, err
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(answer *http.Response) error {
		if os.Getenv(lackVariable) != argument("-node") || answer.Request.URL.Path != "/events" {
			return nil
		}
		body, err := io.ReadAll(answer.Body)
		lines := bytes.SplitAfter(body, []byte("\n"))
		answer.Body = io.NopCloser(bytes.NewReader(bytes.Join(append(lines[:7:7], lines[8:]...), nil)))
		answer.Header.Del("Content-Length")
		answer.ContentLength = -1
		return err
	}
	return proxy, nil
}

func storedBy(handler http.Handler) int {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/stats", nil))
	var now stats
	if err := json.Unmarshal(answer.Body.Bytes(), &now); err != nil {
		return -1
	}
	return int(now.UniqueProcessed)
}

// clusterPrograms is a folder with the test binary under the names of a cluster's programs.
func clusterPrograms(t *testing.T) (aggregator string) {
	t.Helper()
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"aggregator", "sekali-log"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "aggregator")
}

// TestCluster: all nodes are started, loaded and held to each other, and a replica that lacks an
// event is found.
func TestCluster(t *testing.T) {
	const three = "cluster: {nodes: 3}\naggregator: {ack: journal}\n"
	for name, test := range map[string]struct {
		text, lacks string
		role        string
		held        bool
	}{
		"undisturbed":         {three, "", "", true},
		"a replica lacks one": {three, "node-3", "", false},
		"leader killed":       {three + "fault: {kind: sigkill, role: log-leader, at: 600ms, restart_after: 100ms}", "", "log-leader", true},
		"follower stopped":    {three + "fault: {kind: sigterm, role: log-follower, at: 600ms}", "", "log-follower", true},
		"node killed":         {three + "fault: {kind: sigkill, role: node, at: 600ms, restart_after: 100ms}", "", "node", true},
		"machine killed":      {three + "fault: {kind: sigkill, role: leader-machine, at: 600ms, restart_after: 100ms}", "", "leader-machine", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(serveVariable, "cluster")
			t.Setenv(lackVariable, test.lacks)
			o := runBench(t, context.Background(), Config{Scenarios: parse(t, short+test.text), Aggregator: clusterPrograms(t)})
			run := o.run(t, 0)
			if run.Held() != test.held || run.Cluster == nil || run.Cluster.Nodes != 3 {
				t.Errorf("held %v:\n%s", run.Held(), o.output)
			}
			missing := uint64(0)
			databases := 0
			for _, check := range run.Audit.Checks {
				switch check.Name {
				case "replica_events_missing":
					missing = check.Got
				case "replica_database_events":
					databases++
				}
			}
			if (missing == 1) != (test.lacks != "") || databases != 2 {
				t.Errorf("%d events missing, %d databases: %+v", missing, databases, run.Audit.Checks)
			}
			if test.role != "" && (run.Fault == nil || run.Fault.Role != test.role || run.Fault.ExitedNS == 0 || run.Fault.ReadyNS < run.Fault.ExitedNS || run.Summary.UnansweredS == nil) {
				t.Errorf("fault %+v, unanswered for %v s", run.Fault, run.Summary.UnansweredS)
			}
			if test.lacks != "" && !strings.Contains(o.output, "is in node-1 and not in node-3") {
				t.Errorf("what is missing is not named:\n%s", o.output)
			}
		})
	}
}

// TestAwaitLevel: replicas that go on are waited for as long as that takes; those that stand still
// apart are not, and one look is not enough to call them level.
func TestAwaitLevel(t *testing.T) {
	const most, every = 100 * time.Millisecond, 5 * time.Millisecond
	for name, c := range map[string]struct {
		look  func(n int) ([]place, bool)
		fails bool
		looks int // at least
	}{
		"level at once": {func(int) ([]place, bool) { return []place{{Position: 7}, {Position: 7}}, true }, false, 2},
		"they go on for long": {func(n int) ([]place, bool) {
			n = min(n, 60)
			return []place{{Position: 60}, {Position: uint64(n)}}, n == 60
		}, false, 61},
		"one stands still":            {func(int) ([]place, bool) { return []place{{Position: 60}, {Position: 59}}, false }, true, 2},
		"level, but something queued": {func(int) ([]place, bool) { return []place{{Position: 60}, {Position: 60}}, false }, true, 2},
	} {
		n := 0
		err := awaitLevel(t.Context(), most, every, func(context.Context) ([]place, bool) {
			n++
			return c.look(n)
		})
		if (err != nil) != c.fails || n < c.looks {
			t.Errorf("%s: %v after %d looks", name, err, n)
		}
	}
	ctx, end := context.WithCancel(t.Context())
	end()
	if err := awaitLevel(ctx, most, every, func(context.Context) ([]place, bool) { return []place{{}}, false }); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestClusterPartition: the network is cut for as long as the scenario says, no process ends, and
// no namespace is left. What a real cluster does then, scenarios/cluster-partition shows.
func TestClusterPartition(t *testing.T) {
	if why := cannotBreak(scenario.Fault{Kind: scenario.Partition}); why != nil {
		t.Skip("skipped: ", why)
	}
	for _, role := range []string{scenario.LeaderMachine, scenario.LogLeader, scenario.LogFollower, scenario.RoleNode} {
		t.Run(role, func(t *testing.T) {
			t.Setenv(serveVariable, "cluster")
			text := short + "cluster: {nodes: 3}\naggregator: {ack: journal}\nfault: {kind: partition, role: " + role + ", at: 600ms, for: 200ms}"
			o := runBench(t, context.Background(), Config{Scenarios: parse(t, text), Aggregator: clusterPrograms(t)})
			run := o.run(t, 0)
			f := run.Fault
			if !run.Held() || f == nil || f.Kind != scenario.Partition || f.Role != role || f.ExitedNS != 0 || f.RestartedNS-f.AtNS < 2e8 || f.ReadyNS < f.RestartedNS ||
				run.Summary.UnansweredS == nil {
				t.Errorf("held %v, fault %+v, unanswered for %v s:\n%s", run.Held(), f, run.Summary.UnansweredS, o.output)
			}
			if left, err := filepath.Glob(fmt.Sprintf("/run/netns/sk%d*", os.Getpid()%100_000)); err != nil || len(left) > 0 {
				t.Errorf("left are %q, %v", left, err)
			}
		})
	}
}

// TestClusterPartitionIsSkipped where no network can be made: the run says why, and is not held to
// have held.
func TestClusterPartitionIsSkipped(t *testing.T) {
	t.Setenv(serveVariable, "cluster")
	aggregator := clusterPrograms(t)
	t.Setenv("PATH", "")
	const text = short + "cluster: {nodes: 3}\nfault: {kind: partition, role: log-leader, at: 600ms, for: 200ms}"
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, text), Aggregator: aggregator})
	if !strings.Contains(o.output, "skipped: short: ") || len(o.index.Results) != 0 || len(o.index.LeftOut) != 1 {
		t.Errorf("%+v\n%s", o.index, o.output)
	}
}

// TestClusterJoin: what is there before the load is neither of the ledger nor of the figures, and
// the last node is ended, emptied, and has its times told.
func TestClusterJoin(t *testing.T) {
	t.Setenv(serveVariable, "cluster")
	const text = short + "cluster: {nodes: 3, before: 5000}\naggregator: {ack: journal}\nfault: {kind: join, at: 600ms}"
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, text), Aggregator: clusterPrograms(t)})
	run := o.run(t, 0)
	if !run.Held() || run.Cluster.Before != 5000 || run.Audit.Stored >= 5000 {
		t.Errorf("held %v, %+v, stored %d:\n%s", run.Held(), run.Cluster, run.Audit.Stored, o.output)
	}
	f := run.Fault
	if f == nil || f.Join == nil {
		t.Fatalf("fault %+v", f)
	}
	j := f.Join
	if j.Before < 5000 || f.AtNS >= f.ExitedNS || f.ExitedNS > j.BeganNS || j.BeganNS >= j.JoinedNS || j.JoinedNS > f.RestartedNS || f.RestartedNS >= f.ReadyNS || f.ReadyNS > j.LevelNS {
		t.Errorf("%+v of %+v", j, f)
	}
	if s := run.Summary; s.JoinS == nil || s.JoinLevelS == nil || *s.JoinLevelS < *s.JoinS || !strings.Contains(o.output, "  join  ") {
		t.Errorf("%v, %v:\n%s", s.JoinS, s.JoinLevelS, o.output)
	}
}

// TestClusterIsSkipped where its log server is not built, and refused where nothing is started.
func TestClusterIsSkipped(t *testing.T) {
	t.Setenv(serveVariable, "cluster")
	aggregator := clusterPrograms(t)
	if err := os.Remove(filepath.Join(filepath.Dir(aggregator), "sekali-log")); err != nil {
		t.Fatal(err)
	}
	const text = short + "cluster: {nodes: 3}\n"
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, text), Aggregator: aggregator})
	if !strings.Contains(o.output, "skipped: short: ") || !strings.Contains(o.output, "sekali-log is not built: make log") || len(o.index.Results) != 0 {
		t.Errorf("%s", o.output)
	}
	server := httptest.NewServer(memoryserver.New())
	defer server.Close()
	o = runBench(t, context.Background(), Config{Scenarios: parse(t, text), Aggregator: server.URL})
	if !strings.Contains(o.output, "skipped: short: a cluster is started for the case") {
		t.Errorf("%s", o.output)
	}
}
