// Package resulttest makes result folders for tests from a model: a queue that a clockwork server
// empties. Nothing in them was measured, and their run.json says so.
package resulttest

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sekali/bench/experiment/runner"
	"sekali/bench/figures"
	"sekali/bench/internal/audit"
	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

const (
	ms = int64(time.Millisecond)
	// The model's times.
	sampleEveryNS = 100 * ms
	commitEveryNS = 20 * ms
	acceptNS      = 1 * ms // sent → in the queue
	// streamSeed is that of every model, since repeats have one scenario; Model.Seed is the noise.
	streamSeed = 1
	// eventsPerRequest keeps the folders small.
	eventsPerRequest = 50
)

// Model says what the folder shall look like it had measured.
type Model struct {
	Scenario, Case string
	Repeat         int
	Ack            string        // memory, journal or store
	Rate           float64       // requests/s in the measured phase
	WarmUp         float64       // requests/s in the second before it; 0: half of that
	Measured       time.Duration // at least 1 s
	EventsPerS     float64       // what the server commits
	Kill           time.Duration // SIGKILL at this moment; 0: none
	Down           time.Duration // until it is ready again
	Seed           uint64
	Text           string        // the scenario that it is a case of; "": one is made
	Sweep          *record.Sweep // its point there
	Sitting        *record.Sitting
}

var startedAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// commit is one transaction of the model.
type commit struct {
	atNS       int64
	events     []uint64 // of the stream
	acceptedNS []int64
}

type simulation struct {
	m        Model
	random   *rand.Rand
	stream   *stream.Stream
	attempts []ledger.Attempt
	accepted []int64  // when each request was accepted, by number
	lost     []uint64 // events of the stream that the kill took from the queue
	commits  []commit
	phases   []record.PhaseTimes
	killNS   int64
	readyNS  int64
	endNS    int64
}

// Write makes the result folder dir, run.json, bench.txt and all.
func Write(dir string, m Model) error {
	s := &simulation{m: m, random: rand.New(rand.NewPCG(m.Seed, 1)), killNS: int64(m.Kill), readyNS: int64(m.Kill + m.Down)}
	events, err := stream.New(stream.Config{Seed: streamSeed, Duplicates: 0.2})
	if err != nil {
		return err
	}
	s.stream = events
	s.send()
	s.serve()
	s.answer()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	run := s.run()
	report, err := s.audit(dir, run)
	if err != nil {
		return err
	}
	run.Audit = &report
	if err := s.writeRaw(dir, run); err != nil {
		return err
	}
	if err := record.WriteRun(dir, run); err != nil {
		return err
	}
	if _, err = judge.Finish(dir); err != nil {
		return err
	}
	raw, err := record.ReadRaw(dir)
	if err != nil {
		return err
	}
	if raw.Run.Expectations, err = runner.Recompute(raw); err != nil {
		return err
	}
	return record.WriteRun(dir, raw.Run)
}

// send plans the requests and lets the server accept them: at once, or after a retry once it is
// back.
func (s *simulation) send() {
	warmUp, measured := int64(time.Second), int64(s.m.Measured)
	s.phases = []record.PhaseTimes{
		{Name: "warm-up", Rate: cmp.Or(s.m.WarmUp, s.m.Rate/2), StartNS: 0, EndNS: warmUp},
		{Name: "measured", Rate: s.m.Rate, StartNS: warmUp, EndNS: warmUp + measured, Measured: true},
	}
	for i := range s.phases {
		p := &s.phases[i]
		p.Planned = uint64(p.Rate * float64(p.EndNS-p.StartNS) / float64(time.Second))
		for k := range p.Planned {
			s.request(i, p.StartNS+int64(float64(k)/p.Rate*float64(time.Second)))
		}
	}
}

func (s *simulation) request(phase int, plannedNS int64) {
	number := uint64(len(s.accepted))
	a := ledger.Attempt{Request: number, Attempt: 1, Phase: phase, PlannedNS: plannedNS,
		SentNS: plannedNS + 40_000 + s.random.Int64N(160_000), Bytes: 15_000}
	if s.down(a.SentNS) || s.down(a.SentNS+acceptNS) {
		failed := a
		failed.DoneNS, failed.Cause = max(a.SentNS, s.killNS)+ms/5, ledger.CauseConnectionRefused
		s.attempts = append(s.attempts, failed)
		a.Attempt, a.SentNS = 2, s.readyNS+s.random.Int64N(50*ms)
	}
	a.Status, a.Accepted = 202, eventsPerRequest
	a.DoneNS = a.SentNS + acceptNS + ms/2
	if s.m.Ack != "memory" {
		a.DoneNS += ms + s.random.Int64N(2*ms)
	}
	s.accepted = append(s.accepted, a.SentNS+acceptNS)
	s.attempts = append(s.attempts, a)
}

func (s *simulation) down(ns int64) bool { return s.m.Kill > 0 && ns >= s.killNS && ns < s.readyNS }

// serve empties the queue, a transaction every tick.
func (s *simulation) serve() {
	perTick := int(s.m.EventsPerS * float64(commitEveryNS) / float64(time.Second))
	order := byTime(s.accepted)
	var waiting commit
	for at := int64(0); len(order) > 0 || len(waiting.events) > 0; at += commitEveryNS {
		if s.m.Ack == "memory" && at > s.killNS && at <= s.killNS+commitEveryNS && s.m.Kill > 0 {
			s.lost, waiting = append(s.lost, waiting.events...), commit{}
		}
		for len(order) > 0 && s.accepted[order[0]] <= at {
			for n := order[0] * eventsPerRequest; n < (order[0]+1)*eventsPerRequest; n++ {
				waiting.events = append(waiting.events, n)
				waiting.acceptedNS = append(waiting.acceptedNS, s.accepted[order[0]])
			}
			order = order[1:]
		}
		if n := min(perTick, len(waiting.events)); n > 0 && !s.down(at) {
			s.commits = append(s.commits, commit{at, waiting.events[:n], waiting.acceptedNS[:n]})
			waiting.events, waiting.acceptedNS = waiting.events[n:], waiting.acceptedNS[n:]
			s.endNS = at
		}
	}
}

// answer lets requests at ack=store wait for the transaction of their last event.
func (s *simulation) answer() {
	committed, repeats := make([]int64, len(s.accepted)), make([]int, len(s.accepted))
	seen := map[uint64]bool{}
	for _, c := range s.commits {
		for _, n := range c.events {
			committed[n/eventsPerRequest] = c.atNS
			if original := s.stream.Original(n); seen[original] {
				repeats[n/eventsPerRequest]++
			} else {
				seen[original] = true
			}
		}
	}
	for i := range s.phases {
		s.phases[i].EndNS = 0
	}
	for i := range s.attempts {
		a := &s.attempts[i]
		if s.m.Ack == "store" && a.Status != 0 {
			a.Status, a.DoneNS, a.Duplicates = 200, committed[a.Request]+ms/2, repeats[a.Request]
		}
		s.phases[a.Phase].EndNS = max(s.phases[a.Phase].EndNS, a.DoneNS)
	}
}

func (s *simulation) run() record.Run {
	run := record.Run{
		ID: "synthetic", Sitting: s.m.Sitting,
		Scenario: record.Scenario{Name: s.m.Scenario, Case: s.m.Case, Repeat: max(1, s.m.Repeat),
			Question: s.question(), Path: "scenarios/" + s.m.Scenario + ".yaml",
			Text: s.text(), Sweep: s.m.Sweep},
		StartedAt: startedAt,
		Environment: record.Environment{CPUModel: "synthetic, nothing here was measured", Cores: 2, MemoryBytes: 8 << 30,
			OS: "linux/amd64", Kernel: "6.0", Filesystem: "ext4", Fdatasync: record.Fdatasync{P50US: 300, P99US: 900, Count: 200},
			GoVersion: "go1.26", Commit: "0000000", Store: record.Store{Dedup: "table", SQLiteVersion: "3.50.0",
				JournalMode: "wal", Synchronous: "full", PageSize: 4096}},
		Aggregator: record.Aggregator{Flags: []string{"-ack=" + s.m.Ack}, Ack: s.m.Ack, Version: "synthetic"},
		Stream:     s.stream.Config(),
		Load:       record.Load{EventsPerRequest: eventsPerRequest, Encoding: "json", Compression: "none"},
		Phases:     s.phases,
		DrainedNS:  s.endNS + 2*sampleEveryNS + ms, // a sample behind the last commit has shown it
	}
	if s.m.Kill > 0 {
		run.Fault = &record.FaultTimes{Kind: "sigkill", AtNS: s.killNS, ExitedNS: s.killNS + ms, RestartedNS: s.killNS + 2*ms, ReadyNS: s.readyNS}
	}
	return run
}

func (s *simulation) question() string {
	if made, err := scenario.Parse("", []byte(s.m.Text)); err == nil {
		return made.Question
	}
	return "Synthetic figures for a test: what does " + s.m.Scenario + " look like?"
}

// text is the scenario that the model is one case of.
func (s *simulation) text() string {
	if s.m.Text != "" {
		return s.m.Text
	}
	text := fmt.Sprintf("name: %s\nquestion: %q\nstream: {seed: %d, duplicates: 0.2}\nload:\n  events_per_request: %d\n  phases:\n",
		s.m.Scenario, s.question(), streamSeed, eventsPerRequest)
	for i, lasts := range []time.Duration{time.Second, s.m.Measured} {
		p := s.phases[i]
		text += fmt.Sprintf("    - {name: %s, rate: %g/s, duration: %s, measured: %t}\n", p.Name, p.Rate, lasts, p.Measured)
	}
	settings := []string{fmt.Sprintf("aggregator: {ack: %s}", s.m.Ack)}
	if s.m.Kill > 0 {
		settings = append(settings, fmt.Sprintf("fault: {kind: sigkill, at: %s}", s.m.Kill))
	}
	if s.m.Kill > 0 && s.m.Ack == "memory" {
		settings = append(settings, "expect: {lost: some}")
	}
	if s.m.Case == "" {
		return text + strings.Join(settings, "\n") + "\n"
	}
	return text + fmt.Sprintf("cases:\n  - {name: %s, %s}\n", s.m.Case, strings.Join(settings, ", "))
}

// keptOf has what was computed of the same commits before: most folders of a test differ in their
// times alone, and their contents take most of the time.
var keptOf sync.Map // of keptKey: kept

type (
	keptKey struct {
		stream  stream.Config
		numbers [sha256.Size]byte // of the events in the order of their commits
		late    int               // events with an earlier time than one before
	}
	kept struct {
		stored   record.Stored
		counters audit.Counters
	}
)

// kept is what the commits left, each original once, and what their counters would say.
func (s *simulation) kept() (record.Stored, audit.Counters) {
	key, last := keptKey{stream: s.stream.Config()}, int64(0)
	numbers := sha256.New()
	for _, commit := range s.commits {
		for i, n := range commit.events {
			numbers.Write(binary.LittleEndian.AppendUint64(nil, n))
			if commit.acceptedNS[i] < last {
				key.late++
			}
			last = max(last, commit.acceptedNS[i])
		}
	}
	numbers.Sum(key.numbers[:0])
	if k, ok := keptOf.Load(key); ok {
		return k.(kept).stored, k.(kept).counters
	}
	stored, counters := s.keep()
	keptOf.Store(key, kept{stored, counters})
	return stored, counters
}

// keep computes it.
func (s *simulation) keep() (record.Stored, audit.Counters) {
	kept := record.NewCollector(s.stream)
	var c audit.Counters
	stored := map[uint64]bool{}
	for _, commit := range s.commits {
		for i, n := range commit.events {
			c.Received++
			original := s.stream.Original(n)
			if stored[original] {
				c.DuplicateDropped++
				continue
			}
			stored[original] = true
			c.UniqueProcessed++
			e := s.stream.Event(original)
			at := startedAt.Add(time.Duration(commit.acceptedNS[i])).Format(time.RFC3339Nano)
			kept.Add(&audit.Event{Seq: int64(c.UniqueProcessed), Topic: []byte(e.Topic), EventID: []byte(e.EventID), Timestamp: []byte(e.Timestamp),
				Source: []byte(e.Source), Payload: []byte(e.Payload), ReceivedAt: []byte(at)})
		}
	}
	return kept.Stored(false), c
}

// audit is that of an aggregator of which all else is as it should be.
func (s *simulation) audit(dir string, run record.Run) (audit.Report, error) {
	stored, counters := s.kept()
	if err := record.WriteStored(dir, stored); err != nil {
		return audit.Report{}, err
	}
	raw := &record.Raw{Run: run, Attempts: s.attempts, Stored: &stored}
	recorded := audit.Report{Counters: &counters, Database: &audit.Database{Events: counters.UniqueProcessed, Integrity: "ok"}, Findings: []string{}}
	for _, name := range []string{"processed_not_numbered", "committed_fell", "committed_not_readable", "page_events_wrong", "topic_page_events_wrong", "stream_events_wrong", "changed_on_disk"} {
		recorded.AddChecks(audit.None(name, 0))
	}
	return figures.Audit(raw, recorded)
}

func (s *simulation) writeRaw(dir string, run record.Run) error {
	requests, err := os.Create(filepath.Join(dir, record.RequestsFile))
	if err != nil {
		return err
	}
	defer requests.Close()
	rows := ledger.NewWriter(requests)
	for _, a := range s.attempts {
		rows.Write(a)
	}
	if err := rows.Close(); err != nil {
		return err
	}
	if err := s.writeTrace(filepath.Join(dir, record.TraceFile)); err != nil {
		return err
	}
	if err := record.WriteHistograms(dir, s.histograms()); err != nil {
		return err
	}
	text, err := json.Marshal(run.Audit)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, record.AuditFile), text, 0o644)
}
