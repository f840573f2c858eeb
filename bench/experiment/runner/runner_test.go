package runner

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/bench/system/memoryserver"
	"sekali/bench/system/nullserver"
)

// serveVariable makes the test binary an aggregator: a memoryserver with the aggregator's command
// line.
const serveVariable = "SEKALI_TEST_AGGREGATOR"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == nullserver.Command {
		if err := nullserver.Run(context.Background(), os.Args[2:], os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if out := os.Getenv(labVariable); out != "" {
		os.Exit(runLab(out))
	}
	switch behaviour := os.Getenv(serveVariable); behaviour {
	case "":
		goleak.VerifyTestMain(m)
	default:
		os.Unsetenv(serveVariable)
		if err := serve(behaviour); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// serve runs until SIGTERM, and then leaves a database behind as the aggregator does.
func serve(behaviour string) error {
	if behaviour == "cluster" {
		return serveOfCluster()
	}
	arguments := map[string]string{}
	for i := 1; i+1 < len(os.Args); i += 2 {
		if strings.Contains(os.Args[i], "=") {
			break
		}
		arguments[os.Args[i]] = os.Args[i+1]
	}
	data := arguments["-data"]
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	// What it has is in the log; a database would be one to copy, which it cannot.
	if err := os.Remove(filepath.Join(data, databaseFile)); err != nil && !os.IsNotExist(err) {
		return err
	}
	log := filepath.Join(data, "requests.log")
	_, err := os.Stat(log)
	forgets := behaviour == "forgets" && err != nil
	server, err := memoryserver.Open(log)
	if err == nil && forgets {
		// The control of kill: its first life answers, and all of it waits until it is gone.
		server = memoryserver.New()
		server.Waits = true
	}
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", arguments["-listen"])
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Fprintf(os.Stderr, `{"msg":"listening","addr":%q,"admin":""}`+"\n", listener.Addr())
	running := http.Server{Handler: server}
	if behaviour == "records" {
		running.Handler = recorder{data, server}
	}
	if behaviour == "resets" { // nothing of its connections stays behind at its port
		running.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			return ctx
		}
	}
	go running.Serve(listener)
	if behaviour == "dies" {
		time.Sleep(700 * time.Millisecond)
		return fmt.Errorf("the disk is gone")
	}
	<-stop
	running.Close()
	if behaviour == "miscounted database" {
		return writeDatabase(data, server.Stored()-1)
	}
	return writeDatabase(data, server.Stored())
}

func writeDatabase(data string, events int) error {
	db, err := sql.Open("sqlite", filepath.Join(data, "events.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(`DROP TABLE IF EXISTS events; CREATE TABLE events AS WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq+1 FROM n WHERE seq < ?) SELECT seq FROM n WHERE seq <= ?`, events, events)
	return err
}

const short = `
name: short
question: Does it work?
stream: {seed: 1, duplicates: 0.2}
load:
  events_per_request: 20
  phases:
    - {name: warm-up, rate: 50/s, duration: 400ms}
    - {name: measured, rate: 100/s, duration: 800ms, measured: true}
`

func parse(t *testing.T, text string) []*scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("short.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return []*scenario.Scenario{s}
}

// outcome is what a test looks at after a run.
type outcome struct {
	outcome Outcome
	dir     string
	output  string
	index   record.Index
}

func runBench(t *testing.T, ctx context.Context, config Config) outcome {
	t.Helper()
	config.Out = t.TempDir()
	config.Repeat = max(config.Repeat, 1)
	var stdout, stderr strings.Builder
	dir, came := Run(ctx, config, &stdout, &stderr)
	o := outcome{outcome: came, dir: dir, output: stdout.String() + stderr.String()}
	if dir != "" {
		var err error
		if o.index, err = record.ReadIndex(dir); err != nil {
			t.Fatal(err, o.output)
		}
	}
	return o
}

func (o outcome) run(t *testing.T, at int) record.Run {
	t.Helper()
	if len(o.index.Results) <= at {
		t.Fatalf("no result %d:\n%s", at, o.output)
	}
	run, err := record.ReadRun(filepath.Join(o.dir, o.index.Results[at].Dir))
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func expectation(t *testing.T, run record.Run, name string) record.Expectation {
	t.Helper()
	for _, e := range run.Expectations {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("no expectation %s in %+v", name, run.Expectations)
	return record.Expectation{}
}

// TestMutants runs the whole lab against servers that make one mistake each.
func TestMutants(t *testing.T) {
	for name, test := range map[string]struct {
		mutants memoryserver.Mutants
		failed  string // expectation
	}{
		"control":              {memoryserver.Mutants{}, ""},
		"one lost":             {memoryserver.Mutants{Lose: 300}, "lost"},
		"one stored twice":     {memoryserver.Mutants{Twice: 300}, "duplicated"},
		"one payload changed":  {memoryserver.Mutants{Change: 300}, "unexpected"},
		"one key forgotten":    {memoryserver.Mutants{Forget: 20}, "duplicated"},
		"one duplicate missed": {memoryserver.Mutants{Miscount: 100}, "deduplication_rate"},
		"two out of order":     {memoryserver.Mutants{SwapOrder: 300}, "out_of_order"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			memory := memoryserver.New()
			memory.Mutants = test.mutants
			memory.BreakExportEvery = 500
			server := httptest.NewServer(memory)
			defer server.Close()
			// Forget needs the repeat of one of the first events to come: a short history makes it likely.
			o := runBench(t, context.Background(), Config{Scenarios: parse(t, strings.Replace(short, "duplicates: 0.2", "duplicates: 0.6", 1)), Aggregator: server.URL})
			run := o.run(t, 0)
			if run.Held() != (test.failed == "") || judge.Clean(run.Audit) != (test.failed == "") {
				t.Errorf("held %v, clean %v:\n%s", run.Held(), judge.Clean(run.Audit), o.output)
			}
			if test.failed == "" {
				return
			}
			if o.outcome != Failed || expectation(t, run, test.failed).Held {
				t.Errorf("outcome %d, %s:\n%s", o.outcome, test.failed, o.output)
			}
		})
	}
}

// TestAcknowledgedAndNotReceived: a server that counts what it has acknowledged only later is
// FAILED, by its audit; the machine does nothing of the kind.
func TestAcknowledgedAndNotReceived(t *testing.T) {
	memory := memoryserver.New()
	var begun atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/publish" {
			begun.CompareAndSwap(0, time.Now().UnixNano())
		}
		at := begun.Load()
		if r.URL.Path != "/stats" || at == 0 || time.Now().UnixNano() > at+int64(time.Second) {
			memory.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		memory.ServeHTTP(answer, r)
		// It hides the last events.
		counts := map[string]any{}
		if err := json.Unmarshal(answer.Body.Bytes(), &counts); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"received", "unique_processed", "last_seq"} {
			if n, ok := counts[name].(float64); ok {
				counts[name] = max(0, n-100)
			}
		}
		if err := json.NewEncoder(w).Encode(counts); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, strings.Replace(short, "duplicates: 0.2", "duplicates: 0", 1)), Aggregator: server.URL})
	run := o.run(t, 0)
	var failed []string
	for _, c := range run.Audit.FailedChecks() {
		failed = append(failed, c.Name)
	}
	if o.outcome != Failed || !slices.Equal(failed, []string{"acknowledged_not_received"}) {
		t.Errorf("outcome %d, %v\n%s", o.outcome, failed, o.output)
	}
}

func TestProcessIsRunAndMeasured(t *testing.T) {
	t.Setenv(serveVariable, "honest")
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, short), Aggregator: os.Args[0], Repeat: 2})
	if len(o.index.Results) != 2 || o.outcome == Failed {
		t.Fatalf("outcome %d:\n%s", o.outcome, o.output)
	}
	run := o.run(t, 1)
	if !run.Held() || run.Scenario.Repeat != 2 || run.Scenario.Text != short {
		t.Errorf("%+v", run)
	}
	s := run.Summary
	if s.AcceptedEvents != 1600 || s.StoredEvents != 1600 || s.DuplicateEvents != 400 || s.ResponseTimeMS.Count != 80 || s.ProcessingLatencyMS.Count == 0 {
		t.Errorf("summary: %+v", s)
	}
	if s.ServerRSSBytesMax == nil || s.ServerCPUUSPerStored == nil || run.Environment.Fdatasync.P50US == 0 || run.Environment.Filesystem == "" {
		t.Errorf("not measured: %+v, %+v", s, run.Environment)
	}
	if s.PageCacheBytes == nil || *s.PageCacheBytes < 1600*100 {
		t.Errorf("1600 events are written, and of the data folder %v bytes are in the page cache: %+v", s.PageCacheBytes, run.Surroundings)
	}
	if run.Audit.Database == nil || run.Audit.Database.Events != 1600 {
		t.Errorf("database: %+v", run.Audit.Database)
	}
	for _, name := range append(record.RawFiles, record.RunFile, record.BenchFile, logFile) {
		if _, err := os.Stat(filepath.Join(o.dir, o.index.Results[0].Dir, name)); err != nil {
			t.Error(err)
		}
	}
	if !o.index.Whole() || o.index.Ended() != 2 || o.index.Planned != 2 {
		t.Errorf("the index does not say that all of it was run: %+v", o.index)
	}
	if latest, err := os.Readlink(filepath.Join(o.dir, "..", "..", LatestLink)); err != nil || latest != filepath.Join(runsDir, filepath.Base(o.dir)) {
		t.Errorf("latest is %q, %v", latest, err)
	}
	if _, err := os.Stat(filepath.Join(o.dir, dataDir)); !os.IsNotExist(err) {
		t.Errorf("the data folder is still there: %v", err)
	}
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		behaviour, text string
		held            bool
		lossy           bool
	}{
		"SIGTERM":                    {"honest", "fault: {kind: sigterm, at: 600ms, restart_after: 100ms}", true, false},
		"SIGKILL":                    {"honest", "fault: {kind: sigkill, at: 600ms, restart_after: 50ms}", true, false},
		"SIGKILL loses, unexpected":  {"forgets", "fault: {kind: sigkill, at: 600ms, restart_after: 50ms}", false, true},
		"SIGKILL loses, as expected": {"forgets", "fault: {kind: sigkill, at: 600ms, restart_after: 50ms}\naggregator: {ack: memory}\nexpect: {lost: some}", true, true},
		"SIGKILL had to lose":        {"honest", "fault: {kind: sigkill, at: 600ms, restart_after: 50ms}\naggregator: {ack: memory}\nexpect: {lost: some}", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(serveVariable, test.behaviour)
			o := runBench(t, context.Background(), Config{Scenarios: parse(t, short+test.text), Aggregator: os.Args[0]})
			run := o.run(t, 0)
			if run.Held() != test.held || (run.Audit.Lost > 0) != test.lossy {
				t.Errorf("held %v, lost %d:\n%s", run.Held(), run.Audit.Lost, o.output)
			}
			f := run.Fault
			if f == nil || f.AtNS < 6e8 || f.ExitedNS < f.AtNS || f.RestartedNS < f.ExitedNS || f.ReadyNS < f.RestartedNS {
				t.Fatalf("fault: %+v", f)
			}
			if strings.Contains(test.text, "restart_after") && f.RestartedNS-f.ExitedNS < 5e7 {
				t.Errorf("restarted too early: %+v", f)
			}
			if run.Summary.Retries == 0 || run.Summary.RequestsAcknowledged != 80 {
				t.Errorf("publishers did not notice: %+v", run.Summary)
			}
		})
	}
}

// TestFaultsOfTheDisk: the disk is broken for as long as the scenario says, the process outlives
// it, and nothing is left mounted or attached. What a real aggregator does then, integration and
// the scenarios show.
func TestFaultsOfTheDisk(t *testing.T) {
	for _, kind := range []string{scenario.SlowDisk, scenario.DiskError} {
		t.Run(kind, func(t *testing.T) {
			if why := cannotBreak(scenario.Fault{Kind: kind}); why != nil {
				t.Skip("skipped: " + why.Error())
			}
			t.Setenv(serveVariable, "honest")
			text := short + "fault: {kind: " + kind + ", at: 600ms, for: 200ms}"
			o := runBench(t, context.Background(), Config{Scenarios: parse(t, text), Aggregator: os.Args[0]})
			if strings.Contains(o.output, "strace: ") {
				t.Skip("skipped: " + o.output) // it may not attach, in a container
			}
			run := o.run(t, 0)
			f := run.Fault
			if !run.Held() || f == nil || f.Kind != kind || f.AtNS < 6e8 || f.RestartedNS-f.AtNS < 2e8 || f.ReadyNS < f.RestartedNS || f.ExitedNS != 0 {
				t.Errorf("held %v, fault %+v\n%s", run.Held(), f, o.output)
			}
		})
	}
}

// TestDiskThatIsHeld: the data folder is on a disk of its own, whose rates are recorded, and which
// is given back, also when a run is interrupted.
func TestDiskThatIsHeld(t *testing.T) {
	text := short + "disk: {mb_per_s: 40, operations_per_s: 1000}"
	if why := cannotHold(scenario.Disk{MBPerS: 40}); why != nil {
		t.Skip("skipped: " + why.Error())
	}
	t.Setenv(serveVariable, "honest")
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, text), Aggregator: os.Args[0]})
	run := o.run(t, 0)
	d := run.Environment.Disk
	if !run.Held() || run.Environment.Filesystem != "ext4" || d == nil || d.MBPerS != 40 || d.OperationsPerS != 1000 || d.MeasuredMBPerS == 0 || d.MeasuredOperationsPerS == 0 {
		t.Errorf("held %v, disk %+v of %s\n%s", run.Held(), d, run.Environment.Filesystem, o.output)
	}
	notMounted(t, o.dir)

	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
	defer cancel()
	o = runBench(t, ctx, Config{Scenarios: parse(t, strings.Replace(text, "800ms", "60s", 1)), Aggregator: os.Args[0]})
	if len(o.index.Results) != 0 {
		t.Errorf("it was not interrupted:\n%s", o.output)
	}
	notMounted(t, o.dir)
}

func notMounted(t *testing.T, dir string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("still mounted: %v\n%s", err, mounts)
	}
}

// TestFaultThatCannotBeIsSkipped: a machine without strace says so, and that is no pass.
func TestFaultThatCannotBeIsSkipped(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(serveVariable, "honest")
	text := short + "fault: {kind: slow-disk, at: 600ms, for: 200ms}"
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, text), Aggregator: os.Args[0]})
	if o.outcome != Invalid || len(o.index.Results) != 0 || !strings.Contains(o.output, "skipped: short: strace is not installed") {
		t.Errorf("outcome %d: %s", o.outcome, o.output)
	}
	o = runBench(t, context.Background(), Config{Scenarios: parse(t, short+"disk: {mb_per_s: 40}"), Aggregator: os.Args[0]})
	if o.outcome != Invalid || len(o.index.Results) != 0 || !strings.Contains(o.output, "skipped: short: ") {
		t.Errorf("outcome %d: %s", o.outcome, o.output)
	}
}

func TestWhatFailsIsSaid(t *testing.T) {
	for behaviour, words := range map[string]string{
		"dies":                "ended by itself: exit code 1",
		"miscounted database": "database_events is 1599, must be 1600",
	} {
		t.Run(behaviour, func(t *testing.T) {
			t.Setenv(serveVariable, behaviour)
			o := runBench(t, context.Background(), Config{Scenarios: parse(t, short), Aggregator: os.Args[0]})
			if o.outcome != Failed || !strings.Contains(o.output, words) {
				t.Errorf("outcome %d, output without %q:\n%s", o.outcome, words, o.output)
			}
		})
	}
}

func TestInterrupt(t *testing.T) {
	t.Setenv(serveVariable, "honest")
	ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	defer cancel()
	text := strings.Replace(short, "800ms", "60s", 1)
	began := time.Now()
	o := runBench(t, ctx, Config{Scenarios: parse(t, text), Aggregator: os.Args[0], Repeat: 3})
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	if o.outcome != Failed || !strings.Contains(o.output, "interrupted") {
		t.Errorf("outcome %d:\n%s", o.outcome, o.output)
	}
	if o.index.Whole() || o.index.Planned != 3 {
		t.Errorf("the index says that all of it was run: %+v", o.index)
	}
	for _, marked := range []string{o.dir, filepath.Join(o.dir, "short-1")} {
		if _, err := os.Stat(filepath.Join(marked, record.InterruptedFile)); err != nil {
			t.Error(err)
		}
	}
	for _, absent := range []string{filepath.Join(o.dir, "..", "..", LatestLink), filepath.Join(o.dir, dataDir), filepath.Join(o.dir, "short-2")} {
		if _, err := os.Lstat(absent); !os.IsNotExist(err) {
			t.Errorf("%s: %v", absent, err)
		}
	}
}

// TestKilledLab: a lab that is killed in its second case leaves an index with the first, which says
// that there was to be more. Whoever reads the index meanwhile finds it whole.
func TestKilledLab(t *testing.T) {
	out := t.TempDir()
	text := strings.Replace(short, "800ms", "1s", 1) + "cases:\n  - {name: one}\n  - {name: two}\n"
	command, said := lab{}.start(t, out, text)
	var dirs []string
	var index record.Index
	for end := time.Now().Add(time.Minute); len(index.Results) == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		dirs, _ = filepath.Glob(filepath.Join(out, runsDir, "*", record.IndexFile)) // the pattern is well formed
		for _, name := range dirs {
			var err error
			if index, err = record.ReadIndex(filepath.Dir(name)); err != nil {
				t.Error(err)
			}
		}
	}
	if err := command.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = command.Wait() // it was killed
	if len(dirs) != 1 || index.Whole() || index.Ended() != 1 || index.Planned != 2 {
		t.Fatalf("%v: %+v\n%s", dirs, index, said)
	}
	if folders, err := record.Open(filepath.Dir(dirs[0])); err != nil || len(folders) != 1 || folders[0].Run.Scenario.Case != "one" {
		t.Errorf("%v, %+v\n%s", err, folders, said)
	}
}

// TestRunningServer drives one server twice: what the first run left is none of the second one's
// business.
func TestRunningServer(t *testing.T) {
	server := httptest.NewServer(memoryserver.New())
	defer server.Close()
	for range 2 {
		o := runBench(t, context.Background(), Config{Scenarios: parse(t, short), Aggregator: server.URL})
		run := o.run(t, 0)
		if !run.Held() || !run.Aggregator.External || run.Audit.Stored != 1600 {
			t.Errorf("%s", o.output)
		}
		if run.Summary.PageCacheBytes != nil || run.Surroundings.PageCacheUnknown == "" {
			t.Errorf("where its data folder is nobody knows: %+v", run.Surroundings)
		}
	}
	if answer, err := http.Get(server.URL + "/readyz"); err != nil || answer.StatusCode != http.StatusOK {
		t.Error("the server did not survive", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// A server that says it was built from a changed tree is not one whose figures can be made again.
func TestDirtyServer(t *testing.T) {
	server := memoryserver.New()
	dirty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stats" {
			server.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, r)
		fmt.Fprint(w, strings.Replace(answer.Body.String(), `"version":"memory"`, `"version":"0123abc-dirty"`, 1))
	}))
	defer dirty.Close()
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, short), Aggregator: dirty.URL})
	if run := o.run(t, 0); !strings.Contains(run.Validity.String(), "the tree has changes that are not committed") {
		t.Errorf("%v\n%s", run.Validity, o.output)
	}
}

func TestUsageErrors(t *testing.T) {
	good := parse(t, short)
	for name, config := range map[string]Config{
		"no scenario":     {Aggregator: os.Args[0], Repeat: 1},
		"no program":      {Scenarios: good, Aggregator: "/nonexistent", Repeat: 1},
		"a folder":        {Scenarios: good, Aggregator: os.TempDir(), Repeat: 1},
		"asked for twice": {Scenarios: append(parse(t, short), good...), Aggregator: os.Args[0], Repeat: 1},
		"one folder for two": {Scenarios: append(parse(t, strings.Replace(short, "name: short", "name: short-one", 1)),
			parse(t, short+"cases:\n  - {name: one}\n  - {name: two}\n")...), Aggregator: os.Args[0], Repeat: 1},
		"repeat":            {Scenarios: good, Aggregator: os.Args[0]},
		"not the loopback":  {Scenarios: good, Aggregator: "http://192.0.2.1:80", Repeat: 1},
		"no host":           {Scenarios: good, Aggregator: "http://", Repeat: 1},
		"fault for an URL":  {Scenarios: parse(t, short+"fault: {kind: sigkill, at: 1s}"), Aggregator: "http://127.0.0.1:1", Repeat: 1},
		"profile of an URL": {Scenarios: good, Aggregator: "http://127.0.0.1:1", Repeat: 1, Profile: true},
	} {
		var stdout, stderr strings.Builder
		config.Out = t.TempDir()
		if _, outcome := Run(context.Background(), config, &stdout, &stderr); outcome != NotBegun || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: outcome %d, %q", name, outcome, stderr.String())
		}
		if entries, _ := os.ReadDir(config.Out); len(entries) > 0 {
			t.Errorf("%s: left %v behind", name, entries)
		}
	}
}
