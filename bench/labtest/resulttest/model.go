// Package resulttest makes result folders for tests from a model: a queue that a clockwork server
// empties. Nothing in them was measured, and their run.json says so.
package resulttest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"sekali/bench/audit"
	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

const (
	ms = int64(time.Millisecond)
	// The model's times.
	sampleEveryNS = 100 * ms
	commitEveryNS = 20 * ms
	acceptNS      = 1 * ms // sent → in the queue
	// eventsPerRequest keeps the folders small.
	eventsPerRequest = 50
)

// Model says what the folder shall look like it had measured.
type Model struct {
	Scenario, Case string
	Repeat         int
	Ack            string        // memory, journal or store
	Rate           float64       // requests/s in the measured phase; the warm-up has half of it
	Measured       time.Duration // at least 1 s
	EventsPerS     float64       // what the server commits
	Kill           time.Duration // SIGKILL at this moment; 0: none
	Down           time.Duration // until it is ready again
	Seed           uint64
}

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
	events, err := stream.New(stream.Config{Seed: m.Seed, Duplicates: 0.2})
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
	if err := s.writeRaw(dir, run); err != nil {
		return err
	}
	if err := record.WriteRun(dir, run); err != nil {
		return err
	}
	_, err = judge.Finish(dir)
	return err
}

// send plans the requests and lets the server accept them: at once, or after a retry once it is
// back.
func (s *simulation) send() {
	warmUp, measured := int64(time.Second), int64(s.m.Measured)
	s.phases = []record.PhaseTimes{
		{Name: "warm-up", Rate: s.m.Rate / 2, StartNS: 0, EndNS: warmUp},
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
		failed.DoneNS, failed.Cause = a.SentNS+ms/5, ledger.CauseConnectionRefused
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
	committed := make([]int64, len(s.accepted))
	for _, c := range s.commits {
		for _, n := range c.events {
			committed[n/eventsPerRequest] = c.atNS
		}
	}
	for i := range s.attempts {
		a := &s.attempts[i]
		if s.m.Ack == "store" && a.Status != 0 {
			a.Status, a.DoneNS = 200, committed[a.Request]+ms/2
		}
		s.phases[a.Phase].EndNS = max(s.phases[a.Phase].EndNS, a.DoneNS)
	}
}

func (s *simulation) run() record.Run {
	run := record.Run{
		ID: "synthetic",
		Scenario: record.Scenario{Name: s.m.Scenario, Case: s.m.Case, Repeat: max(1, s.m.Repeat),
			Question: "Synthetic figures for a test: what does " + s.m.Scenario + " look like?", Path: "scenarios/" + s.m.Scenario + ".yaml",
			Text: "name: " + s.m.Scenario + "\n"},
		StartedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Environment: record.Environment{CPUModel: "synthetic, nothing here was measured", Cores: 2, MemoryBytes: 8 << 30,
			OS: "linux/amd64", Kernel: "6.0", Filesystem: "ext4", Fdatasync: record.Fdatasync{P50US: 300, P99US: 900, Count: 200},
			GoVersion: "go1.26", Commit: "0000000", Store: record.Store{Dedup: "table", SQLiteVersion: "3.50.0",
				JournalMode: "wal", Synchronous: "full", PageSize: 4096}},
		Aggregator: record.Aggregator{Flags: []string{"-ack=" + s.m.Ack}, Ack: s.m.Ack, Version: "synthetic"},
		Stream:     s.stream.Config(),
		Load:       record.Load{EventsPerRequest: eventsPerRequest, Encoding: "json", Compression: "none"},
		Phases:     s.phases,
		DrainedNS:  s.endNS + sampleEveryNS,
		Expectations: []record.Expectation{
			{Name: "lost", Expected: s.expectLost(), Got: fmt.Sprint(s.lostOriginals()), Held: true},
			{Name: "duplicated", Expected: "0", Got: "0", Held: true}},
	}
	if s.m.Kill > 0 {
		run.Fault = &record.FaultTimes{Kind: "sigkill", AtNS: s.killNS, ExitedNS: s.killNS + ms, RestartedNS: s.killNS + 2*ms, ReadyNS: s.readyNS}
	}
	report := s.audit()
	run.Audit = &report
	return run
}

func (s *simulation) expectLost() string {
	if s.m.Ack == "memory" && s.m.Kill > 0 {
		return "some"
	}
	return "0"
}

// lostOriginals is the number of distinct events that the kill took and no other request carried.
func (s *simulation) lostOriginals() uint64 {
	stored, lost := s.stored(), map[uint64]bool{}
	for _, n := range s.lost {
		if original := s.stream.Original(n); !stored[original] {
			lost[original] = true
		}
	}
	return uint64(len(lost))
}

func (s *simulation) stored() map[uint64]bool {
	stored := map[uint64]bool{}
	for _, c := range s.commits {
		for _, n := range c.events {
			stored[s.stream.Original(n)] = true
		}
	}
	return stored
}

func (s *simulation) audit() audit.Report {
	stored := uint64(len(s.stored()))
	var processed uint64
	for _, c := range s.commits {
		processed += uint64(len(c.events))
	}
	return audit.Report{Bounds: audit.Bounds{DuplicatesMin: processed - stored, DuplicatesMax: processed - stored},
		Acknowledged: stored + s.lostOriginals(), Stored: stored, Lost: s.lostOriginals(),
		Checks: []audit.Check{{Name: "unique_processed", Held: true, Got: stored, Min: stored, Max: stored}}, Findings: []string{}}
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
