package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sekali/bench/internal/chart"
	"sekali/bench/judge"
	"sekali/bench/record"
)

// tableCase is the case of a scenario that finds duplicates by INSERT OR IGNORE into one table.
const tableCase = "insert-or-ignore"

// shortScenarios are those that REPORT.md itself shows, in this order; the cases that it shows of
// one with many.
var shortScenarios = []struct {
	name  string
	cases []string // nil: all
}{
	{"throughput", nil}, {"burst", nil}, {"duplicates", []string{"history", tableCase}}, {"restart", nil}, {"kill", nil},
}

// shortSection is a scenario as REPORT.md shows it.
type shortSection struct {
	Name, Question, Table string
	Note                  string // beside the question; "": none
	Groups                []*group
	Pictures              []picture
	Others                []*scenario // of the same subject, each with a page of its own
}

// killNote is why the rates of the kills are not to be compared.
const killNote = "Transactions are kept small, so that events wait when the kill comes: these rates are not the best there are."

// shortRows are a scenario's figures in a dozen lines. Medians only: the pages have the spread.
var shortRows = []row{
	{"processed / stored (without duplicates), events/s", func(g *group) string {
		return g.middle(processedPerS) + " / " + g.middle(func(s record.Summary) *float64 { return s.ThroughputStoredPerS })
	}},
	percentilesRow("response time p50 / p90 / p99, ms", func(s record.Summary) record.Percentiles { return s.ResponseTimeMS }),
	percentilesRow("processing latency p50 / p90 / p99, ms", func(s record.Summary) record.Percentiles { return s.ProcessingLatencyMS }),
	{"longest queue, events / time to empty it after the last answer, s", func(g *group) string {
		return g.middle(func(s record.Summary) *float64 { v := float64(s.QueueDepthMax); return &v }) + " / " +
			g.middle(func(s record.Summary) *float64 { return &s.DrainS })
	}},
	{"duplicates dropped, of those sent / share of all events (deduplication rate)", func(g *group) string {
		return droppedOfSent(g) + " / " + g.middle(func(s record.Summary) *float64 { return s.DeduplicationRate })
	}},
	medianRow("from the fault until ready again, s", func(s record.Summary) *float64 { return s.UnavailableS }),
	costRow,
	lostRow,
}

var (
	costRow = row{"per stored event: server CPU, µs / bytes written to disk", func(g *group) string {
		return g.middle(func(s record.Summary) *float64 { return s.ServerCPUUSPerStored }) + " / " +
			g.middle(func(s record.Summary) *float64 { return s.BytesWrittenPerStored })
	}}
	lostRow = row{"events lost, of those acknowledged", func(g *group) string { return exact(lost(g)) + " of " + exact(acknowledged(g)) }}
	// clusterRows are what a publisher of a cluster waits, and what that costs all processes together.
	clusterRows = []row{
		percentilesRow("response time p50 / p90 / p99, ms", func(s record.Summary) record.Percentiles { return s.ResponseTimeMS }),
		{"per stored event: CPU of all nodes and log servers, µs / bytes written to disk", costRow.cell},
		lostRow,
	}
)

// clusterSection is the scenario cluster as REPORT.md shows it; nil: there is none in the set.
func (s *set) clusterSection() *shortSection {
	sc := s.find("cluster")
	if sc == nil {
		return nil
	}
	short := &shortSection{Name: sc.Name, Question: sc.Question, Groups: sc.Cases, Table: table(sc.Cases, clusterRows)}
	for _, other := range s.scenarios {
		if strings.HasPrefix(other.Name, sc.Name+"-") {
			short.Others = append(short.Others, other)
		}
	}
	return short
}

func medianRow(name string, of func(record.Summary) *float64) row {
	return row{name, func(g *group) string { return g.middle(of) }}
}

// percentilesRow is three percentiles in one cell.
func percentilesRow(name string, of func(record.Summary) record.Percentiles) row {
	return row{name, func(g *group) string {
		three := []string{
			g.middle(func(s record.Summary) *float64 { return of(s).P50 }),
			g.middle(func(s record.Summary) *float64 { return of(s).P90 }),
			g.middle(func(s record.Summary) *float64 { return of(s).P99 }),
		}
		if !slices.ContainsFunc(three, func(text string) bool { return text != withheld }) {
			return withheld
		}
		return strings.Join(three, " / ")
	}}
}

// middle is a figure's median without its spread.
func (g *group) middle(of func(record.Summary) *float64) string {
	median, ok := g.median(of)
	if !ok {
		return withheld
	}
	return chart.Number(median)
}

// short are the sections that REPORT.md itself has. The pictures are those of the pages; a kill's
// stands on the first screen.
func (s *set) short(sections []section) []shortSection {
	var all []shortSection
	for _, want := range shortScenarios {
		sc := s.find(want.name)
		if sc == nil {
			continue
		}
		one := shortSection{Name: sc.Name, Question: sc.Question}
		if sc.Name == "kill" {
			one.Note = killNote
		}
		for _, g := range sc.Cases {
			if want.cases == nil || slices.Contains(want.cases, g.Case) {
				one.Groups = append(one.Groups, g)
			}
		}
		one.Table = table(one.Groups, shortRows)
		for _, full := range sections {
			if full.Name != sc.Name {
				continue
			}
			for _, p := range full.Pictures {
				if slices.ContainsFunc(one.Groups, func(g *group) bool { return p.Case == g.Case && sc.Name != "kill" }) {
					one.Pictures = append(one.Pictures, p)
				}
			}
		}
		all = append(all, one)
	}
	return all
}

// Flaws are the cases that are not VALID or broke an expectation, in a sentence each.
func (s shortSection) Flaws() string {
	var texts []string
	for _, g := range s.Groups {
		if text := validity(g); text != "VALID" {
			texts = append(texts, g.Label()+": "+text+".")
		}
		if failed, _ := failedExpectations(g); len(failed) > 0 {
			texts = append(texts, g.Label()+": "+expectations(g)+".")
		}
		if failed, _ := failedChecks(g); len(failed) > 0 {
			texts = append(texts, g.Label()+": "+checks(g)+".")
		}
	}
	return strings.Join(texts, " ")
}

// whyRuns says what the sorted runs change beside the table, "" where the set has not both.
func (s *set) whyRuns() string {
	sc := s.find("throughput")
	plain := sc.find(tableCase)
	if plain == nil || len(sc.Cases) < 2 {
		return ""
	}
	byTable, known := plain.median(processedPerS)
	byRuns, both := sc.Cases[0].median(processedPerS)
	if !known || !both || byTable == 0 {
		return ""
	}
	return fmt.Sprintf("The case `%s` is the simple design, for comparison: a row for each event, and\n"+
		"duplicates found by `INSERT OR IGNORE`. The default keeps keys in sorted files and events in\n"+
		"blocks. In `throughput` the default processes **%.1f ×** as many events/s;\n"+
		"[the size of transactions](docs/design/decisions/10-large-transactions.md) has a part in that. Its cost stays flat as\n"+
		"the store grows ([the decision](docs/design/decisions/06-sorted-runs.md)). The two may be "+
		"sent different numbers of events: the last row of a table has them.\n", tableCase, byRuns/byTable)
}

// levelsTable is one row an ack level: what it promises, how long it takes, and what a SIGKILL
// took.
func (s *set) levelsTable() string {
	levels := s.find("ack-levels")
	if levels == nil {
		return ""
	}
	var text strings.Builder
	text.WriteString("| ack level | promised to survive | load, events/s | p50, ms | p90, ms | p99, ms | lost by SIGKILL, of the acknowledged events |\n|---|---|---:|---:|---:|---:|---:|\n")
	for _, g := range levels.Cases {
		ack, taken := g.first().Run.Aggregator.Ack, withheld
		if k := s.find("kill").find(g.Case); k != nil {
			taken = exact(lost(k)) + " of " + exact(acknowledged(k))
		}
		fmt.Fprintf(&text, "| `%s` | %s | %s | %s | %s | **%s** | %s |\n", ack, promises[ack][1], chart.Number(offered(g)), g.middle(responseP50),
			g.middle(func(s record.Summary) *float64 { return s.ResponseTimeMS.P90 }), g.middle(responseP99), taken)
	}
	return text.String()
}

// every is one row a case of every scenario, with the page that has all of its figures.
// It stands in a page of its own.
func (s *set) every() string {
	var text strings.Builder
	text.WriteString("| scenario/case | verdict | processed, events/s | p50, ms | p99, ms | lost, of the acknowledged events | day, commit |\n|---|---|---:|---:|---:|---:|---|\n")
	for _, g := range s.groups() {
		name := fmt.Sprintf("[%s](results/pages/%s.md)", cell(g.Label()), g.Scenario)
		if g.closed() {
			name += ", closed loop"
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s of %s | %s |\n", name, g.verdict(), g.middle(processedPerS), g.middle(responseP50), g.middle(responseP99),
			exact(lost(g)), exact(acknowledged(g)), cell(g.measured()))
	}
	return text.String()
}

// verdict is the worst of the repeats', each as `bench run` says it.
func (g *group) verdict() string {
	switch {
	case slices.ContainsFunc(g.Repeats, func(r repeat) bool { return len(judge.Broken(r.Run)) > 0 }):
		return "**FAILED**"
	case validity(g) != "VALID":
		return "**INVALID**"
	}
	return "VALID"
}

// measured says on which days, and at which commits, the repeats were run.
func (g *group) measured() string {
	var all []string
	for _, r := range g.Repeats {
		if one := r.Run.StartedAt.UTC().Format(time.DateOnly) + ", " + r.Run.Environment.Commit; !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return strings.Join(all, "; ")
}

// firstPicture is of the kill that loses nothing, or of another run over time; nil if there is
// none.
func firstPicture(pictures []picture) *picture {
	for _, want := range []string{"kill-journal.svg", "burst.svg"} {
		for _, p := range pictures {
			if strings.HasSuffix(p.Path, "/"+want) {
				return &p
			}
		}
	}
	return nil
}
