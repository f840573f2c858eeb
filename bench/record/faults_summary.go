package record

// FaultSummary is what one kind of fault did to the aggregator, by the ledger of those who
// published.
type FaultSummary struct {
	Fault        string    `json:"fault"`
	Promise      string    `json:"promise"`
	Times        int       `json:"times"`
	Acknowledged int       `json:"acknowledged"`     // events, each counted once
	Lost         int       `json:"lost"`             // acknowledged and absent
	Duplicated   int       `json:"duplicated"`       // stored twice
	Unexpected   int       `json:"unexpected"`       // stored and never sent, or not as they were sent
	Caught       int       `json:"caught,omitempty"` // times that a control was found
	Recovered    int       `json:"recovered"`        // of unknown fate to the publisher, and stored
	RecoveryMS   []float64 `json:"recovery_ms"`      // from the restart to ready, or from the fault's end to the next acknowledgement
	Seen         string    `json:"seen"`             // what else the fault did
	Skipped      string    `json:"skipped"`          // why it did not run, or ""

	Levels []LevelCounts `json:"levels,omitempty"` // by level of acknowledgement; an event may be of two
	Broken []string      `json:"broken,omitempty"` // what else was promised and not kept, the first of it
}

// LevelCounts are the events that were acknowledged at a level, each counted once, and those of
// them that are absent.
type LevelCounts struct {
	Level        string `json:"level"`
	Acknowledged int    `json:"acknowledged"`
	Lost         int    `json:"lost"`

	OutageMS []float64 `json:"outage_ms,omitempty"` // the longest without an acknowledgement, of each fault
}

// Faults is a run of all of them.
type Faults struct {
	Date    string         `json:"date"` // RFC 3339
	Machine string         `json:"machine"`
	Commit  string         `json:"commit"`
	Planned int            `json:"planned,omitempty"` // kinds that were to be tried; 0: not recorded
	Faults  []FaultSummary `json:"faults"`
	Files   []File         `json:"files,omitempty"` // the records that the faults are computed from, in their order
}

// ReadFaults reads the file that `make faults` wrote.
func ReadFaults(path string) (f Faults, err error) {
	err = ReadJSON(path, &f)
	return f, err
}

// WriteFaults writes what ReadFaults reads.
func WriteFaults(path string, f Faults) error { return WriteJSON(path, f) }
