// Package profile reads the pprof profiles of a run, the aggregator's and the generator's, and says
// which functions they name first.
package profile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/google/pprof/profile"
)

// suffix ends the name of a profile's file, after its kind.
const suffix = ".pb.gz"

// kind is a profile that a run may have, and what is counted in it.
type kind struct {
	name   string
	sample string // the sample type that the table is made of
	counts string // in words
}

const (
	cpuKind       = "cpu"
	allocsKind    = "allocs"
	generatorKind = "generator-" // begins the kinds that are the generator's
)

// kinds are in the order in which they are printed.
var kinds = []kind{
	{cpuKind, "cpu", "CPU time in the measured window"},
	{"heap", "inuse_space", "memory in use at its end"},
	{allocsKind, "alloc_space", "memory allocated in the measured window"},
	{"mutex", "delay", "time that others waited for a lock held here, in the measured window"},
	{"block", "delay", "time spent waiting here, in the measured window"},
	{generatorKind + cpuKind, "cpu", "the generator's CPU time in the measured window"},
	{generatorKind + allocsKind, "alloc_space", "memory that the generator allocated in the measured window"},
}

// Table is a profile by function.
type Table struct {
	Kind      string // cpu, heap, allocs, mutex, block, generator-cpu or generator-allocs
	Counts    string // what it counts, in words
	Unit      string // nanoseconds or bytes
	Total     int64
	Functions []Function // by flat, falling
	Stages    []Stage    // of cpu and, where the folder has the StagesFile, of allocs, by value, falling
}

// Function is one function's part of a profile.
type Function struct {
	Name      string
	Flat, Cum int64 // by itself; with all that it called
}

// Share is a part of the table's total, 0 to 1.
func (t Table) Share(part int64) float64 {
	if t.Total == 0 {
		return 0
	}
	return float64(part) / float64(t.Total)
}

// Format writes a value with its unit.
func (t Table) Format(v int64) string {
	if t.Unit == "nanoseconds" {
		return (time.Duration(v).Round(10 * time.Microsecond)).String()
	}
	return fmt.Sprintf("%.2f MB", float64(v)/1e6)
}

// Read returns the tables of the profiles in a folder, each with its top n functions. A kind that
// the folder lacks is left out; a folder that is not there has none.
func Read(dir string, n int) ([]Table, error) {
	var tables []Table
	for _, k := range kinds {
		table, err := k.read(filepath.Join(dir, k.name+suffix), n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		tables = append(tables, table)
	}
	return tables, nil
}

func (k kind) read(path string, n int) (Table, error) {
	p, at, err := k.parse(path)
	if err != nil {
		return Table{}, err
	}
	table := Table{Kind: k.name, Counts: k.counts, Unit: p.SampleType[at].Unit}
	table.Functions = functions(p, at)
	for _, f := range table.Functions {
		table.Total += f.Flat
	}
	table.Functions = table.Functions[:min(n, len(table.Functions))]
	switch k.name {
	case cpuKind:
		table.Stages = stages(p, at, stageOf)
	case allocsKind:
		known, err := readStageTable(filepath.Dir(path))
		if err != nil {
			return Table{}, err
		}
		if known != nil {
			table.Stages = stages(p, at, known.stageOf)
		}
	}
	return table, nil
}

// parse reads a profile and says which of its samples' values counts.
func (k kind) parse(path string) (p *profile.Profile, value int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("profile: %w", err)
	}
	defer file.Close()
	if p, err = profile.Parse(file); err != nil {
		return nil, 0, fmt.Errorf("profile: %s: %w", path, err)
	}
	value = slices.IndexFunc(p.SampleType, func(t *profile.ValueType) bool { return t.Type == k.sample })
	if value < 0 {
		return nil, 0, fmt.Errorf("profile: %s has no samples of type %q", path, k.sample)
	}
	return p, value, nil
}

// readCPU returns a folder's CPU profile, nil if it has none.
func readCPU(dir string) (p *profile.Profile, value int, err error) {
	p, value, err = kinds[0].parse(filepath.Join(dir, cpuKind+suffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	return p, value, err
}

// functions adds up the samples by function. One that is on a stack twice is counted once in its
// Cum.
func functions(p *profile.Profile, value int) []Function {
	byName := map[string]*Function{}
	for _, sample := range p.Sample {
		onStack := map[string]bool{}
		for depth, name := range stack(sample) {
			f := byName[name]
			if f == nil {
				f = &Function{Name: name}
				byName[name] = f
			}
			if depth == 0 {
				f.Flat += sample.Value[value]
			}
			if !onStack[name] {
				f.Cum += sample.Value[value]
				onStack[name] = true
			}
		}
	}
	all := make([]Function, 0, len(byName))
	for _, f := range byName {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b Function) int {
		return cmp.Or(cmp.Compare(b.Flat, a.Flat), cmp.Compare(b.Cum, a.Cum), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// stack names a sample's functions from the innermost out; inlined calls are their own functions.
func stack(s *profile.Sample) []string {
	var names []string
	for _, location := range s.Location {
		if len(location.Line) == 0 {
			names = append(names, fmt.Sprintf("%#x", location.Address))
		}
		for _, line := range location.Line {
			names = append(names, line.Function.Name)
		}
	}
	return names
}

// Costs are what a stored event cost the aggregator, by the process's own account; stages share
// them out. nil: not known.
type Costs struct{ CPUUS, AllocatedBytes *float64 }

// PerStored is a stage's part of what a stored event cost, in µs or bytes, "" if that is not known.
func (c Costs) PerStored(t Table, s Stage) string {
	switch {
	case t.Kind == cpuKind && c.CPUUS != nil:
		return fmt.Sprintf("%.2f", *c.CPUUS*t.Share(s.Value))
	case t.Kind == allocsKind && c.AllocatedBytes != nil:
		return fmt.Sprintf("%.1f", *c.AllocatedBytes*t.Share(s.Value))
	}
	return ""
}

// Print writes the stages and the top functions of every profile in a folder, and how to open them.
func Print(w io.Writer, dir string, n int, costs Costs) error {
	tables, err := Read(dir, n)
	if err != nil {
		return err
	}
	if len(tables) == 0 {
		return fmt.Errorf("profile: %s holds none", dir)
	}
	for _, t := range tables {
		fmt.Fprintf(w, "%s: %s, %s in all\n", t.Kind, t.Counts, t.Format(t.Total))
		columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		if len(t.Stages) > 0 {
			fmt.Fprintf(columns, "stage\t%s\tshare\t%s an event\t\n", t.Kind, map[string]string{cpuKind: "µs", allocsKind: "bytes"}[t.Kind])
			for _, stage := range t.Stages {
				fmt.Fprintf(columns, "%s\t%s\t%.1f%%\t%s\t\n", stage.Name, t.Format(stage.Value), 100*t.Share(stage.Value), cmp.Or(costs.PerStored(t, stage), "–"))
			}
			fmt.Fprintln(columns)
		}
		fmt.Fprintf(columns, "flat\tflat%%\tcum\tcum%%\t\n")
		for _, f := range t.Functions {
			fmt.Fprintf(columns, "%s\t%.1f%%\t%s\t%.1f%%\t  %s\n", t.Format(f.Flat), 100*t.Share(f.Flat), t.Format(f.Cum), 100*t.Share(f.Cum), f.Name)
		}
		if err := columns.Flush(); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		fmt.Fprintln(w)
	}
	cpu := filepath.Join(dir, tables[0].Kind+suffix)
	if tables[0].Kind == cpuKind {
		if err := writeFlame(dir); err != nil {
			return err
		}
		fmt.Fprintf(w, "Flame graph:              %s\n", filepath.Join(dir, FlameFile))
	}
	_, err = fmt.Fprintf(w, "Open one in the browser:  go tool pprof -http=: %s\nWhat changed since:       go tool pprof -http=: -diff_base <earlier%s> %s\n",
		cpu, suffix, cpu)
	return err
}
