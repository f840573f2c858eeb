package mutants

import (
	"bytes"
	"fmt"
	"strings"
)

// File is where the table of all mutants is kept.
const File = "docs/design/mutants.md"

const introduction = `# Aggregators that lie, and what the lab says

A lab that believes what it measures can be lied to. Each row is a real aggregator behind a proxy
that lies in one way, under a load of about two seconds. The last column is what the lab said first:
a check of the audit, an expectation, or why the run is INVALID. The rows that begin with "honest"
are controls: they change nothing, and the lab must have nothing to say.

` + "`make mutants`" + ` writes this page. Figures differ from run to run; a test holds the rows to
` + "`bench/experiment/mutants/catalogue.go`" + `.

`

const conclusion = `
## What it does not show

- A disk that is told nothing. Without fdatasync everything is as it should be until the power
  fails, and no answer is different. Where strace is installed, the syncs that /stats counts are
  held to those that the kernel sees, which catches the row "no-sync-traced"; a server that syncs,
  but not what it should, is only seen where the power is cut: ` + "`make faults`" + ` does that.
- A lie that is shorter than a look. What /stats calls committed is read back after some of its
  answers, about twice to ten times a second. Waits are bounded as closely as that, and no closer.
- A lie in one answer that nobody holds to anything, such as the times of commits and syncs in the
  histograms of /stats: they decide nothing.
`

// Document is the page of a whole table.
func Document(rows []Found) []byte {
	var page bytes.Buffer
	page.WriteString(introduction)
	WriteHeader(&page)
	for _, row := range rows {
		row.Write(&page)
	}
	page.WriteString(conclusion)
	return page.Bytes()
}

// CheckDocument says how a page is not one of these mutants: a row is missing, is of another
// mutant, or tells of one that the lab was wrong about.
func CheckDocument(page []byte) error {
	text, found := strings.CutPrefix(string(page), introduction)
	text, whole := strings.CutSuffix(text, conclusion)
	if !found || !whole {
		return fmt.Errorf("mutants: %s has another text around its table", File)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != len(catalogue)+2 {
		return fmt.Errorf("mutants: %s has %d lines in its table, and there are %d mutants", File, len(lines), len(catalogue))
	}
	for i, m := range catalogue {
		caught, ok := strings.CutPrefix(lines[i+2], fmt.Sprintf("| %s | %s | ", m.name, m.lie))
		caught, ended := strings.CutSuffix(caught, " |")
		if !ok || !ended || caught == "" || strings.Contains(caught, "**") {
			return fmt.Errorf("mutants: %s: the row %q is not of %s", File, lines[i+2], m.name)
		}
		if honest := strings.HasPrefix(m.name, Honest); honest != (caught == passes) {
			return fmt.Errorf("mutants: %s: %s: %s", File, m.name, caught)
		}
	}
	return nil
}
