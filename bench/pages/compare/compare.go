// Package compare sets two runs side by side, case by case and metric by metric, and says what the
// evidence is worth.
//
// A verdict rests on at most six deciding metrics, named in this package and not chosen by what
// came out. Of each, the ratio B/A is estimated (Hodges-Lehmann, on logarithms) with an interval of
// 95 %:
//
//   - worse: some deciding metric is worse at p ≤ 0.05 after Holm's correction over all deciding
//     metrics of the comparison, by more than 1 %. It is worse even if it lies within the margin:
//     that it is small does not make it none.
//   - same or better: every deciding metric's interval lies within the margin or on the good side.
//     All have to, so that nothing is corrected (an intersection-union test): the chance to pass a
//     B that is worse by the margin is 2.5 %.
//   - not enough evidence: neither, and what it would take is estimated from the scatter. Where B
//     came to no result in a case, the other cases do not pass it either.
//
// Where the sides took turns (A B, B A, A B, …), their repeats are compared pair by pair, with
// Wilcoxon's signed ranks: what the machine does to both of a pair cancels, and a drift, which
// favours A in one pair and B in the next, becomes scatter. Who looks several times while the sides
// grow, and stops when something shows, would be misled more often than once in 20: Config.Looks
// shares the 5 % evenly between the looks (Bonferroni). A pair of which a run is INVALID for
// nothing but what the machine did is run again by bench ab, within a bound and whatever its
// figures were. Here an INVALID run leaves a comparison without evidence. Two sides that ran one
// after the other are compared with Mann-Whitney's U, which takes a drift for a difference; that is
// said. Both tests go by ranks, and are exact for so few values. Where no repeat has requests
// enough for a 99th percentile of its own, those of all repeats together have one (see pool).
package compare

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sekali/bench/figures"
	"sekali/bench/internal/chart"
	"sekali/bench/judge"
	"sekali/bench/record"
)

// Verdict is what a comparison comes to.
type Verdict int

const (
	SameOrBetter Verdict = iota
	Worse
	NotEnough // too few repeats to see a difference, or sides that cannot be compared
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

// ErrNothing is of two sides that have no case in common, or of which one has no result.
var ErrNothing = errors.New("nothing to compare")

// ErrReport is of a comparison that has its verdict, and of which a table or a picture could not be
// written. No verdict rests on either.
var ErrReport = errors.New("the verdict stands, and its report is not whole")

// Config names the two sides, each a result folder, a run or a folder of runs.
type Config struct {
	A, B     string
	Margin   float64 // how much worse B may be and count as the same, 0 to 1; 0: DefaultMargin
	Looks    int     // how often the sides are looked at before a verdict, at most; 0: once
	Same     bool    // both sides are one program: the noise floor is printed
	Pictures string  // folder for the queue traces, made if need be; "": none
	// Uncommitted says that changes which are not committed make no run INVALID: who asks for the
	// comparison says of which side they are.
	Uncommitted bool
}

// Result is what a comparison comes to.
type Result struct {
	Verdict  Verdict  // on B
	Withheld []string // deciding metrics that neither side has, and why: case: metric: why
}

// Run compares B with A, prints the tables and returns what it comes to, also beside an ErrReport.
func Run(c Config, w io.Writer) (Result, error) {
	none := Result{Verdict: NotEnough}
	a, crashedA, err := readSide(c.A, c.Uncommitted)
	if err != nil {
		return none, noneOf(w, "A", err)
	}
	b, crashed, err := readSide(c.B, c.Uncommitted)
	if err != nil {
		return none, noneOf(w, "B", err)
	}
	pairs, alone := match(a, b)
	fmt.Fprintf(w, "A: %s\nB: %s\n", c.A, c.B)
	for _, name := range alone {
		fmt.Fprintf(w, "not compared, since only one side has it: %s\n", name)
	}
	printInterrupted(w, "A", a)
	printInterrupted(w, "B", b)
	printCrashed(w, "A", crashedA)
	printCrashed(w, "B", crashed)
	if len(pairs) == 0 {
		return none, fmt.Errorf("compare: %w: %s and %s have no scenario and case in common", ErrNothing, c.A, c.B)
	}
	margin := cmp.Or(c.Margin, DefaultMargin)
	for i := range pairs {
		pairs[i].measure(margin, max(1, c.Looks))
	}
	tests := correct(pairs)
	result := Result{Verdict: SameOrBetter}
	if len(crashed) > 0 { // what the others say is no evidence for it
		result.Verdict = NotEnough
	}
	var unwritten []error
	for i := range pairs {
		if err := pairs[i].report(w, design{pairs[i].paired, tests, max(1, c.Looks)}, c, margin); err != nil {
			unwritten = append(unwritten, err)
		}
		result.Verdict = result.Verdict.with(pairs[i].verdict())
		for _, a := range pairs[i].absent {
			result.Withheld = append(result.Withheld, fmt.Sprintf("%s: %s: %s", pairs[i].b.label, a.name, a.why))
		}
	}
	fmt.Fprintf(w, "\n%s%s%s%s\n", result.Verdict.sentence(c.Same, margin), result.Verdict.reservations(pairs, tests), result.Verdict.invalid(pairs),
		noResultIn(crashed))
	if err := errors.Join(unwritten...); err != nil {
		return result, fmt.Errorf("compare: %w: %w", ErrReport, err)
	}
	return result, nil
}

// report writes all there is of one pair.
func (p *pair) report(w io.Writer, d design, c Config, margin float64) error {
	if err := p.print(w, d, margin); err != nil {
		return err
	}
	if c.Same {
		if err := p.printNoise(w, d, margin); err != nil {
			return err
		}
	}
	if p.verdict() == Worse {
		if err := p.printProfiles(w); err != nil {
			return err
		}
	}
	if c.Pictures == "" {
		return nil
	}
	path, err := p.draw(c.Pictures)
	if err != nil {
		return fmt.Errorf("queue traces: %w", err)
	}
	_, err = fmt.Fprintf(w, "queue traces: %s\n", path)
	return err
}

// with is the verdict on both: one that is worse makes the whole worse, one without evidence leaves
// it open.
func (v Verdict) with(other Verdict) Verdict {
	switch {
	case v == Worse || other == Worse:
		return Worse
	case v == NotEnough || other == NotEnough:
		return NotEnough
	}
	return SameOrBetter
}

func (v Verdict) sentence(same bool, margin float64) string {
	switch {
	case v == NotEnough && same:
		return "A against itself: not enough evidence that it is the same within " + part(margin)
	case v == Worse && same:
		return "A is called worse than itself: a false alarm, as is expected of one in 20 such comparisons on a steady machine at most"
	case same:
		return "A is the same as itself, within " + part(margin)
	case v == NotEnough:
		return "B is not shown to be worse than A, nor to be the same: not enough evidence"
	case v == Worse:
		return "B is worse than A"
	}
	return "B is the same as A, or better, within " + part(margin)
}

// reservations end the last line: why a metric that is called worse above, or would be by itself,
// does not make B worse, and what was not looked at.
func (v Verdict) reservations(pairs []pair, tests int) string {
	var text strings.Builder
	for i := range pairs {
		p := &pairs[i]
		for j := range p.deciders {
			d := &p.deciders[j]
			switch {
			case v == Worse:
			case d.worse():
				fmt.Fprintf(&text, "; %s is called worse (p %s) and does not count, since a WARNING forbids the comparison", d.Name, chance(d.p))
			case d.worseAlone():
				fmt.Fprintf(&text, "; %s alone would be worse (p %s), but of %d deciding metrics one comes out so by chance (p %s after Holm's correction)",
					d.Name, chance(d.alone), tests, chance(d.p))
			}
		}
		for _, a := range p.absent {
			if v == SameOrBetter {
				fmt.Fprintf(&text, "; %s was not looked at: %s", a.name, a.why)
			}
		}
	}
	return text.String()
}

// group is one scenario and case of one side, with its repeats.
type group struct {
	label     string
	folders   []record.Folder
	summaries []record.Summary
	responses [][]float64 // response times of each repeat in ms; none where each has its own p99
}

// readSide recomputes every summary from the raw files. Beside them it returns what came to no
// result and was not skipped.
func readSide(path string, uncommitted bool) (groups []group, crashed []record.LeftOut, err error) {
	folders, err := record.Open(path)
	if err == nil && len(folders) == 0 {
		err = noneIn(path)
	}
	if errors.Is(err, record.ErrNone) {
		err = fmt.Errorf("compare: %w: %w", ErrNothing, err)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, f := range folders {
		raw, err := record.ReadRaw(f.Dir)
		if err != nil {
			return nil, nil, err
		}
		summary, err := figures.Summarize(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("compare: %s: %w", f.Dir, err)
		}
		f.Run.Validity = judge.Validate(raw, summary)
		if uncommitted {
			f.Run.Validity = judge.DespiteDirtyTree(f.Run.Validity)
		}
		at := slices.IndexFunc(groups, func(g group) bool { return g.label == f.Run.Scenario.Label() })
		if at < 0 {
			at = len(groups)
			groups = append(groups, group{label: f.Run.Scenario.Label()})
		}
		groups[at].folders = append(groups[at].folders, f)
		groups[at].summaries = append(groups[at].summaries, summary)
		if summary.ResponseTimeMS.P99 == nil {
			groups[at].responses = append(groups[at].responses, responses(raw))
		}
	}
	// Each has all of them.
	crashed = slices.DeleteFunc(slices.Clone(folders[0].LeftOut), func(l record.LeftOut) bool { return !l.Failed() })
	return groups, crashed, nil
}

// pair is what is compared: the same scenario and case of both sides, unless each side is a single
// one.
type pair struct {
	a, b     group
	paired   bool     // the sides took turns: their i-th repeats belong together
	leftOut  []string // why a repeat of both sides was
	deciders []decider
	absent   []absence
	others   []metric
}

// absence is a deciding metric that neither side has.
type absence struct{ name, why string }

// interleaved says that the sides took turns: each repeat of one ran beside the same repeat of the
// other, and before the next of either.
func interleaved(a, b group) bool {
	if len(a.folders) != len(b.folders) || len(a.folders) < 2 {
		return false
	}
	var last time.Time
	for i := range a.folders {
		first, second := a.folders[i].Run.StartedAt, b.folders[i].Run.StartedAt
		if second.Before(first) {
			first, second = second, first
		}
		if !first.After(last) || !second.After(first) {
			return false
		}
		last = second
	}
	return true
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
		return "", err
	}
	id := p.b.folders[0].Run.Scenario
	name := id.Name
	if id.Case != "" {
		name += "-" + id.Case
	}
	path := filepath.Join(dir, name+".svg")
	if err := os.WriteFile(path, svg, 0o644); err != nil {
		return "", err
	}
	return path, nil
}

// name is that of the side's first result, for a picture's legend.
func (g group) name() string {
	run := g.folders[0].Run
	return cmp.Or(run.ID, "run") + " " + g.label
}

func trace(f record.Folder) (chart.Trace, error) {
	raw, err := record.ReadRaw(f.Dir)
	if err != nil {
		return chart.Trace{}, err
	}
	return chart.NewTrace(raw.Run, raw.Trace), nil
}
