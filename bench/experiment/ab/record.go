package ab

import (
	"fmt"
	"os"
	"path/filepath"

	"sekali/bench/record"
)

// File is what a sitting leaves behind, beside the runs of both sides in a/runs and b/runs.
const File = "ab.json"

// Record is ab.json: who was compared, and what it came to. The evidence is computed from the runs.
type Record struct {
	Format    int      `json:"format"`
	Scenarios []string `json:"scenarios"`
	A         Side     `json:"a"`
	B         Side     `json:"b"`
	Margin    float64  `json:"margin"`    // 0 to 1
	Looks     []int    `json:"looks"`     // numbers of pairs at which the sides were to be compared
	Pairs     int      `json:"pairs"`     // that were compared
	SetAside  int      `json:"set_aside"` // pairs that the machine disturbed
	Verdict   string   `json:"verdict"`
	Withheld  []string `json:"withheld,omitempty"` // deciding metrics that neither side had, and why
	Ended     string   `json:"ended"`              // why without a verdict; "": it has one, or took as many pairs as it was told to
}

// Side is one of the two aggregators.
type Side struct {
	Given   string `json:"given"` // as it was named by who asked
	Program string `json:"program"`
	Commit  string `json:"commit"` // it was built from; "": it was given as a program or a URL
	// Uncommitted says that it was built with changes that are not committed.
	Uncommitted bool `json:"uncommitted,omitempty"`
}

func (r *Record) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("ab: %w", err)
	}
	return record.WriteJSON(filepath.Join(dir, File), r)
}

// Read reads the ab.json of a folder.
func Read(dir string) (r Record, err error) {
	name := filepath.Join(dir, File)
	if err = record.ReadJSON(name, &r); err == nil {
		err = record.CheckFormat(name, r.Format)
	}
	return r, err
}
