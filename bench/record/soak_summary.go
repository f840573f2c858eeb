package record

import "fmt"

// What a soak watches, in the order of its columns. How many connections there are is the clients'
// affair: the generator opens as many as requests wait at one time, a hundred more after one kill
// than after another, and keeps them. Each is a descriptor and a goroutine.
const (
	SoakResident    = "resident memory, MB"
	SoakHeap        = "live heap, MB"
	SoakDescriptors = "descriptors beside connections"
	SoakGoroutines  = "goroutines beside connections"
	SoakWAL         = "WAL, MB"
	SoakBacklog     = "waiting in the journal, MB"
	SoakP50         = "response time p50, ms"
	SoakP99         = "response time p99, ms"
	// The machine itself, beside the aggregator: medians of a window.
	SoakSync = "control: bare fdatasync, ms"
	SoakWork = "control: fixed work, ms of CPU"
	// SoakRefaults: with memory free, only the machine's owner drops pages of files that are in use.
	SoakRefaults = "control: pages read again, a second"
)

var (
	// SoakColumns are the columns that a soak's windows may have, in their order. The soaks before 29
	// November 2026 have no controls.
	SoakColumns = []string{SoakResident, SoakHeap, SoakDescriptors, SoakGoroutines, SoakWAL, SoakBacklog, SoakP50, SoakP99,
		SoakSync, SoakWork, SoakRefaults}
	// SoakControls are those that say nothing of the aggregator.
	SoakControls = []string{SoakSync, SoakWork, SoakRefaults}
)

// SoakSummary is a long run at half of what the aggregator can do: SIGKILL six times in its first
// half, then left alone, with readers and slow clients beside it all the time.
type SoakSummary struct {
	Date    string `json:"date"` // RFC 3339
	Machine string `json:"machine"`
	Commit  string `json:"commit"`

	Seconds          float64   `json:"seconds"` // of the load
	RequestsPerS     float64   `json:"requests_per_s"`
	EventsPerRequest int       `json:"events_per_request"`
	Readers          int       `json:"readers"`
	SlowClients      int       `json:"slow_clients"`
	PagesRead        int       `json:"pages_read"`
	KillsS           []float64 `json:"kills_s"`     // since the load began
	RecoveryMS       []float64 `json:"recovery_ms"` // from the restart to ready

	LagMSP99     float64 `json:"lag_ms_p99"`   // of the generator, from planned to sent
	Unanswered   uint64  `json:"unanswered"`   // requests that no attempt got through
	Acknowledged uint64  `json:"acknowledged"` // events, each counted once, as all below
	Stored       uint64  `json:"stored"`
	Lost         uint64  `json:"lost"`
	Duplicated   uint64  `json:"duplicated"`
	Unexpected   uint64  `json:"unexpected"`

	WindowS float64         `json:"window_s"`
	Columns []string        `json:"columns"` // of SoakColumns
	Windows []WindowSummary `json:"windows"`

	Broken []string `json:"broken,omitempty"` // what else was promised and not kept: counters against the ledger
	Files  []File   `json:"files,omitempty"`  // the record that all of it is computed from
}

// WindowSummary is a stretch of the soak, during all of which one process was up.
type WindowSummary struct {
	S      float64   `json:"s"` // its end, since the load began
	Stored uint64    `json:"stored"`
	Values []float64 `json:"values"` // by Columns: as they were at the end, response times of the requests due in it
}

// ReadSoakSummary reads the file that `make soak` wrote.
func ReadSoakSummary(path string) (s SoakSummary, err error) {
	if err := ReadJSON(path, &s); err != nil {
		return s, err
	}
	for _, w := range s.Windows {
		if len(w.Values) != len(s.Columns) {
			return s, fmt.Errorf("soak: %s: a window has %d values, want %d", path, len(w.Values), len(s.Columns))
		}
	}
	return s, nil
}

// WriteSoakSummary writes what ReadSoakSummary reads.
func WriteSoakSummary(path string, s SoakSummary) error { return WriteJSON(path, s) }
