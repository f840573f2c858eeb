// Package scenario reads the lab's questions: one strict YAML file each, saying how the aggregator
// is started, what is sent to it, what is broken and what must hold. A file that could be read in
// two ways is refused, with its line and column.
package scenario

import (
	"fmt"
	"strconv"
	"time"

	"sekali/loadgen/stream"
)

// Scenario is one file, with its cases resolved: what a case leaves out is the file's own setting.
type Scenario struct {
	Path     string // as it was given to Read
	Text     []byte // the file, verbatim
	Name     string
	Question string
	Tags     []string
	Search   Search // for bench saturate; every scenario has one, by default
	Cases    []Case // at least one; the only one of a file without `cases` and `sweep` has the name ""
}

// Case is one set of settings that is run with a process, a data folder and a result folder of its
// own.
type Case struct {
	Name     string
	Settings Settings
	Point    *Point // on the curve of a sweep; nil: the file has none

	place string // in the file: "cases[2].", or "" where it has no cases
}

// Settings is what a file states and a case may override, key by key; `phases` is replaced as a
// whole.
type Settings struct {
	Aggregator Aggregator    `yaml:"aggregator"`
	Cluster    Cluster       `yaml:"cluster"`
	Disk       Disk          `yaml:"disk"`
	Network    Network       `yaml:"network"`
	Stream     stream.Config `yaml:"stream"`
	Load       Load          `yaml:"load"`
	Readers    []Reader      `yaml:"readers"`
	Yardstick  string        `yaml:"yardstick"` // none (default) or bare
	Fault      Fault         `yaml:"fault"`
	Expect     Expect        `yaml:"expect"`
}

// Aggregator names flags of the aggregator; zero leaves the flag out.
type Aggregator struct {
	Ack          string `yaml:"ack"` // memory, journal, replicated (of a cluster) or store
	Dedup        string `yaml:"dedup"`
	Layout       string `yaml:"layout"`
	BatchEvents  int    `yaml:"batch_events"`
	QueueEvents  int    `yaml:"queue_events"`
	QueueBytes   int64  `yaml:"queue_bytes"`
	BacklogBytes int64  `yaml:"backlog_bytes"`
	MaxBodyBytes int64  `yaml:"max_body_bytes"`
	MaxStreams   int    `yaml:"max_streams"`
}

// Flags returns the command-line arguments, in a fixed order.
func (a Aggregator) Flags() []string {
	var flags []string
	text := func(name, value string) {
		if value != "" {
			flags = append(flags, "-"+name+"="+value)
		}
	}
	number := func(name string, value int64) {
		if value != 0 {
			text(name, strconv.FormatInt(value, 10))
		}
	}
	text("ack", a.Ack)
	text("dedup", a.Dedup)
	text("layout", a.Layout)
	number("batch-events", int64(a.BatchEvents))
	number("queue-events", int64(a.QueueEvents))
	number("queue-bytes", a.QueueBytes)
	number("backlog-bytes", a.BacklogBytes)
	number("max-body-bytes", a.MaxBodyBytes)
	number("max-streams", int64(a.MaxStreams))
	return flags
}

// Cluster says that not one aggregator is started, but so many, with as many log servers under
// them. Publishers know all of them, and the audit compares what each holds.
type Cluster struct {
	Nodes    int    `yaml:"nodes"`    // 0 (default): one aggregator alone
	Replicas int    `yaml:"replicas"` // copies of the log: 3 (default), or 1
	Sync     string `yaml:"sync"`     // of the log servers: always (default), or lazy
	Before   uint64 `yaml:"before"`   // events that are in it before the load
}

// Lazy reports log servers that answer before they have synced, for comparison.
func (c Cluster) Lazy() bool { return c.Sync == SyncLazy }

// How the log servers sync.
const (
	SyncAlways = "always"
	SyncLazy   = "lazy"
)

// Disk says that the data folder lies on a disk of its own, which is held to so much a second.
type Disk struct {
	MBPerS         int `yaml:"mb_per_s"`         // read and written, each for itself; 0: no limit
	OperationsPerS int `yaml:"operations_per_s"` // the same
}

// Network says that publishers reach the aggregator over a network of their own, not over the
// loopback.
type Network struct {
	RTT      Duration `yaml:"rtt"`        // there and back, half of it each way; 0: no delay
	MbitPerS int      `yaml:"mbit_per_s"` // each way; 0: no limit
}

// Load is what the generator sends.
type Load struct {
	EventsPerRequest int     `yaml:"events_per_request"`
	Encoding         string  `yaml:"encoding"`    // json (default) or ndjson
	Compression      string  `yaml:"compression"` // none (default), gzip or zstd
	Client           string  `yaml:"client"`      // vegeta (default) or light
	Phases           []Phase `yaml:"phases"`
}

// The clients that send a load.
const (
	Vegeta = "vegeta"
	Light  = "light" // for many small requests
)

// What a case is set beside.
const (
	NoYardstick = "none"
	// Bare is a server that only answers, as the aggregator would: it has the same load just before.
	Bare = "bare"
)

// Reader says who reads beside the load, from the first measured phase to the load's end: pages at
// a rate, from places at random, or streams.
type Reader struct {
	Kind    string `yaml:"kind"`    // topic, seq, time or stream
	Rate    Rate   `yaml:"rate"`    // of pages
	Limit   int    `yaml:"limit"`   // events of a page; default 100
	Clients int    `yaml:"clients"` // streams, each of one topic
}

// The kinds of readers.
const (
	ReadTopic  = "topic" // pages of one topic
	ReadSeq    = "seq"   // pages of all topics
	ReadTime   = "time"  // pages since a moment within the reading
	ReadStream = "stream"
)

// Phase is one stretch of the load: a schedule (rate and duration) or a number of clients that each
// send the next request when the last one is answered.
type Phase struct {
	Name     string   `yaml:"name"`
	Rate     Rate     `yaml:"rate"`     // requests a second, open loop
	Arrivals string   `yaml:"arrivals"` // with rate: even (default) or poisson, at random moments by the stream's seed
	Duration Duration `yaml:"duration"` // with rate; with clients, instead of requests
	Clients  int      `yaml:"clients"`  // closed loop
	Requests uint64   `yaml:"requests"` // with clients: how many in all
	Measured bool     `yaml:"measured"` // counts in the summary
}

// Fault is what is done to the aggregator while it is under load.
type Fault struct {
	Kind         string   `yaml:"kind"`          // none (default), sigterm or sigkill, disk-full, disk-error or slow-disk, join, partition
	Role         string   `yaml:"role"`          // of a cluster: who is ended or cut off
	At           Duration `yaml:"at"`            // since the attack's start
	RestartAfter Duration `yaml:"restart_after"` // of a process that was ended
	For          Duration `yaml:"for"`           // how long the disk is broken, or the network
}

// Lasts reports a fault that no process is ended by, and that ends by itself.
func (f Fault) Lasts() bool { return f.OfDisk() || f.Kind == Partition }

// OfDisk reports a fault of the disk, which the aggregator outlives.
func (f Fault) OfDisk() bool { return f.Kind == DiskFull || f.Kind == DiskError || f.Kind == SlowDisk }

// The kinds of fault.
const (
	NoFault = "none"
	Sigterm = "sigterm"
	Sigkill = "sigkill"
	// The data folder lies on a disk of its own, which is full for a while.
	DiskFull = "disk-full"
	// Every fsync fails with EIO, or takes 200 ms, for a while.
	DiskError = "disk-error"
	SlowDisk  = "slow-disk"
	// The last node of a cluster is killed, loses all that it has, and is made anew from the first.
	Join = "join"
	// A part of a cluster hears nothing of the other machines, nor they of it, for a while.
	Partition = "partition"
)

// The roles in a cluster.
const (
	RoleNode      = "node"       // an aggregator, the one that the figures are of; cut off, from every log server
	LogLeader     = "log-leader" // the log server that leads
	LogFollower   = "log-follower"
	LeaderMachine = "leader-machine" // the log server that leads, and the aggregator beside it
)

// Expect is what the scenario claims. What it leaves out is set by defaults: nothing lost,
// duplicated or unexpected, everything acknowledged in the end, the deduplication rate exact, and
// where nothing is broken every attempt acknowledged.
type Expect struct {
	Lost              Count  `yaml:"lost"`
	Duplicated        Count  `yaml:"duplicated"`
	Unexpected        Count  `yaml:"unexpected"`
	Unacknowledged    Count  `yaml:"unacknowledged"`     // measured requests that no attempt of the publisher got through
	Refused           Count  `yaml:"refused"`            // measured attempts that were answered 503
	Failures          Count  `yaml:"failures"`           // measured attempts without an answer, or with another than 2xx and 503
	DeduplicationRate string `yaml:"deduplication_rate"` // exact or any
}

// Rate is in requests a second; in the file "50/s".
type Rate float64

// Duration is written with its unit: "3s", "250ms".
type Duration time.Duration

// Count is what a counter must be: a number, "any", or "some" (at least one: the control of a
// promise that does not hold at this setting). The zero Count is "not stated".
type Count struct {
	text string // "", "any", "some" or decimal
}

// Exactly is the Count of n.
func Exactly(n uint64) Count { return Count{strconv.FormatUint(n, 10)} }

// The Counts without a number.
var (
	Any  = Count{"any"}
	Some = Count{"some"}
)

// Allows says whether n meets the expectation. A Count that is not stated allows everything.
func (c Count) Allows(n uint64) bool {
	switch c.text {
	case "", "any":
		return true
	case "some":
		return n > 0
	}
	return c.text == strconv.FormatUint(n, 10)
}

// String is the text as it stands in the file.
func (c Count) String() string { return c.text }

// Long says that the scenario is kept out of `make bench`.
func (s *Scenario) Long() bool {
	for _, tag := range s.Tags {
		if tag == "long" {
			return true
		}
	}
	return false
}

// Duration is the planned time of the phases that have one; closed-loop phases bounded by requests
// count as nothing.
func (l Load) Duration() time.Duration {
	var total time.Duration
	for _, p := range l.Phases {
		total += time.Duration(p.Duration)
	}
	return total
}

// Error is a refusal of a scenario file; Line and Column are 1-based, 0 where there is no place to
// point at.
type Error struct {
	Path         string
	Line, Column int
	Message      string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.Path, e.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.Path, e.Line, e.Column, e.Message)
}
