package report

import (
	"fmt"
	"path"
	"strings"

	"sekali/bench/chart"
	"sekali/bench/result"
)

// answers are the report's first lines, and README's headline figures: at most five, each of what the set has, each
// figure naming its results.
func (s *set) answers() []string {
	var lines []string
	for _, answer := range []func() string{s.survival, s.latency, s.sustained, s.exactness, s.beside} {
		if line := answer(); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// sustained is what the aggregator commits while more arrives than it can commit at once: as fast as it is taken, or
// else in a burst.
func (s *set) sustained() string {
	saturated := s.find("throughput")
	if saturated == nil {
		saturated = s.find("burst")
	}
	if saturated == nil {
		return ""
	}
	g := saturated.Cases[0]
	show := func(of func(result.Summary) float64) string {
		return g.show(func(s result.Summary) *float64 { v := of(s); return &v })
	}
	refused := g.count(func(r repeat) uint64 { return r.Summary.RequestsRefused + r.Summary.RequestsUnknown })
	planned := g.count(func(r repeat) uint64 { return r.Summary.RequestsPlanned })
	return fmt.Sprintf("**Throughput.** At `ack=%s`, %d events a request, it accepted %s events/s and processed %s events/s "+
		"until the last was committed, %s unique events/s of them stored, with at most %s MB resident; %s of %s requests were not "+
		"acknowledged. Generator and aggregator shared %d cores (%s).",
		g.first().Run.Aggregator.Ack, g.first().Run.Load.EventsPerRequest,
		show(func(s result.Summary) float64 { return s.ThroughputAcceptedPerS }),
		show(func(s result.Summary) float64 { return s.ThroughputProcessedPerS }),
		show(func(s result.Summary) float64 { return s.ThroughputStoredPerS }),
		show(func(s result.Summary) float64 { return float64(s.ServerRSSBytesMax) / 1e6 }),
		exact(refused), exact(planned), g.first().Run.Environment.Cores, g.Runs())
}

// survival is what was lost: to a kill at each ack level, to every other fault, and in a soak.
func (s *set) survival() string {
	var sentences []string
	if kill := s.find("kill"); kill != nil {
		var parts []string
		for _, g := range kill.Cases {
			parts = append(parts, fmt.Sprintf("%s of %s at `%s`", exact(lost(g)), exact(acknowledged(g)), g.first().Run.Aggregator.Ack))
		}
		sentences = append(sentences, fmt.Sprintf("Of the acknowledged events, SIGKILL in mid-run lost %s; `memory` promises nothing (%s).",
			strings.Join(parts, ", "), runsOf(kill.Cases)))
	}
	if s.faults != nil {
		sentences = append(sentences, faultAnswer(s.faults))
	}
	if s.soak != nil {
		sentences = append(sentences, s.soak.answer())
	}
	if sentences == nil {
		return ""
	}
	return "**Survival.** " + strings.Join(sentences, " ")
}

func lost(g *group) uint64 { return g.count(func(r repeat) uint64 { return r.Run.Audit.Lost }) }
func acknowledged(g *group) uint64 {
	return g.count(func(r repeat) uint64 { return r.Run.Audit.Acknowledged })
}

func (s *set) latency() string {
	levels := s.find("ack-levels")
	if levels == nil {
		return ""
	}
	var parts []string
	for _, g := range levels.Cases {
		parts = append(parts, fmt.Sprintf("%s and %s ms at `%s`",
			g.show(func(s result.Summary) *float64 { return s.ResponseTimeMS.P50 }),
			g.show(func(s result.Summary) *float64 { return s.ResponseTimeMS.P90 }), g.first().Run.Aggregator.Ack))
	}
	return fmt.Sprintf("**Latency.** From the moment a request of %d events was due to its acknowledgement, median and 90th percentile: %s (%s).",
		levels.Cases[0].first().Run.Load.EventsPerRequest, strings.Join(parts, ", "), runsOf(levels.Cases))
}

// exactness is what became of duplicates, and of the batch for which the course report published figures.
func (s *set) exactness() string {
	var sentences []string
	if duplicates := s.find("duplicates"); duplicates != nil {
		var parts []string
		for _, g := range duplicates.Cases {
			parts = append(parts, fmt.Sprintf("%s %s of %s (%s)",
				g.title(), exact(g.count(dropped)), duplicatesSent(g), g.show(func(s result.Summary) *float64 { return s.DeduplicationRate })))
		}
		sentences = append(sentences, fmt.Sprintf("Duplicates dropped, of those sent, and the deduplication rate: %s (%s).", strings.Join(parts, ", "), runsOf(duplicates.Cases)))
	}
	if course := s.find(courseReport); course != nil {
		var parts []string
		for _, g := range course.Cases {
			parts = append(parts, fmt.Sprintf("answered after %s ms and stored after %s ms (%s)", g.show(answeredMS), g.show(processedMS), g.title()))
		}
		sentences = append(sentences, fmt.Sprintf("The course report's batch of 1000, published as answered in %s and stored in %s: %s (%s).",
			publishedAnswer, publishedProcessed, strings.Join(parts, ", "), runsOf(course.Cases)))
	}
	if sentences == nil {
		return ""
	}
	return "**Deduplication.** " + strings.Join(sentences, " ")
}

func dropped(r repeat) uint64 { return r.Summary.DuplicateEvents }

// duplicatesSent is what the ledger says: a range where some requests got no answer, or no promise.
func duplicatesSent(g *group) string {
	low := g.count(func(r repeat) uint64 { return r.Run.Audit.Bounds.DuplicatesMin })
	high := g.count(func(r repeat) uint64 { return r.Run.Audit.Bounds.DuplicatesMax })
	if low == high {
		return exact(low)
	}
	return exact(low) + " to " + exact(high)
}

// courseReport is the scenario whose figures stand beside published ones.
const courseReport = "course-report"

// The figures that the course report published for its batch of 1000 events.
const (
	publishedAnswer    = "under 1 s"
	publishedProcessed = "12 to 15 s"
)

func answeredMS(s result.Summary) *float64 { return s.ResponseTimeMS.Max }

func processedMS(s result.Summary) *float64 {
	ms := s.ProcessedS * 1000
	return &ms
}

// Runs links the group's result folders, under their own names; more than two that follow each other by the folder they are in.
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
			links = append(links, fmt.Sprintf("[%s](%s/)", path.Base(first.Path), first.Path))
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
