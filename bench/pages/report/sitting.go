package report

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sekali/bench/record"
	scenarios "sekali/bench/scenario"
)

// sitting is what one command ran, and how much of that is there.
type sitting struct {
	record.Index
	dir  string
	runs []record.Run
}

func readSitting(dir string) (s sitting, err error) {
	s.dir = dir
	if s.Index, err = record.ReadIndex(dir); err != nil {
		return s, err
	}
	for _, entry := range s.Results {
		run, err := record.ReadRun(filepath.Join(dir, filepath.Base(entry.Dir)))
		if err != nil {
			return s, err
		}
		s.runs = append(s.runs, run)
	}
	return s, nil
}

// planned is how many runs the sitting had, and which of them are not there. Where that was not
// recorded it is every case of every scenario that has a result, as often as the most repeated one.
func (s sitting) planned() (n int, absent []string, err error) {
	if s.Planned > 0 {
		return s.Planned, s.absentByNumber(), nil
	}
	repeats, seen := 0, map[string]bool{}
	for _, run := range s.runs {
		repeats = max(repeats, run.Scenario.Repeat)
	}
	for _, run := range s.runs {
		if seen[run.Scenario.Name] {
			continue
		}
		seen[run.Scenario.Name] = true
		made, err := scenarios.Parse(filepath.Join(s.dir, "scenario"), []byte(run.Scenario.Text))
		if err != nil {
			return 0, nil, err
		}
		for _, one := range made.Cases {
			for repeat := 1; repeat <= repeats; repeat++ {
				n++
				if !slices.ContainsFunc(s.runs, func(r record.Run) bool {
					return r.Scenario.Name == made.Name && r.Scenario.Case == one.Name && r.Scenario.Repeat == repeat
				}) {
					absent = append(absent, fmt.Sprintf("%s, repeat %d", record.Scenario{Name: made.Name, Case: one.Name}.Label(), repeat))
				}
			}
		}
	}
	return n, absent, nil
}

// sittings are those of a report.
type sittings struct {
	Sentences []string // one each
	Runs, Of  int      // in all
}

// Sum is how many runs of all of them there are.
func (s sittings) Sum() string {
	return fmt.Sprintf("%d of %d runs of %d sittings are here", s.Runs, s.Of, len(s.Sentences))
}

// readSittings reads those directly below the reference, in the order of their names.
func readSittings(reference string) (all sittings, err error) {
	found, err := filepath.Glob(filepath.Join(reference, "*", record.IndexFile))
	if err != nil {
		return all, fmt.Errorf("report: %w", err)
	}
	for _, name := range found {
		s, err := readSitting(filepath.Dir(name))
		if err != nil {
			return all, err
		}
		n, absent, err := s.planned()
		if err != nil {
			return all, err
		}
		all.Runs, all.Of = all.Runs+len(s.runs), all.Of+n
		all.Sentences = append(all.Sentences, s.sentence(n, absent))
	}
	return all, nil
}

// sentence says how many of its runs there are.
func (s sitting) sentence(n int, absent []string) string {
	text := fmt.Sprintf("[%s](%s/): %d of %d runs", s.ID, path.Join(referenceDir, filepath.Base(s.dir)), len(s.runs), n)
	if s.Planned == 0 {
		text += ", counting every case of the scenarios that are there, since how many were asked for was not recorded"
	}
	for _, left := range s.LeftOut {
		text += fmt.Sprintf("; without a result: %s, %s", record.Scenario{Name: left.Scenario, Case: left.Case}.Label(), cell(left.Why))
	}
	if !s.Whole() {
		text += "; **interrupted**"
	}
	if len(absent) > 0 {
		text += "; **absent: " + strings.Join(absent, "; ") + "**"
	}
	return text + "."
}

// absentByNumber are those that are neither there nor left out for a reason.
func (s sitting) absentByNumber() (absent []string) {
	if n := s.Planned - len(s.runs) - len(s.LeftOut); n != 0 {
		absent = append(absent, fmt.Sprintf("%d runs of which nothing is said", n))
	}
	for i, run := range s.runs {
		before := 0
		if i > 0 {
			before = s.runs[i-1].Sitting.Number
		}
		if at := run.Sitting; at == nil || at.Of != s.Planned || at.Number <= before || at.Number > s.Planned {
			return append(absent, fmt.Sprintf("what was the place of %s", s.Results[i].Dir))
		}
	}
	return absent
}
