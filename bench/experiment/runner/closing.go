package runner

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sekali/bench/judge"
	"sekali/bench/record"
)

// detailedCases is up to how many cases are printed with all their figures. More of them would push
// each other off the screen: there the closing table is what is read.
const detailedCases = 4

// legend says what the columns of the closing table are.
const legend = "events/s: processed. p50, p99: from due to answered, in a closed loop from when a client is free. " +
	"lost: acknowledged and not stored. –: too few requests.\n"

// conclusion is what a case came to, in a word.
type conclusion string

const (
	passed  conclusion = "passed"
	failed  conclusion = "FAILED"  // an expectation or the audit did, or it could not be run to its end
	invalid conclusion = "INVALID" // the generator or the machine set the figure
	skipped conclusion = "skipped" // this machine cannot do what the case asks for
)

// done is a case that has ended, one way or the other.
type done struct {
	job        job
	conclusion conclusion
	run        *record.Run // nil: it left no result
	why        string      // where there is no result
}

// conclude says what a result came to. What the aggregator broke counts before the figures; what
// the machine may have broken does not.
func conclude(run record.Run) conclusion {
	switch {
	case len(judge.Broken(run)) > 0:
		return failed
	case !run.Validity.Valid:
		return invalid
	}
	return passed
}

// closing is the end of a run: a table with a line for each case, and what to do about the INVALID.
type closing struct {
	w       io.Writer
	colours bool
	dir     string // of the run
	pages   bool   // each result has one
	cases   []done
}

func (c *closing) add(d done) { c.cases = append(c.cases, d) }

// labels are those of the cases with a conclusion.
func (c *closing) labels(o conclusion) []string {
	var labels []string
	for _, d := range c.cases {
		if d.conclusion == o {
			labels = append(labels, d.job.label())
		}
	}
	return labels
}

// outcome is what the cases came to, but for what went wrong beside the cases.
func (c *closing) outcome() Outcome {
	measured := slices.ContainsFunc(c.cases, func(d done) bool { return d.run != nil })
	switch {
	case len(c.labels(failed)) > 0:
		return Failed
	case len(c.labels(invalid)) > 0, !measured: // nothing was shown
		return Invalid
	}
	return Held
}

// print writes the table, why cases are INVALID, and what each conclusion comes to.
func (c *closing) print() {
	if len(c.cases) == 0 {
		return
	}
	fmt.Fprintf(c.w, "\n%s%s", c.table(), legend)
	c.printFailures()
	c.printReasons()
	fmt.Fprintln(c.w)
	if c.pages && slices.ContainsFunc(c.cases, func(d done) bool { return d.run != nil }) {
		fmt.Fprintf(c.w, "The pages are in %s; all runs: bin/bench serve results\n", c.dir)
	}
	var counts []string
	for _, o := range []conclusion{passed, failed, invalid, skipped} {
		if n := len(c.labels(o)); n > 0 {
			counts = append(counts, c.coloured(o, fmt.Sprintf("%d %s", n, o)))
		}
	}
	fmt.Fprintln(c.w, strings.Join(counts, ", "))
}

// table has its columns aligned by hand: text/tabwriter would count the escapes of colours.
func (c *closing) table() string {
	head := []string{"case", "verdict", "events/s", "p50 ms", "p99 ms", "lost"}
	rows := [][]string{head}
	for _, d := range c.cases {
		rows = append(rows, d.cells())
	}
	if c.pages {
		rows[0] = append(rows[0], "page")
		for i, d := range c.cases {
			page := withheld
			if d.run != nil {
				page = filepath.Join(d.job.folder(), record.PageFile)
			}
			rows[i+1] = append(rows[i+1], page)
		}
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var text strings.Builder
	for n, row := range rows {
		line := ""
		for i, cell := range row {
			room := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			switch {
			case i == 1 && n > 0:
				cell = c.coloured(c.cases[n-1].conclusion, cell) + room
			case i >= 2 && i <= 5: // numbers end on one column
				cell = room + cell
			default:
				cell += room
			}
			line += cell + "  "
		}
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return text.String()
}

// cells are a case's, up to what was lost.
func (d done) cells() []string {
	if d.run == nil {
		return []string{d.job.label(), string(d.conclusion), withheld, withheld, withheld, withheld}
	}
	s := d.run.Summary
	lost := withheld
	if a := d.run.Audit; a != nil {
		if lost = strconv.FormatUint(a.Lost, 10); a.Lost > 0 && len(judge.Broken(*d.run)) == 0 {
			lost += " (expected)"
		}
	}
	return []string{d.job.label(), string(d.conclusion), rate(s.ThroughputProcessedPerS),
		figureText(s.ResponseTimeMS.P50), figureText(s.ResponseTimeMS.P99), lost}
}

// rate writes a throughput.
func rate(perS *float64) string {
	if perS == nil {
		return withheld
	}
	return fmt.Sprintf("%.0f", *perS)
}

// printFailures says what was not as expected, and why a case left no result.
func (c *closing) printFailures() {
	for _, o := range []conclusion{failed, skipped} {
		for _, d := range c.cases {
			if d.conclusion != o {
				continue
			}
			why := d.why
			if d.run != nil {
				var parts []string
				for _, e := range judge.Broken(*d.run) {
					parts = append(parts, fmt.Sprintf("%s: expected %s, got %s", e.Name, e.Expected, e.Got))
				}
				why = strings.Join(parts, "; ")
			}
			fmt.Fprintf(c.w, "\n%s: %s\n    why: %s\n", c.coloured(o, string(o)), d.job.label(), why)
		}
	}
}

// printReasons says why cases are INVALID, each kind of reason once, with what can be done about
// it.
func (c *closing) printReasons() {
	type group struct {
		code, text, remedy string // of the first case that has it
		cases              []string
	}
	var groups []group
	for _, d := range c.cases {
		if d.conclusion != invalid {
			continue
		}
		for _, reason := range d.run.Validity.Reasons {
			at := slices.IndexFunc(groups, func(g group) bool { return g.code == reason.Code })
			if at < 0 {
				at, groups = len(groups), append(groups, group{code: reason.Code, text: reason.Text, remedy: judge.Remedy(reason)})
			}
			if label := d.job.label(); !slices.Contains(groups[at].cases, label) {
				groups[at].cases = append(groups[at].cases, label)
			}
		}
	}
	if len(groups) == 0 {
		return
	}
	fmt.Fprintf(c.w, "\n%s: the machine or the generator, not the aggregator, set the figures of these cases.\n"+
		"Their audits hold: nothing was lost that the ack level promises to keep. To get figures:\n", c.coloured(invalid, string(invalid)))
	for _, g := range groups {
		fmt.Fprintf(c.w, "  %s\n    why: %s\n    do:  %s\n", strings.Join(g.cases, ", "), g.text, g.remedy)
	}
}

// colourOf are the codes of a terminal's colours.
var colourOf = map[conclusion]string{passed: "32", failed: "31", invalid: "33", skipped: "2"}

func (c *closing) coloured(o conclusion, text string) string {
	if !c.colours {
		return text
	}
	return "\x1b[" + cmp.Or(colourOf[o], "0") + "m" + text + "\x1b[0m"
}
