// Package compare sets two runs side by side, case by case and metric by metric, and says what the evidence is worth.
//
// Each metric is tested with Mann-Whitney's U, and the p-values of one comparison are corrected together (Holm), so
// that comparing many metrics finds no difference by their number alone.
package compare

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"sekali/bench/chart"
	"sekali/bench/result"
)

// Verdict is what a comparison comes to; its number is the exit code.
type Verdict int

const (
	SameOrBetter Verdict = 0
	Worse        Verdict = 1
	NotEnough    Verdict = 3 // too few repeats to see a difference, or sides that cannot be compared
)

func (v Verdict) String() string {
	switch v {
	case SameOrBetter:
		return "same or better"
	case Worse:
		return "worse"
	case NotEnough:
		return "not enough evidence"
	}
	return fmt.Sprintf("verdict %d", int(v))
}

// Config names the two sides, each a result folder, a run or a folder of runs.
type Config struct {
	A, B     string
	Pictures string // folder for the queue traces, made if need be; "": none
}

// Run compares B with A, prints the tables and returns the verdict on B.
func Run(c Config, w io.Writer) (Verdict, error) {
	a, err := readSide(c.A)
	if err != nil {
		return NotEnough, err
	}
	b, err := readSide(c.B)
	if err != nil {
		return NotEnough, err
	}
	pairs, alone := match(a, b)
	fmt.Fprintf(w, "A: %s\nB: %s\n", c.A, c.B)
	for _, name := range alone {
		fmt.Fprintf(w, "not compared, since only one side has it: %s\n", name)
	}
	if len(pairs) == 0 {
		return NotEnough, fmt.Errorf("compare: %s and %s have no scenario and case in common", c.A, c.B)
	}
	for i := range pairs {
		pairs[i].measure()
	}
	correct(pairs)
	verdict := SameOrBetter
	for i := range pairs {
		if err := pairs[i].print(w); err != nil {
			return NotEnough, fmt.Errorf("compare: %w", err)
		}
		if c.Pictures != "" {
			path, err := pairs[i].draw(c.Pictures)
			if err != nil {
				return NotEnough, err
			}
			fmt.Fprintf(w, "queue traces: %s\n", path)
		}
		verdict = verdict.with(pairs[i].verdict())
	}
	fmt.Fprintf(w, "\nB is %s\n", verdict.sentence())
	return verdict, nil
}

// with is the verdict on both: one that is worse makes the whole worse, one without evidence leaves it open.
func (v Verdict) with(other Verdict) Verdict {
	switch {
	case v == Worse || other == Worse:
		return Worse
	case v == NotEnough || other == NotEnough:
		return NotEnough
	}
	return SameOrBetter
}

func (v Verdict) sentence() string {
	switch v {
	case NotEnough:
		return "not shown to be worse than A, nor to be the same: not enough evidence"
	case Worse:
		return "worse than A"
	}
	return "the same as A, or better"
}

// group is one scenario and case of one side, with its repeats.
type group struct {
	label     string
	folders   []result.Folder
	summaries []result.Summary
}

// readSide recomputes every summary from the raw files.
func readSide(path string) ([]group, error) {
	folders, err := result.Open(path)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, f := range folders {
		raw, err := result.ReadRaw(f.Dir)
		if err != nil {
			return nil, err
		}
		summary, err := raw.Summarize()
		if err != nil {
			return nil, fmt.Errorf("compare: %s: %w", f.Dir, err)
		}
		f.Run.Validity = raw.Validate(summary)
		at := slices.IndexFunc(groups, func(g group) bool { return g.label == f.Run.Scenario.Label() })
		if at < 0 {
			at = len(groups)
			groups = append(groups, group{label: f.Run.Scenario.Label()})
		}
		groups[at].folders = append(groups[at].folders, f)
		groups[at].summaries = append(groups[at].summaries, summary)
	}
	return groups, nil
}

// pair is what is compared: the same scenario and case of both sides, unless each side is a single one.
type pair struct {
	a, b    group
	metrics []metric
}

// match finds the pairs, in B's order. Two single results are compared whatever they are called.
func match(a, b []group) (pairs []pair, alone []string) {
	if len(a) == 1 && len(b) == 1 {
		return []pair{{a: a[0], b: b[0]}}, nil
	}
	for _, g := range b {
		at := slices.IndexFunc(a, func(other group) bool { return other.label == g.label })
		if at < 0 {
			alone = append(alone, g.label)
			continue
		}
		pairs = append(pairs, pair{a: a[at], b: g})
	}
	for _, g := range a {
		if !slices.ContainsFunc(b, func(other group) bool { return other.label == g.label }) {
			alone = append(alone, g.label)
		}
	}
	return pairs, alone
}

// draw writes the queue traces of the first repeats into one picture.
func (p *pair) draw(dir string) (string, error) {
	a, err := trace(p.a.folders[0])
	if err != nil {
		return "", err
	}
	b, err := trace(p.b.folders[0])
	if err != nil {
		return "", err
	}
	svg, err := chart.Queues("A "+p.a.name(), a, "B "+p.b.name(), b)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("compare: %w", err)
	}
	id := p.b.folders[0].Run.Scenario
	name := id.Name
	if id.Case != "" {
		name += "-" + id.Case
	}
	path := filepath.Join(dir, name+".svg")
	if err := os.WriteFile(path, svg, 0o644); err != nil {
		return "", fmt.Errorf("compare: %w", err)
	}
	return path, nil
}

// name is that of the side's first result, for a picture's legend.
func (g group) name() string {
	run := g.folders[0].Run
	return cmp.Or(run.ID, "run") + " " + g.label
}

func trace(f result.Folder) (chart.Trace, error) {
	raw, err := result.ReadRaw(f.Dir)
	if err != nil {
		return chart.Trace{}, err
	}
	return chart.NewTrace(raw.Run, raw.Trace), nil
}
