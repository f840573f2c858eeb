package report

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"sekali/bench/internal/chart"
	"sekali/bench/record"
)

// answer is a row of the first table of REPORT.md, which README.md has too.
type answer struct {
	Question, Measured, Runs string
}

// answers are the first table's rows: of each what the set has, each figure naming its results.
func (s *set) answers() []answer {
	var rows []answer
	for _, add := range []func() []answer{
		s.kept, s.faulted, s.clusterFaulted, s.soaked, s.acknowledgedIn, s.sustained, s.deduplicated, s.besideOthers, s.when,
	} {
		rows = append(rows, add()...)
	}
	return rows
}

// answersTable is the rows as Markdown.
func (s *set) answersTable() string {
	var text strings.Builder
	text.WriteString("| what | measured | from |\n|---|---|---|\n")
	for _, a := range s.answers() {
		fmt.Fprintf(&text, "| %s | %s | %s |\n", a.Question, a.Measured, a.Runs)
	}
	return text.String()
}

// kept is what a SIGKILL lost at the levels that promise to keep, and at the control that does not.
func (s *set) kept() []answer {
	kill := s.find("kill")
	if kill == nil {
		return nil
	}
	var kept, control []*group
	for _, g := range kill.Cases {
		if g.first().Run.Aggregator.Ack == "memory" {
			control = append(control, g)
		} else {
			kept = append(kept, g)
		}
	}
	losses := func(groups []*group) string {
		var parts []string
		for _, g := range groups {
			parts = append(parts, fmt.Sprintf("%s of %s at `%s`", exact(lost(g)), exact(acknowledged(g)), g.caseName()))
		}
		return strings.Join(parts, ", ")
	}
	rows := []answer{}
	if kept != nil {
		all := losses(kept)
		if !slices.ContainsFunc(kept, func(g *group) bool { return lost(g) > 0 }) {
			all = keptAll(kept)
		}
		rows = append(rows, answer{"**Kept.** Acknowledged events that a SIGKILL lost", all, "[kill](results/pages/kill.md)"})
	}
	if control != nil {
		rows = append(rows, answer{"**Control.** The same at `memory`, which may lose events. If none were lost, the audit would be blind", losses(control), runsOf(control)})
	}
	return rows
}

// keptAll is one figure for cases of which none lost anything.
func keptAll(groups []*group) string {
	total, levels := uint64(0), []string(nil)
	for _, g := range groups {
		total += acknowledged(g)
		if level := "`" + g.first().Run.Aggregator.Ack + "`"; !slices.Contains(levels, level) {
			levels = append(levels, level)
		}
	}
	text := fmt.Sprintf("**0 of %s** at %s", exact(total), strings.Join(levels, " and "))
	if len(groups) > len(levels) {
		text += fmt.Sprintf(", in %d cases", len(groups))
	}
	return text
}

// caseName is the ack level, and the case where it says more.
func (g *group) caseName() string {
	ack := g.first().Run.Aggregator.Ack
	if g.Case == "" || g.Case == ack {
		return ack
	}
	return g.Case
}

func lost(g *group) uint64 { return g.count(func(r repeat) uint64 { return r.Run.Audit.Lost }) }
func acknowledged(g *group) uint64 {
	return g.count(func(r repeat) uint64 { return r.Run.Audit.Acknowledged })
}

func (s *set) faulted() []answer {
	if s.faults == nil {
		return nil
	}
	return []answer{{"**Faults.** Kills at chosen places in the code, power loss, full disk, failing syncs, …", faultAnswer(s.faults), "[table](results/pages/faults.md)"}}
}

func (s *set) clusterFaulted() []answer {
	if s.cluster == nil {
		return nil
	}
	return []answer{{"**A cluster of three.** The same to its log servers, aggregators, disks and network", faultAnswer(s.cluster), "[table](results/pages/cluster-faults.md)"}}
}

func (s *set) soaked() []answer {
	if s.soak == nil {
		return nil
	}
	return []answer{{"**Soak.** A long load, with kills, readers and slow clients", s.soak.answer(), "[page](results/pages/soak.md)"}}
}

// acknowledgedIn is the response time of the level that is the default, with its rate.
func (s *set) acknowledgedIn() []answer {
	g := s.find("ack-levels").find("journal")
	if g == nil {
		return nil
	}
	return []answer{{fmt.Sprintf("**Latency** at `ack=journal`, %s events/s in requests of %d: time until the answer", chart.Number(offered(g)), g.first().Run.Load.EventsPerRequest),
		fmt.Sprintf("**p99 %s ms**, p50 %s ms", g.show(responseP99), g.show(responseP50)), g.Runs()}}
}

func responseP50(s record.Summary) *float64 { return s.ResponseTimeMS.P50 }
func responseP99(s record.Summary) *float64 { return s.ResponseTimeMS.P99 }

// offered is the highest planned rate of the measured phases, in events/s; 0 in a closed loop.
func offered(g *group) float64 {
	run, most := g.first().Run, 0.
	for _, p := range run.Phases {
		if p.Measured {
			most = max(most, p.Rate)
		}
	}
	return most * float64(run.Load.EventsPerRequest)
}

// sustained is what the aggregator commits while more arrives than it can commit at once: as fast
// as it is taken, or else in a burst.
func (s *set) sustained() []answer {
	saturated := s.find("throughput")
	if saturated == nil {
		saturated = s.find("burst")
	}
	if saturated == nil {
		return nil
	}
	g := saturated.Cases[0]
	return []answer{{fmt.Sprintf("**Throughput** at `ack=%s`, until the last event is committed", g.first().Run.Aggregator.Ack),
		fmt.Sprintf("%s events/s; without the duplicates %s", g.show(processedPerS),
			g.show(func(s record.Summary) *float64 { return s.ThroughputStoredPerS })), g.Runs()}}
}

func processedPerS(s record.Summary) *float64 { return s.ThroughputProcessedPerS }

// deduplicated is what became of the duplicates that were sent.
func (s *set) deduplicated() []answer {
	g := s.find("duplicates").find("history")
	if g == nil {
		return nil
	}
	return []answer{{"**Duplicates** dropped, of those that were sent", droppedOfSent(g), g.Runs()}}
}

func dropped(r repeat) uint64 { return r.Summary.DuplicateEvents }

// droppedOfSent sets the duplicates dropped beside those that the ledger says were sent: a range
// where some requests got no answer, or no promise.
func droppedOfSent(g *group) string {
	low := g.count(func(r repeat) uint64 { return r.Run.Audit.Bounds.DuplicatesMin })
	high := g.count(func(r repeat) uint64 { return r.Run.Audit.Bounds.DuplicatesMax })
	if low == high {
		return exact(g.count(dropped)) + " of " + exact(low)
	}
	return fmt.Sprintf("%s (sent: %s to %s)", exact(g.count(dropped)), exact(low), exact(high))
}

// courseReport is the scenario whose figures stand beside published ones.
const courseReport = "course-report"

// The figures that the course report published for its batch of 1000 events.
const (
	publishedAnswer    = "under 1 s"
	publishedProcessed = "12 to 15 s"
)

func answeredMS(s record.Summary) *float64 { return s.ResponseTimeMS.Max }

func processedMS(s record.Summary) *float64 {
	ms := s.ProcessedS * 1000
	return &ms
}

// Runs links the group's result folders: the first under its own name, further ones by a number;
// more than two that follow each other by the folder they are in.
func (g *group) Runs() string {
	var links []string
	for from := 0; from < len(g.Repeats); {
		first, to := g.Repeats[from], from+1
		for to < len(g.Repeats) && path.Dir(g.Repeats[to].Path) == path.Dir(first.Path) && g.Repeats[to].Run.Scenario.Repeat == g.Repeats[to-1].Run.Scenario.Repeat+1 {
			to++
		}
		if to > from+2 {
			links = append(links, fmt.Sprintf("[%s to %d](%s/)", path.Base(first.Path), g.Repeats[to-1].Run.Scenario.Repeat, path.Dir(first.Path)))
		} else {
			to = from + 1
			name := path.Base(first.Path)
			if from > 0 {
				name = fmt.Sprint(from + 1)
			}
			links = append(links, fmt.Sprintf("[%s](%s/)", name, first.Path))
		}
		from = to
	}
	return strings.Join(links, ", ")
}

// Apart links the runs with profiles that are not in the figures; "" if there are none.
func (g *group) Apart() string { return (&group{Repeats: g.Profiled}).Runs() }

func runsOf(groups []*group) string {
	var links []string
	for _, g := range groups {
		links = append(links, g.Runs())
	}
	return strings.Join(links, ", ")
}

// sentence ends a text with a full stop, unless it has an end.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text[max(0, len(text)-1):], ".?!") {
		return text
	}
	return text + "."
}

// figureOf is chart.Number, for the template.
func figureOf(v any) string {
	switch v := v.(type) {
	case float64:
		return chart.Number(v)
	case int64:
		return chart.Number(float64(v))
	case int:
		return chart.Number(float64(v))
	}
	return fmt.Sprint(v)
}
