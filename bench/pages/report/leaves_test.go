package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekali/bench/experiment/runner"
	"sekali/bench/figures"
	"sekali/bench/internal/audit"
	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
)

// trusting is how far a leaf of run.json is believed.
type trusting string

const (
	held     trusting = "held"          // verify sees the least change
	bounded  trusting = "within bounds" // it sees one of a second, or of as much, and not the least
	believed trusting = "on trust"
)

// trusts are the leaves that are not held, and why.
var trusts = []struct {
	trust  trusting
	why    string
	leaves []string
}{
	{believed, "the machine and the build, as the lab found them", []string{"environment.cpu_model", "environment.cores",
		"environment.memory_bytes", "environment.affinity", "environment.cpu_quota", "environment.os", "environment.kernel", "environment.filesystem",
		"environment.fdatasync.p50_us", "environment.fdatasync.p99_us", "environment.fdatasync.count", "environment.go_version", "environment.commit"}},
	{believed, "what the aggregator says of itself", []string{"aggregator.version", "environment.store.dedup", "environment.store.layout",
		"environment.store.sqlite_version", "environment.store.journal_mode", "environment.store.synchronous", "environment.store.page_size"}},
	{believed, "what the kernel said of cores and groups; what others took is in the trace", []string{"surroundings.cores", "surroundings.core_count",
		"surroundings.aggregator_affinity", "surroundings.aggregator_quota", "surroundings.groups[]", "surroundings.others_unknown",
		"surroundings.throttling_unknown", "surroundings.page_cache_bytes", "surroundings.page_cache_unknown"}},
	{believed, "measured before the load, without a ledger", []string{"generator.ceiling_requests", "generator.ceiling_ns"}},
	{believed, "of connections, and the ledger has requests", []string{"generator.connections", "generator.first_answer_ns"}},
	{believed, "of a server that has no trace", []string{"yardstick.server_cpu_ns"}},
	{believed, "of a node that has no trace", []string{"fault.join.behind", "fault.join.lag_s_max", "fault.join.copy_bytes"}},
	{believed, "what a reader saw while the load lasted", []string{"audit.waits.looks", "audit.waits.read", "audit.waits.share", "audit.waits.bounded",
		"audit.waits.at_least_ms.p50", "audit.waits.at_least_ms.p90", "audit.waits.at_least_ms.p99", "audit.waits.at_least_ms.max",
		"audit.waits.at_most_ms.p50", "audit.waits.at_most_ms.p90", "audit.waits.at_most_ms.p99", "audit.waits.at_most_ms.max"}},
	{believed, "in words; what they are of is counted", []string{"audit.findings[]"}},
	{believed, "the name of a file, whose text is in the run", []string{"scenario.path"}},
	{believed, "a label; the place in the sitting is held", []string{"scenario.repeat"}},
	{believed, "the machine's clock; that it is within the sitting is held", []string{"started_at"}},

	{bounded, "85 to 115 % of what the scenario asks for", []string{"environment.disk.measured_mb_per_s", "environment.disk.measured_operations_per_s",
		"environment.network.measured_rtt_ms", "environment.network.measured_mbit_per_s"}},
	{bounded, "of clients: from the last answer before it to its first request", []string{"phases[].start_ns", "yardstick.phases[].start_ns"}},
	{bounded, "from the first sample with an empty queue to the last sample", []string{"drained_ns"}},
	{bounded, "over 100 ms, and no more than the trace has in all", []string{"generator.longest_stall_ns"}},
	{bounded, "from the scenario's moment to the first publisher that found nobody", []string{"fault.at_ns"}},
	{bounded, "nobody is answered from one to the other, and the scenario says how long that is at least", []string{"fault.exited_ns", "fault.restarted_ns"}},
	{bounded, "no sample behind it is without an answer, and the queue is empty later", []string{"fault.ready_ns"}},
	{bounded, "what the trace has before and after it", []string{"fault.join.before"}},
	{bounded, "in the order of the others", []string{"fault.join.began_ns", "fault.join.joined_ns", "fault.join.level_ns"}},
}

// listedTrust is what the list says of each leaf.
func listedTrust() map[string]trusting {
	listed := map[string]trusting{}
	for _, t := range trusts {
		for _, kind := range t.leaves {
			listed[kind] = t.trust
		}
	}
	return listed
}

// leaf is a number, a text or a truth somewhere in a run.
type leaf struct {
	path  string // of this one: phases[1].start_ns
	kind  string // the same of all elements of a list: phases[].start_ns
	value reflect.Value
}

var timeType = reflect.TypeFor[time.Time]()

// eachLeaf visits what v has, as JSON names it; what it sets stays.
func eachLeaf(path string, v reflect.Value, visit func(leaf)) {
	switch {
	case v.Type() == timeType:
		visit(leaf{path, kindOf(path), v})
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			eachLeaf(path, v.Elem(), visit)
		}
	case v.Kind() == reflect.Slice, v.Kind() == reflect.Array:
		for i := range v.Len() {
			eachLeaf(fmt.Sprintf("%s[%d]", path, i), v.Index(i), visit)
		}
	case v.Kind() == reflect.Map:
		for _, key := range v.MapKeys() {
			element := reflect.New(v.Type().Elem()).Elem()
			element.Set(v.MapIndex(key))
			eachLeaf(fmt.Sprintf("%s[%v]", path, key), element, visit)
			v.SetMapIndex(key, element)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			eachLeaf(strings.TrimPrefix(path+"."+name, "."), v.Field(i), visit)
		}
	default:
		visit(leaf{path, kindOf(path), v})
	}
}

// kindOf takes the places in lists out of a path.
func kindOf(path string) string {
	var kind strings.Builder
	for part := range strings.SplitSeq(path, "[") {
		if _, behind, inside := strings.Cut(part, "]"); inside {
			part = "]" + behind
		}
		kind.WriteString("[" + part)
	}
	return kind.String()[1:]
}

// far is a second, of a leaf that is a time, and of others as much; farther is by so many times.
const (
	far     = int64(time.Second)
	farther = 1000
)

// changes are those to a value, by as little as can be or by far.
func changes(v reflect.Value, little bool) (all []func(reflect.Value)) {
	set := func(x any) { all = append(all, func(v reflect.Value) { v.Set(reflect.ValueOf(x).Convert(v.Type())) }) }
	switch {
	case v.Type() == timeType:
		by := time.Duration(far)
		if little {
			by = 1
		}
		set(v.Interface().(time.Time).Add(by))
		set(v.Interface().(time.Time).Add(-by))
	case v.Kind() == reflect.Bool:
		set(!v.Bool())
	case v.Kind() == reflect.String:
		set(v.String() + "x")
		if v.String() != "" {
			set("")
		}
	case v.CanInt():
		by := far
		if little {
			by = 1
		}
		set(v.Int() + by)
		set(v.Int() - by)
	case v.CanUint():
		by := uint64(far)
		if little {
			by = 1
		}
		set(v.Uint() + by)
		if v.Uint() > 0 {
			set(v.Uint() - min(by, v.Uint()))
		}
	case v.CanFloat() && little:
		set(v.Float()*1.01 + 0.01)
		set(v.Float()*0.99 - 0.01)
	case v.CanFloat():
		set(v.Float()*farther + farther)
		set(-v.Float()*farther - farther)
	}
	return all
}

// trustOf changes one leaf of a run and says whether verify sees that, or the run is no longer one
// that has passed.
func (w leafForger) trustOf(of leaf) trusting {
	unseen := func(change func(reflect.Value)) bool { return !w.seen(of.path, change) }
	little := changes(of.value, true)
	if isComputed(of.path) {
		little = little[:1] // it is compared, so that one is as good as another
	}
	textual := of.value.Kind() == reflect.String || of.value.Kind() == reflect.Bool
	switch {
	case !slices.ContainsFunc(little, unseen):
		return held
	case !textual && !slices.ContainsFunc(changes(of.value, false), unseen):
		return bounded
	}
	return believed
}

// leafForger changes one run of a sitting.
type leafForger struct {
	forger
	name string
	run  record.Run // as it was
}

// seen changes a leaf and makes all that follows from it anew, or, where that gives the leaf back,
// leaves it at the change.
func (w leafForger) seen(path string, change func(reflect.Value)) bool {
	w.t.Helper()
	run := cloneRun(w.t, w.run)
	was, is := "", ""
	eachLeaf("", reflect.ValueOf(&run), func(l leaf) {
		if l.path == path {
			was = fmt.Sprint(l.value)
			change(l.value)
			is = fmt.Sprint(l.value)
		}
	})
	if was == is {
		w.t.Fatalf("%s is not changed: %s", path, is)
	}
	w.write(run)
	if !isComputed(path) {
		again, err := w.remade(run)
		kept := false
		eachLeaf("", reflect.ValueOf(&again), func(l leaf) { kept = kept || l.path == path && fmt.Sprint(l.value) == is })
		switch {
		case err != nil: // nothing follows from such a run
		case !kept:
			w.write(run)
		case !judge.Clean(again.Audit) || !again.Held() || !again.Validity.Valid:
			return true // nobody forges a run that has failed
		}
	}
	f := record.Folder{Dir: w.folder(w.name)}
	var err error
	if f.Run, err = record.ReadRun(f.Dir); err != nil {
		return true
	}
	return len(verifyFolder(f))+len(verifySitting(w.dir)) > 0
}

// write writes a run, and what has copies of it.
func (w leafForger) write(run record.Run) {
	w.t.Helper()
	err := record.WriteJSON(filepath.Join(w.folder(w.name), record.RunFile), run) // its format too
	if err == nil {
		err = record.WriteJSON(filepath.Join(w.folder(w.name), record.AuditFile), run.Audit)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.index(func(i *record.Index) {
		at := slices.IndexFunc(i.Results, func(e record.Entry) bool { return e.Dir == w.name })
		i.Results[at] = entryOf(w.name, run)
		if at == len(i.Results)-1 {
			i.ID, i.Environment = run.ID, run.Environment
		}
	})
}

// remade computes all that follows from a run: its audit, its figures, what was expected, hashes.
func (w leafForger) remade(run record.Run) (record.Run, error) {
	dir := w.folder(w.name)
	raw, err := record.ReadRaw(dir)
	if err != nil {
		return run, err
	}
	again, _ := figures.Audit(raw, *run.Audit)
	run.Audit = &again
	w.write(run)
	if run, err = judge.Finish(dir); err != nil {
		return run, err
	}
	raw.Run = run
	if expected, _ := runner.Recompute(raw); expected != nil {
		run.Expectations = expected
	}
	w.write(run)
	return run, nil
}

func cloneRun(t *testing.T, run record.Run) (same record.Run) {
	t.Helper()
	text, err := json.Marshal(run)
	if err == nil {
		err = json.Unmarshal(text, &same)
	}
	if err != nil {
		t.Fatal(err)
	}
	return same
}

// TestLeaves changes every leaf of four runs, one at a time, as somebody would who makes all that
// follows from it anew. Verify has to see it, but for what the list above says, and that is no
// longer than it has to be.
func TestLeaves(t *testing.T) {
	whole := t.TempDir()
	names := writeLeafRuns(t, whole)
	found := map[string]trusting{}
	var mu sync.Mutex
	type job struct {
		name string
		leaf leaf
	}
	jobs := make(chan job)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for j := range jobs {
				w := leafForger{forger: forger{t, dir}, name: j.name}
				var err error
				if w.run, err = record.ReadRun(filepath.Join(whole, j.name)); err != nil {
					t.Error(err)
					return
				}
				trust := w.trustOf(j.leaf)
				w.write(w.run)
				mu.Lock()
				if levels := []trusting{"", held, bounded, believed}; slices.Index(levels, trust) > slices.Index(levels, found[j.leaf.kind]) {
					found[j.leaf.kind] = trust
				}
				mu.Unlock()
			}
		})
	}
	for _, name := range names {
		run, err := record.ReadRun(filepath.Join(whole, name))
		if err != nil {
			t.Fatal(err)
		}
		f := record.Folder{Dir: filepath.Join(whole, name), Run: run}
		if differ := append(verifyFolder(f), verifySitting(whole)...); len(differ) > 0 || !judge.Clean(run.Audit) || !run.Held() || !run.Validity.Valid {
			t.Fatalf("%s as it is: %v; %v %v %v", name, differ, run.Audit.FailedChecks(), run.Expectations, run.Validity)
		}
		eachLeaf("", reflect.ValueOf(&run), func(l leaf) {
			if parts := leafParts[name]; parts == nil || slices.ContainsFunc(parts, func(part string) bool { return isOf(l.path, part) }) {
				jobs <- job{name, l}
			}
		})
	}
	close(jobs)
	all.Wait()
	listed := listedTrust()
	for _, kind := range slices.Sorted(maps.Keys(found)) {
		if want := cmp.Or(listed[kind], held); found[kind] != want {
			t.Errorf("%s is %s, and by the list %s", kind, found[kind], want)
		}
	}
	for kind := range listed {
		if found[kind] == "" {
			t.Errorf("%s is in the list, and no run of this test has it", kind)
		}
	}
	for _, kind := range inputs(reflect.TypeFor[record.Run]()) {
		if found[kind] == "" {
			t.Errorf("no run of this test has %s", kind)
		}
	}
}

// isComputed reports a leaf of what is computed anew as a whole, and compared.
func isComputed(path string) bool {
	return slices.ContainsFunc([]string{"summary", "validity", "expectations", "files"}, func(part string) bool { return isOf(path, part) })
}

// isOf reports a leaf of a part of a run.
func isOf(path, part string) bool {
	behind, begins := strings.CutPrefix(path, part)
	return begins && (behind == "" || behind[0] == '.' || behind[0] == '[')
}

// inputs are the kinds of leaves that a run may have, but for what is computed as a whole.
func inputs(of reflect.Type) []string {
	var all []string
	var walk func(path string, t reflect.Type)
	walk = func(path string, t reflect.Type) {
		switch {
		case isComputed(path):
		case t.Kind() == reflect.Pointer:
			walk(path, t.Elem())
		case t.Kind() == reflect.Slice:
			walk(path+"[]", t.Elem())
		case t.Kind() == reflect.Struct && t != timeType:
			for i := range t.NumField() {
				if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "-" {
					walk(strings.TrimPrefix(path+"."+name, "."), t.Field(i).Type)
				}
			}
		default:
			all = append(all, path)
		}
	}
	walk("", of)
	return all
}

// leafParts are what is changed of a run: of the first all, and of the others what they have beside
// it, or otherwise.
var leafParts = map[string][]string{
	"closed-1": {"phases", "yardstick", "drained_ns"},
	"kill-1":   {"phases", "fault", "drained_ns"},
	"join-1":   {"cluster", "fault", "audit", "drained_ns"},
}

// leafRun is one of the runs whose leaves are changed.
type leafRun struct {
	model resulttest.Model
	dress func(t *testing.T, dir string, run *record.Run) // adds what a model does not have
}

// The texts of the scenarios that the runs are cases of.
const (
	openText = `name: open
question: Synthetic figures for a test. What is held?
aggregator: {ack: journal}
stream: {seed: 1, duplicates: 0.2}
disk: {mb_per_s: 100, operations_per_s: 1000}
network: {rtt: 20ms, mbit_per_s: 1000}
readers:
  - {kind: seq, rate: 10/s, limit: 100}
  - {kind: stream, clients: 2}
load:
  events_per_request: 50
  phases:
    - {name: warm-up, rate: 5/s, duration: 1s}
    - {name: measured, rate: 10/s, duration: 1s, measured: true}
sweep: {parameter: aggregator.batch_events, values: [100, 1000]}
`
	closedText = `name: closed
question: Synthetic figures for a test. What is held?
aggregator: {ack: journal}
stream: {seed: 1, duplicates: 0.2}
yardstick: bare
load:
  events_per_request: 50
  phases:
    - {name: warm-up, clients: 4, requests: 100}
    - {name: measured, clients: 4, requests: 200, measured: true}
`
	joinText = `name: join
question: Synthetic figures for a test. What is held?
aggregator: {ack: journal}
stream: {seed: 1, duplicates: 0.2}
cluster: {nodes: 3, replicas: 3, sync: always, before: 1000}
load:
  events_per_request: 50
  phases:
    - {name: warm-up, rate: 5/s, duration: 1s}
    - {name: measured, rate: 10/s, duration: 1s, measured: true}
fault: {kind: join, at: 1s}
`
)

// writeLeafRuns writes a sitting and returns the names of its runs, which have all that a run can
// have.
func writeLeafRuns(t *testing.T, dir string) (names []string) {
	t.Helper()
	model := resulttest.Model{Ack: "journal", Rate: 10, WarmUp: 5, Measured: time.Second, EventsPerS: 8000, Seed: 1, Repeat: 1}
	of := func(scenario string, change func(*resulttest.Model)) resulttest.Model {
		m := model
		m.Scenario = scenario
		change(&m)
		return m
	}
	runs := []leafRun{
		{of("open", func(*resulttest.Model) {}), dressOpen},
		{of("closed", func(m *resulttest.Model) { m.Rate, m.WarmUp = 200, 100 }), dressClosed},
		{of("kill", func(m *resulttest.Model) {
			m.Rate, m.WarmUp, m.Kill, m.Down = 20, 10, 1500*time.Millisecond, 250*time.Millisecond
		}), func(*testing.T, string, *record.Run) {}},
		{of("join", func(*resulttest.Model) {}), dressJoin},
	}
	index := record.Index{Planned: len(runs)}
	for i, one := range runs {
		name := one.model.Scenario + "-1"
		one.model.Sitting = &record.Sitting{Number: i + 1, Of: len(runs)}
		if err := resulttest.Write(filepath.Join(dir, name), one.model); err != nil {
			t.Fatal(err)
		}
		names, index.Results = append(names, name), append(index.Results, record.Entry{Dir: name})
		run, err := record.ReadRun(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		one.dress(t, filepath.Join(dir, name), &run)
		index.StartedAt, index.FinishedAt = run.StartedAt.Add(-time.Minute), run.StartedAt.Add(time.Minute)
		index.Results[i] = entryOf(name, run)
		if err := record.WriteIndex(dir, index); err != nil {
			t.Fatal(err)
		}
		w := leafForger{forger: forger{t, dir}, name: name}
		w.write(run)
		if _, err := w.remade(run); err != nil {
			t.Fatal(err)
		}
		if index, err = record.ReadIndex(dir); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// dressOpen adds what surrounds a run, readers, a place on a curve, and the checks of an audit that
// need the aggregator.
func dressOpen(t *testing.T, dir string, run *record.Run) {
	t.Helper()
	run.Scenario.Text, run.Scenario.Question = openText, "Synthetic figures for a test. What is held?"
	run.Scenario.Case, run.Scenario.Sweep = "batch_events-100", &record.Sweep{Parameter: "aggregator.batch_events", Value: "100"}
	run.Aggregator.Flags = append(run.Aggregator.Flags, "-batch-events=100")
	run.Readers = []record.Readers{{Kind: "seq", Rate: 10, Limit: 100}, {Kind: "stream", Clients: 2}}
	run.Environment.Disk = &record.Disk{MBPerS: 100, OperationsPerS: 1000, MeasuredMBPerS: 101.5, MeasuredOperationsPerS: 990}
	run.Environment.Network = &record.Network{RTTMS: 20, MbitPerS: 1000, MeasuredRTTMS: 20.5, MeasuredMbitPerS: 950}
	cached := int64(1 << 20)
	run.Surroundings = &record.Surroundings{Cores: "0-1", CoreCount: 2, Groups: []string{"/sys/fs/cgroup/cpu"}, PageCacheBytes: &cached}
	run.Generator = record.Generator{Stalls: 1, LongestStallNS: 120e6, CeilingRequests: 1000, CeilingNS: 1e9, Connections: 5, FirstAnswerNS: 1e6}
	resulttest.Rewrite(t, dir, func(s *record.Sample) {
		s.MachineCPUNS = resulttest.Others(s, 0.05)
		if s.TNS > 300e6 { // in the warm-up
			s.StalledNS = 190e6
		}
	})
	var text strings.Builder
	if err := record.WriteReads(&text, []record.Read{{Kind: "seq", DueNS: 1e9, DoneNS: 1.01e9, Status: 200, Events: 10}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, record.ReadsFile), []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	raw, err := record.ReadRawOf(dir, *run)
	if err != nil {
		t.Fatal(err)
	}
	answered, inLife := raw.Answered(), uint64(0)
	syncs := answered[len(answered)-1].JournalSyncs - answered[0].JournalSyncs
	run.Audit.AddChecks(audit.AtLeast(audit.SyncsByLedger, syncs, 0), audit.None(audit.OutOfTime, 0), audit.None(audit.TopicsMiscounted, 0))
	run.Audit.Counters.RejectedInLife = &inLife
	run.Audit.Findings = []string{"something that was found"}
	run.Audit.Waits = &audit.Waits{Looks: 3, Read: 100, Share: 0.01, Bounded: 1000}
}

// dressClosed makes the load that of clients, beside a yardstick.
func dressClosed(t *testing.T, dir string, run *record.Run) {
	t.Helper()
	run.Scenario.Text, run.Scenario.Question = closedText, "Synthetic figures for a test. What is held?"
	for i := range run.Phases {
		run.Phases[i].Rate, run.Phases[i].Clients = 0, 4
	}
	run.Yardstick = &record.YardstickRun{Kind: "bare", Phases: slices.Clone(run.Phases), ServerCPUNS: 1e8}
	text, err := os.ReadFile(filepath.Join(dir, record.RequestsFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, record.YardstickFile), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// dressJoin makes the aggregator a cluster, of which a node is made anew.
func dressJoin(t *testing.T, dir string, run *record.Run) {
	t.Helper()
	run.Scenario.Text, run.Scenario.Question = joinText, "Synthetic figures for a test. What is held?"
	run.Cluster = &record.Cluster{Nodes: 3, Replicas: 3, Sync: "always", Before: 1000}
	at := func(ms int64) int64 { return ms * int64(time.Millisecond) }
	raw, err := record.ReadRawOf(dir, *run)
	if err != nil {
		t.Fatal(err)
	}
	behind := slices.IndexFunc(raw.Trace, func(s record.Sample) bool { return s.TNS >= at(1100) })
	run.Fault = &record.FaultTimes{Kind: "join", AtNS: at(1000), ExitedNS: at(1010), RestartedNS: at(1500), ReadyNS: at(1600),
		Join: &record.Join{Before: raw.Trace[behind].UniqueProcessed, BeganNS: at(1100), JoinedNS: at(1490), LevelNS: at(1700), CopyBytes: 1 << 20}}
	stored := run.Audit.Database.Events + run.Cluster.Before
	run.Audit.Database.Events = stored
	run.Audit.AddChecks(audit.None(audit.ReplicaEventsMissing, 0), audit.None(audit.ReplicaEventsDiffer, 0),
		audit.Equal(audit.ReplicaDatabaseEvents, stored, stored), audit.None(audit.ReplicaDatabaseBroken, 0))
}
