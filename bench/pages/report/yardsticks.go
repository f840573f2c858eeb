package report

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sekali/bench/figures"
	"sekali/bench/internal/chart"
	"sekali/bench/record"
	"sekali/loadgen/stream"
)

// beside is what `make yardsticks` measured, for the template.
type beside struct {
	record.Yardsticks
	Picture picture
}

// readYardsticks returns the yardsticks of the reference, their figures computed again from the
// rounds; nil if it has none.
func readYardsticks(reference string) (*record.Yardsticks, error) {
	y, err := record.ReadYardsticks(reference)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		y, err = figures.Yardsticks(y)
	}
	return &y, err
}

// verifyYardsticks compares the figures with what follows from the rounds.
func verifyYardsticks(reference string) []error {
	committed, err := record.ReadYardsticks(reference)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []error{err}
	}
	recomputed, err := figures.Yardsticks(committed)
	if err != nil {
		return []error{err}
	}
	name := filepath.Join(reference, record.YardsticksFile)
	return append(compareJSON(name, committed, recomputed), verifyRounds(name, committed)...)
}

// verifyRounds holds what each round was to store to the stream, and the systems to each other.
func verifyRounds(name string, y record.Yardsticks) (differences []error) {
	made, err := stream.New(y.Stream)
	if err != nil {
		return []error{fmt.Errorf("%s: %w", name, err)}
	}
	rounds := 0
	for _, s := range y.Systems {
		rounds = max(rounds, len(s.Rounds))
	}
	for _, s := range y.Systems {
		if s.Skipped == "" && len(s.Rounds) != rounds {
			differences = append(differences, fmt.Errorf("%s: %s has %d of %d rounds", name, s.ID, len(s.Rounds), rounds))
		}
		for i, r := range s.Rounds {
			// Some drop no repeats.
			if r.Expected != r.Events && r.Expected != int(made.Originals(uint64(r.Events))) {
				differences = append(differences, fmt.Errorf("%s: %s, round %d: of %d events of the stream %d are expected", name, s.ID, i+1, r.Events, r.Expected))
			}
		}
	}
	return differences
}

// besideOthers draws the yardsticks; nil stays nil.
func besideOthers(y *record.Yardsticks) (*beside, error) {
	if y == nil {
		return nil, nil
	}
	var shown []record.Yardstick
	for _, system := range y.Systems {
		if system.Skipped == "" {
			shown = append(shown, system)
		}
	}
	ours := y.Systems[0]
	slices.SortStableFunc(shown, func(a, b record.Yardstick) int { return cmp.Compare(b.EventsPerS.Median, a.EventsPerS.Median) })
	var ids []string
	same := chart.Series{Name: "promises what Sekali promises"}
	less := chart.Series{Name: "promises less"}
	for _, system := range shown {
		// A word a line: ten names side by side have no room for more.
		ids = append(ids, strings.ReplaceAll(system.ID, "-", "\n"))
		has, hasNot := &same.Values, &less.Values
		if system.Durable != ours.Durable || system.Dedup != ours.Dedup {
			has, hasNot = hasNot, has
		}
		*has, *hasNot = append(*has, system.EventsPerS.Median), append(*hasNot, math.NaN())
	}
	svg, err := chart.Bars(ids, []chart.BarPanel{{Label: "events/s", Series: []chart.Series{same, less}, Kinds: true}})
	return &beside{*y, picture{Path: path.Join(picturesDir, "yardsticks.svg"), Alt: "Events per second of Sekali and of other systems", svg: svg}}, err
}

// Rounds is the largest number that any system took part in.
func (b *beside) Rounds() int {
	most := 0
	for _, s := range b.Systems {
		most = max(most, len(s.Rounds))
	}
	return most
}

// Table is one row a system.
func (b *beside) Table() string {
	var text strings.Builder
	head, line := b.bytesHead()
	text.WriteString("| system | stored events survive | repeats are recognised | events a round | events/s stored | Sekali, × as fast | client CPU, µs an event | server CPU, µs an event | server memory, MB |" +
		head + "\n|---|---|---|---:|---:|---:|---:|---:|---:|" + line + "\n")
	for _, s := range b.Systems {
		if s.Skipped != "" {
			fmt.Fprintf(&text, "| %s | %s | %s | | skipped: %s | | | | |%s\n", cell(s.Name), cell(s.Durable), cell(s.Dedup), cell(s.Skipped), b.bytesCells(s))
			continue
		}
		server, memory := withheld, withheld
		if s.ServerCPUUSPerEvent != nil {
			server = chart.Number(*s.ServerCPUUSPerEvent)
		}
		if s.ServerMemoryBytes != nil {
			memory = chart.Number(float64(*s.ServerMemoryBytes) / 1e6)
		}
		rate := spread(s.EventsPerS)
		if s.EventsReadPerS > 0 {
			rate += fmt.Sprintf("; %s read", chart.Number(s.EventsReadPerS))
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |%s\n", cell(s.Name), cell(s.Durable), cell(s.Dedup), exact(uint64(s.Rounds[0].Events)),
			rate, ratio(s), chart.Number(s.ClientCPUUSPerEvent), server, memory, b.bytesCells(s))
	}
	return text.String()
}

// HasBytes says that bytes were measured: earlier sittings did not.
func (b *beside) HasBytes() bool {
	return slices.ContainsFunc(b.Systems, func(s record.Yardstick) bool { return s.BytesKeptPerEvent > 0 })
}

// bytesHead is the head of the columns for bytes, if there are any, and the line below it.
func (b *beside) bytesHead() (head, line string) {
	if !b.HasBytes() {
		return "", ""
	}
	return " bytes written an event | bytes kept an event |", "---:|---:|"
}

func (b *beside) bytesCells(s record.Yardstick) string {
	if !b.HasBytes() {
		return ""
	}
	figure := func(n float64) string {
		switch {
		case s.Skipped != "":
			return ""
		case n == 0:
			return withheld
		}
		return chart.Number(n)
	}
	return fmt.Sprintf(" %s | %s |", figure(s.BytesWrittenPerEvent), figure(s.BytesKeptPerEvent))
}

// ratio is how many times as fast Sekali was; of Sekali itself, and without it, there is none.
func ratio(s record.Yardstick) string {
	if s.ID == record.Sekali || s.SekaliRatio == (record.Spread{}) {
		return withheld
	}
	return spread(s.SekaliRatio)
}

// Settings is one item a system that was measured.
func (b *beside) Settings() string {
	var text strings.Builder
	for _, s := range b.Systems {
		if s.Skipped == "" {
			fmt.Fprintf(&text, "- **%s**, %s: %s. Its time is for %s.\n", s.Name, s.Version, strings.Join(s.Settings, ", "), s.Includes)
		}
	}
	return text.String()
}

// besideOthers is how many times as fast as others Sekali was, in one row; none if it was not among
// them.
func (s *set) besideOthers() []answer {
	y := s.yardsticks
	if y == nil {
		return nil
	}
	var parts []string
	known, bound := false, ""
	for _, s := range y.Systems {
		switch {
		case s.Skipped != "":
		case s.ID == record.AppendAlone: // no server and no dedup: about what the disk and SQLite allow
			bound = fmt.Sprintf("; %.2g × a bare loop that appends to SQLite", s.SekaliRatio.Median)
		case strings.HasPrefix(s.ID, record.Sekali+"-"): // itself, at something else besides
		case s.ID == record.Sekali:
			known = true
		case s.ServerCPUUSPerEvent != nil: // a server, as Sekali is one
			parts = append(parts, fmt.Sprintf("%.2g × %s", s.SekaliRatio.Median, s.Name))
		}
	}
	if !known || len(parts) == 0 {
		return nil
	}
	return []answer{{"**Other systems**, the same events on the same machine",
		"Sekali's events/s: " + strings.Join(parts, "; ") + bound, "[page](results/pages/beside.md)"}}
}

// onPageAlone are the systems that results/pages/beside.md has and REPORT.md has not: variants of
// Sekali and of its parts.
var onPageAlone = []string{"sekali-export", "sqlite-btree", "course-report"}

// Short is one row a system: what it promises, its rate, and Sekali's ratio to it.
func (b *beside) Short() string {
	var text strings.Builder
	head, line := b.bytesHead()
	text.WriteString("| system | stored events survive | repeats are recognised | events/s stored | Sekali, × as fast |" + head + "\n|---|---|---|---:|---:|" + line + "\n")
	for _, s := range b.Systems {
		if s.Skipped == "" && !slices.Contains(onPageAlone, s.ID) {
			fmt.Fprintf(&text, "| %s | %s | %s | %s | %s |%s\n", cell(s.Name), cell(s.Durable), cell(s.Dedup), spread(s.EventsPerS), ratio(s), b.bytesCells(s))
		}
	}
	return text.String()
}
