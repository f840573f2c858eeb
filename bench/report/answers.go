package report

import (
	"fmt"
	"path"
	"strings"

	"sekali/bench/chart"
	"sekali/bench/result"
)

// answers are the report's first lines, and README's headline figures: at most five, each of a scenario that the set
// has, each naming its results.
func (s *set) answers() []string {
	var lines []string
	for _, answer := range []func() string{s.sustained, s.survival, s.latency, s.exactness, s.courseReport} {
		if line := answer(); line != "" {
			lines = append(lines, line)
		}
	}
	if s.faults != nil {
		lines = append(lines, faultAnswer(s.faults))
	}
	if s.soak != nil {
		lines = append(lines, s.soak.answer())
	}
	if s.yardsticks != nil {
		if line := besideAnswer(s.yardsticks); line != "" {
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
		"until the last was committed, %s unique events/s of them stored; %s of %s requests were not acknowledged. Generator and "+
		"aggregator shared %d cores (%s).",
		g.first().Run.Aggregator.Ack, g.first().Run.Load.EventsPerRequest,
		show(func(s result.Summary) float64 { return s.ThroughputAcceptedPerS }),
		show(func(s result.Summary) float64 { return s.ThroughputProcessedPerS }),
		show(func(s result.Summary) float64 { return s.ThroughputStoredPerS }),
		exact(refused), exact(planned), g.first().Run.Environment.Cores, g.Runs())
}

func (s *set) survival() string {
	kill := s.find("kill")
	if kill == nil {
		return ""
	}
	var parts []string
	for _, g := range kill.Cases {
		parts = append(parts, fmt.Sprintf("%s of %s at `%s`", exact(lost(g)), exact(acknowledged(g)), g.first().Run.Aggregator.Ack))
	}
	return fmt.Sprintf("**Survival.** Of the acknowledged events, SIGKILL in mid-run lost %s; `memory` promises nothing (%s).",
		strings.Join(parts, ", "), runsOf(kill.Cases))
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

func (s *set) exactness() string {
	duplicates := s.find("duplicates")
	if duplicates == nil {
		return ""
	}
	var parts []string
	for _, g := range duplicates.Cases {
		parts = append(parts, fmt.Sprintf("%s %s, %s of %s duplicates dropped",
			g.title(), g.show(func(s result.Summary) *float64 { return s.DeduplicationRate }), exact(g.count(dropped)), duplicatesSent(g)))
	}
	return fmt.Sprintf("**Deduplication rate**, exact if as many duplicates were dropped as were sent: %s (%s).", strings.Join(parts, "; "), runsOf(duplicates.Cases))
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

func (s *set) courseReport() string {
	course := s.find(courseReport)
	if course == nil {
		return ""
	}
	var parts []string
	for _, g := range course.Cases {
		parts = append(parts, fmt.Sprintf("answered after %s ms and stored after %s ms (%s)", g.show(answeredMS), g.show(processedMS), g.title()))
	}
	return fmt.Sprintf("**The course report's batch of 1000**, published as answered in %s and stored in %s: %s (%s).",
		publishedAnswer, publishedProcessed, strings.Join(parts, ", "), runsOf(course.Cases))
}

func answeredMS(s result.Summary) *float64 { return s.ResponseTimeMS.Max }

func processedMS(s result.Summary) *float64 {
	ms := s.ProcessedS * 1000
	return &ms
}

// Runs links the group's result folders, under their own names.
func (g *group) Runs() string {
	var links []string
	for _, r := range g.Repeats {
		links = append(links, fmt.Sprintf("[%s](%s/)", path.Base(r.Path), r.Path))
	}
	return strings.Join(links, ", ")
}

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
