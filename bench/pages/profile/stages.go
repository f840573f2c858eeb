package profile

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/pprof/profile"

	"sekali/bench/record"
)

// stageLabel is the label by which the aggregator marks what a goroutine works on.
const stageLabel = "stage"

// The stages of samples without a label.
const (
	collectorStage = "garbage collector"
	otherStage     = "other"
)

// Stage is one stage's part of a profile.
type Stage struct {
	Name  string
	Value int64
}

// stages adds up the samples by stage, the largest first.
func stages(p *profile.Profile, value int, stageOf func(*profile.Sample) string) []Stage {
	byName := map[string]int64{}
	for _, sample := range p.Sample {
		byName[stageOf(sample)] += sample.Value[value]
	}
	var all []Stage
	for name, v := range byName {
		all = append(all, Stage{name, v})
	}
	slices.SortFunc(all, func(a, b Stage) int { return cmp.Or(cmp.Compare(b.Value, a.Value), cmp.Compare(a.Name, b.Name)) })
	return all
}

// stageOf is a sample's label. Without one, it is the collector's own goroutines' or of what nobody
// labelled: a collection that a labelled goroutine has to assist is its stage's.
func stageOf(s *profile.Sample) string {
	if names := s.Label[stageLabel]; len(names) > 0 {
		return names[0]
	}
	for _, name := range stack(s) {
		if strings.HasPrefix(name, "runtime.gcBgMarkWorker") || name == "runtime.bgsweep" || name == "runtime.bgscavenge" {
			return collectorStage
		}
	}
	return otherStage
}

// stageTable is the part of record.StagesFile that tells the stages of allocations, whose samples
// carry no labels.
type stageTable struct {
	Functions []struct {
		Prefix string `json:"prefix"`
		Stage  string `json:"stage"`
	} `json:"functions"`
}

// readStageTable reads a folder's table; nil: it has none.
func readStageTable(dir string) (*stageTable, error) {
	text, err := os.ReadFile(filepath.Join(dir, record.StagesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	table := &stageTable{}
	if err == nil {
		err = json.Unmarshal(text, table)
	}
	if err != nil {
		return nil, fmt.Errorf("profile: %s: %w", filepath.Join(dir, record.StagesFile), err)
	}
	return table, nil
}

// stageOf is the stage of the first function of the table that is on the sample's stack.
func (t *stageTable) stageOf(s *profile.Sample) string {
	names := stack(s)
	for _, f := range t.Functions {
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, f.Prefix) }) {
			return f.Stage
		}
	}
	return otherStage
}
