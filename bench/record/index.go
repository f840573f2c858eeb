package record

import "time"

// IDLayout is how a run's folder is named by when it began, in UTC.
const IDLayout = "20060102-150405"

// Index is index.json: the results of one run, in the order in which they ran. It is written before
// each of them, so that a run that was killed leaves what it had by then.
type Index struct {
	Format      int         `json:"format"`
	ID          string      `json:"id"` // name of the run's folder when it was written
	StartedAt   time.Time   `json:"started_at"`
	FinishedAt  time.Time   `json:"finished_at,omitzero"` // zero: it was interrupted or killed, or goes on
	Environment Environment `json:"environment"`
	Planned     int         `json:"planned,omitempty"` // runs of the sitting; 0: not recorded
	Results     []Entry     `json:"results"`
	LeftOut     []LeftOut   `json:"left_out,omitempty"` // planned, and without a result
}

// Whole says that the run came to its end, and was not interrupted or killed before.
func (i Index) Whole() bool { return !i.FinishedAt.IsZero() }

// Ended is how many of the planned runs had come to an end when the index was written.
func (i Index) Ended() int { return len(i.Results) + len(i.LeftOut) }

// LeftOut is a run that left no result.
type LeftOut struct {
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
	Repeat   int    `json:"repeat"`
	Code     string `json:"code"` // LeftFailed or LeftSkipped
	Why      string `json:"why"`  // in words, behind the code
}

// The codes of what left no result.
const (
	LeftFailed  = "failed"  // it was begun
	LeftSkipped = "skipped" // this machine cannot do what it asks for
)

// Failed says that the run was begun and came to no result. Else it was skipped.
func (l LeftOut) Failed() bool { return l.Code == LeftFailed }

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
