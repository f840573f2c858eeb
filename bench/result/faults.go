package result

import (
	"fmt"
	"io"
	"strings"

	"github.com/montanaflynn/stats"

	"sekali/bench/record"
)

// What a fault promises.
const (
	NothingLost    = record.NothingLost
	SomethingLost  = record.SomethingLost
	PrefixOrRefuse = record.PrefixOrRefuse
)

// Fault is what one kind of fault did to the aggregator, by the ledger of those who published.
type Fault struct {
	Fault        string    `json:"fault"`
	Promise      string    `json:"promise"`
	Times        int       `json:"times"`
	Acknowledged int       `json:"acknowledged"` // events, each counted once
	Lost         int       `json:"lost"`         // acknowledged and absent
	Duplicated   int       `json:"duplicated"`   // stored twice
	Unexpected   int       `json:"unexpected"`   // stored and never sent, or not as they were sent
	Recovered    int       `json:"recovered"`    // of unknown fate to the publisher, and stored
	RecoveryMS   []float64 `json:"recovery_ms"`  // from the restart to ready, or from the fault's end to the next acknowledgement
	Seen         string    `json:"seen"`         // what else the fault did
	Skipped      string    `json:"skipped"`      // why it did not run, or ""

	Levels []LevelCounts `json:"levels,omitempty"` // by level of acknowledgement; an event may be of two
	Broken []string      `json:"broken,omitempty"` // what else was promised and not kept, the first of it
}

// LevelCounts are the events that were acknowledged at a level, each counted once, and those of
// them that are absent.
type LevelCounts struct {
	Level        string `json:"level"`
	Acknowledged int    `json:"acknowledged"`
	Lost         int    `json:"lost"`
}

// Held reports that the promise was kept.
func (f Fault) Held() bool {
	if len(f.Broken) > 0 {
		return false
	}
	exact := f.Duplicated == 0 && f.Unexpected == 0
	switch f.Promise {
	case SomethingLost:
		return f.Lost > 0
	case PrefixOrRefuse:
		return exact
	}
	return exact && f.Lost == 0
}

// Faults is a run of all of them.
type Faults struct {
	Date    string  `json:"date"` // RFC 3339
	Machine string  `json:"machine"`
	Commit  string  `json:"commit"`
	Faults  []Fault `json:"faults"`
	Files   []File  `json:"files,omitempty"` // the records that the faults are computed from, in their order
}

// ReadFaults reads the file that `make faults` wrote.
func ReadFaults(path string) (f Faults, err error) {
	err = readJSON(path, &f)
	return f, err
}

// Recovery is the median and the largest of the times to recover, in seconds; "–" if there is none.
func (f Fault) Recovery() (median, most string) {
	if len(f.RecoveryMS) == 0 {
		return "–", "–"
	}
	middle, _ := stats.Median(f.RecoveryMS)
	largest, _ := stats.Max(f.RecoveryMS)
	return fmt.Sprintf("%.2f", middle/1000), fmt.Sprintf("%.2f", largest/1000)
}

// WriteTable prints the faults for a terminal.
func (f Faults) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %s\n\n%-44s %6s %13s %7s %11s %11s %10s %9s\n", f.Date, f.Machine, f.Commit,
		"fault", "times", "acknowledged", "lost", "duplicated", "recovered", "median s", "most s")
	for _, fault := range f.Faults {
		if fault.Skipped != "" {
			fmt.Fprintf(&b, "%-44s skipped: %s\n", fault.Fault, fault.Skipped)
			continue
		}
		median, most := fault.Recovery()
		verdict := ""
		switch {
		case !fault.Held():
			verdict = "  NOT HELD: " + fault.Promise
		case fault.Promise != NothingLost:
			verdict = "  " + fault.Promise
		}
		for _, broken := range fault.Broken {
			verdict += "; " + broken
		}
		if fault.Seen != "" {
			verdict += "  (" + fault.Seen + ")"
		}
		fmt.Fprintf(&b, "%-44s %6d %13d %7d %11d %11d %10s %9s%s\n", fault.Fault, fault.Times, fault.Acknowledged, fault.Lost,
			fault.Duplicated, fault.Recovered, median, most, verdict)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteFaults writes what ReadFaults reads.
func WriteFaults(path string, f Faults) error { return writeJSON(path, f) }
