package record

import (
	"strings"
	"time"
)

// IDLayout is how a run's folder is named by when it began, in UTC.
const IDLayout = "20060102-150405"

// Index is index.json: the results of one run, in the order in which they ran.
type Index struct {
	Format      int         `json:"format"`
	ID          string      `json:"id"` // name of the run's folder when it was written
	StartedAt   time.Time   `json:"started_at"`
	FinishedAt  time.Time   `json:"finished_at"`
	Environment Environment `json:"environment"`
	Planned     int         `json:"planned,omitempty"` // runs of the sitting; 0: not recorded
	Results     []Entry     `json:"results"`
	LeftOut     []LeftOut   `json:"left_out,omitempty"` // planned, and without a result
}

// LeftOut is a run that left no result.
type LeftOut struct {
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
	Repeat   int    `json:"repeat"`
	Why      string `json:"why"`
}

// Failed says that the run was begun and came to no result. Else it was skipped, since this machine
// cannot do what it asks for.
func (l LeftOut) Failed() bool { return strings.HasPrefix(l.Why, "failed: ") }

// Entry is one result folder and its verdict.
type Entry struct {
	Dir      string `json:"dir"` // beside index.json
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
	Repeat   int    `json:"repeat"`
	Valid    bool   `json:"valid"`
	Held     bool   `json:"held"`  // every expectation
	Clean    bool   `json:"clean"` // the audit
}
