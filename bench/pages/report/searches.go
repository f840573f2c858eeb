package report

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"sekali/bench/experiment/saturation"
	"sekali/bench/internal/chart"
	"sekali/bench/judge/objective"
	"sekali/bench/record"
)

// search is one for the highest rate that meets an objective, recomputed from its probes.
type search struct {
	saturation.Record
	path      string // of its folder, from the report on, with slashes
	objective objective.Objective
}

// searchFolders are those below the reference that hold a search, in the order of their names.
func searchFolders(reference string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(reference, "*", saturation.SearchFile))
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found, nil
}

// readSearches adds the searches, and the runs of their curves.
func (s *set) readSearches(reference string) error {
	dirs, err := searchFolders(reference)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := s.readSearch(reference, dir); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

func (s *set) readSearch(reference, dir string) error {
	found, err := saturation.Read(dir)
	if err != nil {
		return err
	}
	if found, err = saturation.Recompute(dir, found); err != nil {
		return err
	}
	if found.Curve == "" {
		return fmt.Errorf("%s: the search has no curve, beside which it would be shown", dir)
	}
	one := &search{Record: found, path: path.Join(referenceDir, filepath.Base(dir))}
	if one.objective, err = objective.Parse(found.Objective); err != nil {
		return err
	}
	if s.find(found.Scenario) != nil {
		return fmt.Errorf("%s: there are other runs of %s, or another search, beside this one", dir, found.Scenario)
	}
	folders, err := record.Open(filepath.Join(dir, filepath.FromSlash(found.Curve)))
	if err != nil {
		return err
	}
	if err := s.read(reference, folders); err != nil {
		return err
	}
	of := s.find(found.Scenario)
	if of == nil || of.swept() == nil {
		return fmt.Errorf("%s: %s is not a curve of %s", dir, found.Curve, found.Scenario)
	}
	of.Search = one
	return nil
}

// verifySearch holds a search to the raw files of its probes, and these and the curve's to their
// hashes, and counts the results.
func verifySearch(dir string) (results int, differences []error) {
	found, err := saturation.Read(dir)
	if err != nil {
		return 0, []error{err}
	}
	for _, below := range found.Dirs() {
		folders, err := record.Open(filepath.Join(dir, filepath.FromSlash(below)))
		if err != nil {
			differences = append(differences, err)
		}
		for _, f := range folders {
			results++
			differences = append(differences, verifyFolder(f)...)
		}
	}
	again, err := saturation.Recompute(dir, found)
	if err != nil {
		return results, append(differences, err)
	}
	return results, append(differences, compareJSON(filepath.Join(dir, saturation.SearchFile), found, again)...)
}

// Intro says what was searched for.
func (s *search) Intro() string {
	return fmt.Sprintf("The search for the highest rate that meets `%s`, of requests with %d events ([%s](%s/)): each probe is a run of its own, "+
		"audited, and its answer was met once more by a longer one. A rate that was missed was asked for once more, and the second outcome counts; "+
		"one that was met was not.", s.Objective, s.EventsPerRequest, path.Base(s.path), s.path)
}

// Verdict says what the searches came to together, as a sentence.
func (s *search) Verdict() string {
	verdict := s.Record.Verdict()
	return strings.ToUpper(verdict[:1]) + verdict[1:] + "."
}

// Answers is a table with a row for each search.
func (s *search) Answers() string {
	var text strings.Builder
	text.WriteString("| search | began at, requests/s | probes | found and confirmed, requests/s | events/s |\n|---:|---:|---:|---:|---:|\n")
	for n, a := range s.Searches {
		rate, events := a.Error, withheld
		if a.RequestsPerS != nil {
			rate, events = chart.Number(*a.RequestsPerS), chart.Number(*a.EventsPerS)
		} else if a.Best != nil {
			rate, events = a.Error+"; "+chart.Number(a.Best.RequestsPerS)+" "+a.Best.Evidence, "at least "+chart.Number(a.Best.EventsPerS)
		}
		fmt.Fprintf(&text, "| %d | %s | %d | %s | %s |\n", n+1, chart.Number(a.Start), len(a.Probes), cell(rate), events)
	}
	return text.String()
}

// Probes is a table with a row for each probe, and a column for each figure of the objective.
func (s *search) Probes() string {
	names, units := s.objective.Metrics()
	var text strings.Builder
	text.WriteString("| search | probe | requests/s |")
	for i, name := range names {
		if units[i] != "" {
			name += ", " + units[i]
		}
		fmt.Fprintf(&text, " %s |", name)
	}
	text.WriteString(" outcome |\n|---:|---|---:|" + strings.Repeat("---:|", len(names)) + "---|\n")
	for n, a := range s.Searches {
		for _, p := range a.Probes {
			fmt.Fprintf(&text, "| %d | [%s](%s/) | %s |", n+1, path.Base(p.Dir), path.Join(s.path, p.Dir), chart.Number(p.RequestsPerS))
			for _, name := range names {
				figure := withheld
				if value, known := p.Figures[name]; known {
					figure = chart.Number(value)
				}
				fmt.Fprintf(&text, " %s |", figure)
			}
			fmt.Fprintf(&text, " %s |\n", outcome(p))
		}
	}
	return text.String()
}

// outcome says why a probe does not count, which is not seen in its figures.
func outcome(p saturation.Probe) string {
	switch p.Outcome() {
	case saturation.Met:
		return "met"
	case saturation.Missed:
		return "missed"
	}
	return "**INVALID**: " + cell(strings.Join(p.Invalid, "; "))
}
