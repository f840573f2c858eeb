package record

import (
	"sekali/bench/internal/audit"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// What a fault promises. The third is of damage that takes acknowledged events with it: what is
// opened must be the beginning of what was stored, unchanged. The fourth is of what would make a
// cluster lie: somebody in it has to say so.
const (
	NothingLost    = "nothing acknowledged is lost"
	SomethingLost  = "control: something must be lost"
	PrefixOrRefuse = "a valid beginning, or refused with the reason"
	MustBeCaught   = "control: must be caught"
)

// What else the table tells of a fault; the figures have it from the ledger or from the looks.
const (
	TellsNothing  = ""
	TellsRefusals = "refusals" // how many requests were refused with 503
	TellsOverload = "overload" // how much more was offered than accepted
	TellsEnds     = "ends"     // how the looks ended
	TellsCounts   = "counts"   // what the control saw
	TellsOutages  = "outages"  // for how long nothing was acknowledged, by level
)

// Fault is what a run of one kind of fault left.
type Fault struct {
	Format  int      `json:"format"`
	Name    string   `json:"name"`
	Promise string   `json:"promise"`
	Tells   string   `json:"tells,omitempty"`
	Note    string   `json:"note,omitempty"`    // measured beside, in words
	Sitting *Sitting `json:"sitting,omitempty"` // its place among the kinds that were tried; null: not recorded
	Trials  []Trial  `json:"trials"`
	Skipped string   `json:"skipped,omitempty"` // why it did not run
}

// Trial is the life of one data folder.
type Trial struct {
	Stream           stream.Config `json:"stream"`
	EventsPerRequest uint64        `json:"events_per_request"`
	Levels           []string      `json:"levels"` // of acknowledgement, by the ledger's phases
	Ledger           ledger.Digest `json:"ledger"`
	Given            []Event       `json:"given,omitempty"` // that were there before anything was sent
	Injected         int           `json:"injected"`        // how many times
	RecoveryMS       []float64     `json:"recovery_ms"`     // from the restart to ready, or from the fault's end to the next acknowledgement
	Whole            *Stored       `json:"whole,omitempty"` // what was stored before the damage, of which a look must show the beginning
	Outages          []Outage      `json:"outages,omitempty"`
	Caught           []string      `json:"caught,omitempty"` // what a control was found by, once for each time
	Looks            []Look        `json:"looks"`
	Broken           []string      `json:"broken,omitempty"` // what else was promised and not kept, in words
}

// MinSilenceNS is the shortest time without an acknowledgement that an outage has: at 30 ms a
// request, publishers are silent for less all the time.
const MinSilenceNS = 100e6

// Outage is what publishers heard around one fault, in the time of the ledger.
type Outage struct {
	FromNS   int64         `json:"from_ns"`   // just before the fault
	StruckNS int64         `json:"struck_ns"` // it was there
	HealedNS int64         `json:"healed_ns"` // what it had taken was given back, and had yet to catch up
	UntilNS  int64         `json:"until_ns"`  // nothing was wrong any more
	Levels   []LevelOutage `json:"levels"`
}

// LevelOutage is that at one level of acknowledgement.
type LevelOutage struct {
	Level        string     `json:"level"`
	Acknowledged uint64     `json:"acknowledged"` // requests, from FromNS to UntilNS
	SilencesNS   [][2]int64 `json:"silences_ns"`  // every time of MinSilenceNS and more without an acknowledgement, from and to
}

// How a look ended: the aggregator does not start, it says so when it reads or writes, it gives up,
// or it shows what it has.
const (
	Shown      = "shown"
	Refused    = "refused"
	Noticed    = "noticed"
	EndedLater = "ended later"
)

// Ends are all of them.
var Ends = []string{Shown, Refused, Noticed, EndedLater}

// Look is what the aggregator has after a fault.
type Look struct {
	End      string          `json:"end"`
	Stored   *Stored         `json:"stored,omitempty"`   // null: it could not be read, or has expired
	Counters *audit.Counters `json:"counters,omitempty"` // with it
	Again    *Again          `json:"again,omitempty"`
	Replicas []Replica       `json:"replicas,omitempty"` // of a cluster; Stored is what the first of them has
}

// Replica is what one node of a cluster has.
type Replica struct {
	Name     string `json:"name"`
	Epoch    uint64 `json:"epoch"`
	Position uint64 `json:"position"` // of the log
	Hash     string `json:"hash"`     // of all that was decided up to there
	LastSeq  int64  `json:"last_seq"`
	Events   uint64 `json:"events"`
	SHA256   string `json:"sha256"` // of all its events, seq and received_at included
}

// Again is what came of it when everything acknowledged was published once more, in one request at
// ack=store.
type Again struct {
	Accepted   uint64          `json:"accepted"`
	Duplicates uint64          `json:"duplicates"` // of them
	Stored     *Stored         `json:"stored,omitempty"`
	Counters   *audit.Counters `json:"counters,omitempty"`
}
