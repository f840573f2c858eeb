package mutants

import (
	"bytes"
	"fmt"
	"strings"
)

// File is where the table of all mutants is kept.
const File = "docs/design/mutants.md"

const introduction = `# Aggregators that lie, and what the lab says

Does the lab notice when an aggregator lies about itself? Each row is a real aggregator behind a
proxy that lies in one way, under a load of about two seconds. The last column is what the lab said
first: a check of the audit, an expectation, or why the run is INVALID. The rows that begin with
"honest" are controls: nothing is changed, and the lab must find nothing.

` + "`make mutants`" + ` writes this page. Figures differ from run to run; a test holds the rows to
` + "`bench/experiment/mutants/catalogue.go`" + `.

`

const conclusion = `
## Machines that lie

The aggregator may be honest and the figures wrong all the same, because of the machine. This is
what the lab says then. Each row has a test that tells the lie to a real run, or to records of one,
and has its control.

| lie | what the lab says | test |
|---|---|---|
| Lab and aggregator are pinned to one core, and a loop has it busy | INVALID: others took 40 % of the cores that the run may use (1), the bound is 15 % | ` + "`" + `TestOthersOnThePinnedCore` + "`" + ` |
| A CPU quota, on both or on the aggregator | INVALID: a CPU quota held the run back in 10 of its periods, for 400 ms on all cores together | ` + "`" + `TestThrottled` + "`" + ` |
| The generator stands still for 70 of every 200 ms | INVALID: the generator did not run for … % of the measured time, the bound is 5 % | ` + "`" + `TestGeneratorStopped` + "`" + ` |
| A program against itself, every run INVALID and refusing | exit 3: not enough evidence; … is called worse, and does not count, since a WARNING forbids the comparison | ` + "`" + `TestSameWithEveryRunInvalid` + "`" + ` |
| Runs too short for a p99 on either side | WITHHELD: response_time_ms_p99 decides nothing: 800 and 800 requests in all repeats together, 1000 needed | ` + "`" + `TestWithheld` + "`" + ` |
| Two requests of a hundred wait 250 ms longer | worse, by response_time_ms_p99 of all repeats together | ` + "`" + `TestTheTailOfAllRepeatsTogether` + "`" + ` |

The numbers are those of one case.

## What the lab cannot see

- Syncs that are left out. Without fdatasync everything is as it should be until the power fails,
  and no answer is different. Where strace is installed, the syncs that /stats counts are compared
  with those that the kernel sees, which catches the row "no-sync-traced". A server that syncs, but
  not what it should, is only found where the power is cut: ` + "`make faults`" + ` does that.
- A lie that is shorter than a look. What /stats calls committed is read back after some of its
  answers, about twice to ten times a second. Waits are bounded as closely as that, and no closer.
- A lie in an answer that nothing is compared with, such as the times of commits and syncs in the
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

// checkDocument says how a page is not one of these mutants: a row is missing, is of another
// mutant, or tells of one that the lab was wrong about.
func checkDocument(page []byte) error {
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
