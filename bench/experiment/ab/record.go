package ab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sekali/bench/record"
)

const (
	// File is what a sitting leaves behind, beside the runs of both sides in a/runs and b/runs.
	File = "ab.json"
	// format is the version of ab.json; a reader refuses any other.
	format = 1
)

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
}

func (r *Record) write(dir string) error {
	text, err := record.MarshalJSON(r)
	if err != nil {
		return fmt.Errorf("ab: %w", err)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, File), text, 0o644)); err != nil {
		return fmt.Errorf("ab: %w", err)
	}
	return nil
}

// Read reads the ab.json of a folder.
func Read(dir string) (Record, error) {
	name := filepath.Join(dir, File)
	text, err := os.ReadFile(name)
	if err != nil {
		return Record{}, fmt.Errorf("ab: %w", err)
	}
	var r Record
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	if r.Format != format {
		return r, fmt.Errorf("%s: format %d, this program reads %d", name, r.Format, format)
	}
	return r, nil
}
