package profile

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"text/tabwriter"
)

// Side is what one of two programs left in its repeats.
type Side struct {
	Dirs           []string // folders of profiles, one a repeat
	CPUUSPerStored float64  // CPU time that a stored event cost, by the process's own account; NaN: not known
}

// growth is what one stage or function cost a stored event on both sides, in µs.
type growth struct {
	name string
	a, b float64 // by itself
	cum  float64 // growth with all that it called; of a stage, the same as by itself
}

// PrintGrowth says which stages and which n functions cost a stored event more CPU time in B than
// in A, those that grew most first. Each side's profiles are added up and share out what an event
// cost. It prints nothing where a side has no profile.
func PrintGrowth(w io.Writer, a, b Side, n int) error {
	stagesA, functionsA, err := a.costs()
	if err != nil {
		return err
	}
	stagesB, functionsB, err := b.costs()
	if err != nil || functionsA == nil || functionsB == nil {
		return err
	}
	fmt.Fprintf(w, "Where the CPU time of a stored event grew, µs: %.3f in A, %.3f in B\n", a.CPUUSPerStored, b.CPUUSPerStored)
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(columns, "stage\tA\tB\tgrowth\t\n")
	for _, g := range grown(stagesA, stagesB) {
		fmt.Fprintf(columns, "%s\t%.3f\t%.3f\t%+.3f\t\n", g.name, g.a, g.b, g.b-g.a)
	}
	fmt.Fprintf(columns, "\nflat A\tflat B\tgrowth\tof cum\t\n")
	functions := grown(functionsA, functionsB)
	for _, g := range functions[:min(n, len(functions))] {
		fmt.Fprintf(columns, "%.3f\t%.3f\t%+.3f\t%+.3f\t  %s\n", g.a, g.b, g.b-g.a, g.cum, g.name)
	}
	return columns.Flush()
}

// costs shares out what a stored event cost, in µs, by stage and by function; nil: the side has no
// CPU profile, or an event's cost is not known.
func (s Side) costs() (stageCosts, functionCosts map[string]cost, err error) {
	stageCosts, functionCosts = map[string]cost{}, map[string]cost{}
	var total float64
	for _, dir := range s.Dirs {
		p, at, err := readCPU(dir)
		if err != nil {
			return nil, nil, err
		}
		if p == nil {
			continue
		}
		for _, stage := range stages(p, at, stageOf) {
			add(stageCosts, stage.Name, stage.Value, stage.Value)
		}
		for _, f := range functions(p, at) {
			add(functionCosts, f.Name, f.Flat, f.Cum)
			total += float64(f.Flat)
		}
	}
	if total == 0 || math.IsNaN(s.CPUUSPerStored) {
		return nil, nil, nil
	}
	for _, costs := range []map[string]cost{stageCosts, functionCosts} {
		for name, c := range costs {
			costs[name] = cost{c.flat / total * s.CPUUSPerStored, c.cum / total * s.CPUUSPerStored}
		}
	}
	return stageCosts, functionCosts, nil
}

type cost struct{ flat, cum float64 }

func add(costs map[string]cost, name string, flat, cum int64) {
	c := costs[name]
	costs[name] = cost{c.flat + float64(flat), c.cum + float64(cum)}
}

// grown sets the costs of both sides beside each other, the largest growth first; what one side
// lacks cost it nothing.
func grown(a, b map[string]cost) []growth {
	names := maps.Clone(a)
	maps.Copy(names, b)
	var all []growth
	for name := range names {
		all = append(all, growth{name: name, a: a[name].flat, b: b[name].flat, cum: b[name].cum - a[name].cum})
	}
	slices.SortFunc(all, func(x, y growth) int {
		return cmp.Or(cmp.Compare(y.b-y.a, x.b-x.a), cmp.Compare(y.cum, x.cum), cmp.Compare(x.name, y.name))
	})
	return all
}
