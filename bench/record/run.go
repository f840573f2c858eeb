package record

import (
	"strings"
	"time"

	"sekali/bench/internal/audit"
	"sekali/loadgen/stream"
)

// The files of a result folder. The raw ones have their SHA-256 in run.json, and so have profiles.
const (
	RunFile        = "run.json"
	RequestsFile   = "requests.csv.gz"    // raw: the ledger, one row an attempt
	TraceFile      = "trace.csv.gz"       // raw: one row a sample
	HistogramsFile = "histograms.json"    // raw: the aggregator's own histograms
	AuditFile      = "audit.json"         // raw: as in run.json, for who wants it alone
	ReadsFile      = "reads.csv.gz"       // raw: what readers beside the load read, one row each
	YardstickFile  = "yardstick.csv.gz"   // raw: the ledger of the yardstick's load, as of the aggregator's
	StoredFile     = "stored" + Extension // raw: which originals the aggregator gave back, in its order
	BenchFile      = "bench.txt"          // derived: the Go benchmark format
	PageFile       = "report.html"        // derived: opens offline
	ProfilesDir    = "profiles"           // only if asked for
	StagesFile     = "stages.json"        // in ProfilesDir: the table of stages that the aggregator had
	IndexFile      = "index.json"         // of the folder that holds the result folders of one run

	InterruptedFile = "INTERRUPTED" // marks a folder whose run was ended early
)

// RawFiles are the files that every figure follows from, but for what profiles say.
var RawFiles = []string{RequestsFile, TraceFile, HistogramsFile, AuditFile, StoredFile}

// besideFiles are raw files that only some results have: those beside a yardstick, or with readers.
var besideFiles = []string{YardstickFile, ReadsFile}

// Run is run.json: what was asked, what it ran on, what came out. All times that end in _ns are
// nanoseconds since the attack's start, unless they are durations.
type Run struct {
	Format      int         `json:"format"`
	ID          string      `json:"id"`                // name of the run that this result belongs to, as 20261231-235959
	Sitting     *Sitting    `json:"sitting,omitempty"` // null: not recorded
	Scenario    Scenario    `json:"scenario"`
	StartedAt   time.Time   `json:"started_at"` // the attack's start
	Environment Environment `json:"environment"`
	Aggregator  Aggregator  `json:"aggregator"`

	// The inputs of the summary, together with the raw files.
	Stream    stream.Config `json:"stream"`
	Load      Load          `json:"load"`
	Phases    []PhaseTimes  `json:"phases"`            // in order; a ledger row's phase is the index
	Fault     *FaultTimes   `json:"fault"`             // null: none
	Cluster   *Cluster      `json:"cluster,omitempty"` // absent: one aggregator alone
	DrainedNS int64         `json:"drained_ns"`        // the queue was first seen empty after the last answer
	Generator Generator     `json:"generator"`

	Readers []Readers `json:"readers,omitempty"` // beside the load

	// Yardstick is absent where the scenario asks for none.
	Yardstick *YardstickRun `json:"yardstick,omitempty"`

	// Surroundings is absent in records of before they were watched.
	Surroundings *Surroundings `json:"surroundings,omitempty"`

	// What follows from them.
	Summary      Summary       `json:"summary"`
	Validity     Validity      `json:"validity"`
	Audit        *audit.Report `json:"audit"` // null: not audited; such a run cannot enter REPORT.md
	Expectations []Expectation `json:"expectations"`
	Files        []File        `json:"files"` // the raw ones, and profiles
}

// Sitting is the place of a run among those that one command ran.
type Sitting struct {
	Number int `json:"number"` // from 1
	Of     int `json:"of"`
}

// Scenario is the question, verbatim.
type Scenario struct {
	Name     string `json:"name"`
	Case     string `json:"case"`   // "": the only one
	Repeat   int    `json:"repeat"` // from 1
	Question string `json:"question"`
	Path     string `json:"path"`
	Text     string `json:"text"`            // the whole file
	Sweep    *Sweep `json:"sweep,omitempty"` // the case's place on a curve
}

// Sweep is a parameter that the cases of a scenario differ in.
type Sweep struct {
	Parameter string `json:"parameter"` // as in the scenario: load.events_per_request
	Value     string `json:"value"`     // a number, or a name
	Curve     string `json:"curve"`     // which of several the case is of; "" where there is one
}

// Label is the scenario with its case, as tables name it.
func (s Scenario) Label() string {
	if s.Case == "" {
		return s.Name
	}
	return s.Name + "/" + s.Case
}

// Aggregator is the system under test.
type Aggregator struct {
	Flags    []string `json:"flags"` // as they were given
	Ack      string   `json:"ack"`   // memory, journal or store: what the requests asked for
	Version  string   `json:"version"`
	External bool     `json:"external"` // it was running already: its process was not measured
}

// Load is how the events were sent.
type Load struct {
	EventsPerRequest int    `json:"events_per_request"`
	Encoding         string `json:"encoding"`         // json or ndjson
	Compression      string `json:"compression"`      // none, gzip or zstd
	Client           string `json:"client,omitempty"` // "" is vegeta, or light
}

// PhaseTimes is one stretch of the load.
type PhaseTimes struct {
	Name     string  `json:"name"`
	Rate     float64 `json:"rate_per_s"`         // requests a second; 0: closed loop
	Arrivals string  `json:"arrivals,omitempty"` // of an open loop: "" is even, or poisson, by the stream's seed
	Clients  int     `json:"clients"`            // closed loop
	Measured bool    `json:"measured"`
	StartNS  int64   `json:"start_ns"` // first planned request
	EndNS    int64   `json:"end_ns"`   // last answer
	Planned  uint64  `json:"planned"`  // requests
}

// Cluster is what was started where that was not one aggregator.
type Cluster struct {
	Nodes    int    `json:"nodes"`              // each an aggregator and a log server
	Replicas int    `json:"replicas,omitempty"` // copies of the log; absent: 3
	Sync     string `json:"sync,omitempty"`     // of the log servers: always, also where it is absent, or lazy
	Before   uint64 `json:"before,omitempty"`   // events that were in it before the load
}

// YardstickRun is a server that only answers, and had the same load just before the case.
type YardstickRun struct {
	Kind        string       `json:"kind"`          // bare
	Phases      []PhaseTimes `json:"phases"`        // since the start of its load
	ServerCPUNS int64        `json:"server_cpu_ns"` // that the server used, in all its phases
}

// FaultTimes is what was done to the aggregator.
type FaultTimes struct {
	Kind        string `json:"kind"`           // as the scenario names it
	Role        string `json:"role,omitempty"` // of a cluster: who it was done to
	AtNS        int64  `json:"at_ns"`          // the signal, or the disk or the network broke
	ExitedNS    int64  `json:"exited_ns"`      // the process had ended; 0: what was broken ends none
	RestartedNS int64  `json:"restarted_ns"`   // the next one was started, or what was broken was well again
	ReadyNS     int64  `json:"ready_ns"`       // and the aggregator said that it was ready
	Join        *Join  `json:"join,omitempty"` // of a node that was made anew
}

// Join is how a node was made anew from another one.
type Join struct {
	Before    uint64  `json:"before"`     // events that the other one had when it began
	BeganNS   int64   `json:"began_ns"`   // the command was started
	JoinedNS  int64   `json:"joined_ns"`  // it had ended: the copy is in its place
	Behind    uint64  `json:"behind"`     // messages of the log that the node had to apply when it had started
	LagSMax   float64 `json:"lag_s_max"`  // the longest lag that it told until it was level
	LevelNS   int64   `json:"level_ns"`   // it was as far as the other one had been a moment before
	CopyBytes uint64  `json:"copy_bytes"` // of the database that it got
}

// Generator is what the generator saw of itself.
type Generator struct {
	Stalls         int   `json:"stalls"`           // beats that came late by more than the stall limit
	LongestStallNS int64 `json:"longest_stall_ns"` // 0: none came late

	// What it reached before the case, with the case's bodies and clients, against a server that
	// only answers.
	CeilingRequests uint64 `json:"ceiling_requests,omitempty"` // acknowledged; 0: not measured
	CeilingNS       int64  `json:"ceiling_ns,omitempty"`       // in that time

	// The connections that the load opened, and the median of what the first answer on each took
	// beyond the longest later answer of its time.
	Connections   uint64 `json:"connections,omitempty"` // 0: not counted
	FirstAnswerNS int64  `json:"first_answer_ns,omitempty"`
}

// Validity says whether the figures are the aggregator's.
type Validity struct {
	Valid   bool     `json:"valid"`
	Reasons []Reason `json:"reasons"` // why not

	// Unchecked is what could not be checked, and is nobody's fault: a running server's CPU time.
	Unchecked []Reason `json:"unchecked,omitempty"`
}

// Reason is why a run is INVALID: Code is for programs, and Text for people, a whole sentence
// without a full stop.
type Reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Texts are the reasons for people.
func (v Validity) Texts() []string { return texts(v.Reasons) }

func texts(reasons []Reason) []string {
	texts := make([]string, len(reasons))
	for i, r := range reasons {
		texts[i] = r.Text
	}
	return texts
}

func (v Validity) String() string {
	text := "VALID"
	if !v.Valid {
		text = "INVALID: " + strings.Join(v.Texts(), "; ")
	}
	if len(v.Unchecked) > 0 {
		text += " (not checked: " + strings.Join(texts(v.Unchecked), "; ") + ")"
	}
	return text
}

// Expectation is one claim of the scenario and what became of it.
type Expectation struct {
	Name     string `json:"name"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
	Held     bool   `json:"held"`
}

// File is a raw file as it was when the summary was computed.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // hex
}

// ClosedLoop says that no measured request had a moment at which it was due: each was sent when its
// client was free.
func (r Run) ClosedLoop() bool {
	for _, p := range r.Phases {
		if p.Measured && p.Rate > 0 {
			return false
		}
	}
	return true
}

// Held says that every expectation held.
func (r Run) Held() bool {
	for _, e := range r.Expectations {
		if !e.Held {
			return false
		}
	}
	return true
}
