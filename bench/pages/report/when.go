package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// measured is something that the set has, the day on which it began, as "2026-11-30", and the
// commit that was measured.
type measured struct {
	what, day, commit string
}

// when is the row that dates all others. If they are of several commits it says which are of which.
func (s *set) when() []answer {
	var commits []string
	all := s.measured()
	for _, m := range all {
		if !slices.Contains(commits, m.commit) {
			commits = append(commits, m.commit)
		}
	}
	if len(commits) == 0 {
		return nil
	}
	var texts []string
	for _, commit := range commits {
		of := slices.DeleteFunc(slices.Clone(all), func(m measured) bool { return m.commit != commit })
		text := fmt.Sprintf("%s, commit `%s`", days(of), cmp.Or(commit, "unknown"))
		if len(commits) > 1 {
			text = whats(of) + ": " + text
		}
		texts = append(texts, text)
	}
	return []answer{{"**When** all this was measured", strings.Join(texts, "; "), "[machines](results/pages/machines.md)"}}
}

// measured is what the set has, in the order of the first table.
func (s *set) measured() (all []measured) {
	add := func(what, date, commit string) {
		all = append(all, measured{what, date[:min(len(date), len(time.DateOnly))], commit})
	}
	for _, g := range s.groups() {
		for _, r := range slices.Concat(g.Repeats, g.Profiled) {
			add("scenarios", r.Run.StartedAt.UTC().Format(time.DateOnly), r.Run.Environment.Commit)
		}
	}
	if s.faults != nil {
		add("faults", s.faults.Date, s.faults.Commit)
	}
	if s.cluster != nil {
		add("the cluster's faults", s.cluster.Date, s.cluster.Commit)
	}
	if s.soak != nil {
		add("soak", s.soak.Date, s.soak.Commit)
	}
	if s.yardsticks != nil {
		add("other systems", s.yardsticks.StartedAt.UTC().Format(time.DateOnly), s.yardsticks.Environment.Commit)
	}
	if s.senders != nil {
		add("senders", s.senders.Date, s.senders.Commit)
	}
	return all
}

// days is the day of them all, or the first and the last one.
func days(of []measured) string {
	first, last := of[0].day, of[0].day
	for _, m := range of {
		first, last = min(first, m.day), max(last, m.day)
	}
	if first == last {
		return dayText(first)
	}
	return dayText(first) + " to " + dayText(last)
}

// dayText is "30 November 2026" of "2026-11-30"; what is no day is left as it is.
func dayText(day string) string {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return day
	}
	return at.Format("2 January 2006")
}

func whats(of []measured) string {
	var names []string
	for _, m := range of {
		if !slices.Contains(names, m.what) {
			names = append(names, m.what)
		}
	}
	return strings.Join(names, ", ")
}
