// Package report writes REPORT.md, its pictures and README.md's headline figures from the committed
// results, and proves that they follow from the raw files. It also writes the page of a single run,
// report.html.
package report

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"

	"github.com/montanaflynn/stats"

	"sekali/bench/figures"
	"sekali/bench/internal/chart"
	"sekali/bench/judge"
	"sekali/bench/pages/profile"
	"sekali/bench/record"
)

// topFunctions is how many functions of a profile are shown.
const topFunctions = 15

// scenarioOrder leads from the simple question to the long ones; others follow in the order in
// which they ran.
var scenarioOrder = []string{"smoke", "course-report", "throughput", "steady", "burst", "duplicates", "restart", "kill", "saturation",
	"batch-size", "ack-levels", "small-requests", "reads", "reads-full", "read-streams", "disk-full", "disk-error", "slow-sync", "slow-disk", "network", "growth", "recovery", "soak"}

// set is what a report is made of: scenarios, their cases, and the repeats of each.
type set struct {
	scenarios  []*scenario
	sittings   sittings
	faults     *record.Faults     // nil: none
	cluster    *record.Faults     // of a cluster; nil: none
	soak       *soak              // nil: none
	yardsticks *record.Yardsticks // nil: none
	senders    *senders           // nil: none
}

type scenario struct {
	Name, Question string
	Cases          []*group
	Search         *search // whose curve the cases are; nil: none
}

// group is one case of a scenario with all its repeats, at least one.
type group struct {
	Scenario, Case string
	Repeats        []repeat
	Profiled       []repeat // what was run with profiles, which take time, where there are repeats without: not in the figures
}

// repeat is one result folder, its figures recomputed.
type repeat struct {
	Path     string // of the folder, from the report on, with slashes
	Kept     bool   // which events are stored
	Run      record.Run
	Summary  record.Summary
	Trace    []record.Sample
	Profiles []profile.Table
	Flame    []byte // of the CPU profile, an SVG; nil: none
}

// readSet reads and recomputes everything under reference. A result without an audit cannot be
// reported.
func readSet(reference string) (*set, error) {
	folders, err := record.Open(reference)
	if err != nil {
		return nil, err
	}
	s := &set{}
	if err := s.read(reference, folders); err != nil {
		return nil, err
	}
	if s.sittings, err = readSittings(reference); err != nil {
		return nil, err
	}
	if err := s.readSearches(reference); err != nil {
		return nil, err
	}
	if s.faults, err = readFaults(reference); err != nil {
		return nil, err
	}
	if s.cluster, err = readClusterFaults(reference); err != nil {
		return nil, err
	}
	if s.soak, err = readSoak(reference); err != nil {
		return nil, err
	}
	if s.yardsticks, err = readYardsticks(reference); err != nil {
		return nil, err
	}
	if s.senders, err = readSenders(reference); err != nil {
		return nil, err
	}
	for _, g := range s.groups() {
		g.setProfiledApart()
	}
	slices.SortStableFunc(s.scenarios, func(a, b *scenario) int { return cmp.Compare(place(a.Name), place(b.Name)) })
	return s, nil
}

// read adds folders, their figures recomputed.
func (s *set) read(reference string, folders []record.Folder) error {
	for _, f := range folders {
		if f.Run.Audit == nil {
			return fmt.Errorf("report: %s was not audited", f.Dir)
		}
		raw, err := record.ReadRaw(f.Dir)
		if err != nil {
			return err
		}
		r := repeat{Run: f.Run, Trace: raw.Trace, Kept: raw.Stored != nil}
		below, err := filepath.Rel(reference, f.Dir)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		r.Path = path.Join(referenceDir, filepath.ToSlash(below))
		if r.Summary, err = figures.Summarize(raw); err != nil {
			return fmt.Errorf("report: %s: %w", f.Dir, err)
		}
		r.Run.Validity = judge.Validate(raw, r.Summary)
		if r.Profiles, err = profile.Read(filepath.Join(f.Dir, record.ProfilesDir), topFunctions); err != nil {
			return err
		}
		if r.Flame, err = profile.Flame(filepath.Join(f.Dir, record.ProfilesDir)); err != nil {
			return err
		}
		s.add(r)
	}
	return nil
}

func place(name string) int {
	if at := slices.Index(scenarioOrder, name); at >= 0 {
		return at
	}
	return len(scenarioOrder)
}

func (s *set) add(r repeat) {
	id := r.Run.Scenario
	sc := s.find(id.Name)
	if sc == nil {
		sc = &scenario{Name: id.Name, Question: id.Question}
		s.scenarios = append(s.scenarios, sc)
	}
	g := sc.find(id.Case)
	if g == nil {
		g = &group{Scenario: id.Name, Case: id.Case}
		sc.Cases = append(sc.Cases, g)
	}
	g.Repeats = append(g.Repeats, r)
}

// setProfiledApart keeps runs with profiles out of the figures of runs without.
func (g *group) setProfiledApart() {
	profiled := func(r repeat) bool { return len(r.Profiles) > 0 }
	if !slices.ContainsFunc(g.Repeats, func(r repeat) bool { return !profiled(r) }) {
		return
	}
	for _, r := range g.Repeats {
		if profiled(r) {
			g.Profiled = append(g.Profiled, r)
		}
	}
	g.Repeats = slices.DeleteFunc(g.Repeats, profiled)
}

// find returns a scenario by name, nil if the set has none.
func (s *set) find(name string) *scenario {
	for _, sc := range s.scenarios {
		if sc.Name == name {
			return sc
		}
	}
	return nil
}

// find returns a case by name, nil if the scenario, which may be nil too, has none.
func (s *scenario) find(name string) *group {
	if s == nil {
		return nil
	}
	for _, g := range s.Cases {
		if g.Case == name {
			return g
		}
	}
	return nil
}

func (s *set) groups() []*group {
	var all []*group
	for _, sc := range s.scenarios {
		all = append(all, sc.Cases...)
	}
	return all
}

// Label names the group in prose.
func (g *group) Label() string {
	return record.Scenario{Name: g.Scenario, Case: g.Case}.Label()
}

// title names the group at the head of a column.
func (g *group) title() string { return cmp.Or(g.Case, g.Scenario) }

// first is the repeat that stands for the others where there is room for one: picture, profile.
func (g *group) first() repeat { return g.Repeats[0] }

// values are a figure's over the repeats; nil if any of them lacks it.
func (g *group) values(of func(record.Summary) *float64) []float64 {
	return g.repeatValues(func(r repeat) *float64 { return of(r.Summary) })
}

// repeatValues are values of a figure that needs more than the summary.
func (g *group) repeatValues(of func(repeat) *float64) []float64 {
	var values []float64
	for _, r := range g.Repeats {
		v := of(r)
		if v == nil {
			return nil
		}
		values = append(values, *v)
	}
	return values
}

// median is a figure over the repeats; ok is false if any of them lacks it.
func (g *group) median(of func(record.Summary) *float64) (median float64, ok bool) {
	if g == nil {
		return 0, false
	}
	median, err := stats.Median(g.values(of))
	return median, err == nil
}

// withheld stands for a figure that was not measured, or has too few samples behind it.
const withheld = "–"

// show writes a figure: its value, or of several repeats the median with the spread.
func (g *group) show(of func(record.Summary) *float64) string { return showValues(g.values(of)) }

func showValues(values []float64) string {
	median, err := stats.Median(values)
	if err != nil {
		return withheld
	}
	return spread(record.Spread{Median: median, Min: slices.Min(values), Max: slices.Max(values)})
}

// spread writes a median, and what it is the median of if they differ.
func spread(s record.Spread) string {
	if s.Min == s.Max {
		return chart.Number(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", chart.Number(s.Median), chart.Number(s.Min), chart.Number(s.Max))
}

// count adds up a number over the repeats.
func (g *group) count(of func(repeat) uint64) uint64 {
	var sum uint64
	for _, r := range g.Repeats {
		sum += of(r)
	}
	return sum
}
