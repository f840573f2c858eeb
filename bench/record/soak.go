package record

import (
	"sekali/bench/internal/audit"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// Soak is what a soak left. Its ledger is too long to be kept with its times, a hundred megabytes
// in half an hour: a digest has what became of each request, and the times are counted window by
// window.
type Soak struct {
	Format  int    `json:"format"`
	Date    string `json:"date"` // RFC 3339
	Machine string `json:"machine"`
	Commit  string `json:"commit"`

	Seconds          float64       `json:"seconds"` // of the load
	RequestsPerS     float64       `json:"requests_per_s"`
	Stream           stream.Config `json:"stream"`
	EventsPerRequest int           `json:"events_per_request"`
	Planned          uint64        `json:"planned"` // requests
	Readers          int           `json:"readers"`
	SlowClients      int           `json:"slow_clients"`
	PagesRead        int           `json:"pages_read"`
	KillsS           []float64     `json:"kills_s"`     // since the load began
	RecoveryMS       []float64     `json:"recovery_ms"` // from the restart to ready

	Ledger   ledger.Digest  `json:"ledger"`
	Stored   Stored         `json:"stored"` // by number
	Counters audit.Counters `json:"counters"`
	Lag      Times          `json:"lag"` // of the generator, from planned to sent, of first attempts

	WindowS float64      `json:"window_s"`
	Metrics []string     `json:"metrics"` // the names of a window's values
	Windows []SoakWindow `json:"windows"`
	Broken  []string     `json:"broken,omitempty"` // what else was promised and not kept, in words
}

// SoakWindow is a stretch of the soak, during all of which one process was up.
type SoakWindow struct {
	S         float64   `json:"s"` // its end, since the load began
	Stored    uint64    `json:"stored"`
	Values    []float64 `json:"values"`    // by Metrics, as they were at the end
	Responses Times     `json:"responses"` // of the requests that were due in it
}

// Times counts durations in buckets of 1 %: pairs of how many buckets further one is than the one
// before it, and its count. Bucket b has what is above 1.01^(b-1) and at most 1.01^b microseconds,
// bucket 0 all below.
type Times [][2]uint64
