package report

import (
	"fmt"
	"math"
	"path"
	"strings"

	"sekali/bench/figures"
	"sekali/bench/internal/chart"
)

// growthScenario is the one that asks what an event costs when many are stored: it is shown over
// what is stored, too.
const growthScenario = "growth"

// growthRows is about how many rows its table has; its picture has twice as many points.
const growthRows = 10

// roundStep is the largest of 1, 2, 5, 10, … of which the total has growthRows.
func roundStep(total uint64) uint64 {
	most := float64(max(growthRows, total)) / growthRows
	power := math.Pow(10, math.Floor(math.Log10(most)))
	for _, factor := range []float64{5, 2} {
		if factor*power <= most {
			return uint64(factor * power)
		}
	}
	return uint64(power)
}

// growthPicture draws what storing an event took, over the events stored before it.
func growthPicture(g *group) (picture, error) {
	r := g.first()
	steps := figures.Growth(r.Trace, max(1, roundStep(r.Summary.StoredEvents)/2))
	line := func(name string, of func(figures.GrowthStep) float64) chart.Line {
		l := chart.Line{Name: name}
		for _, s := range steps {
			l.X, l.Y = append(l.X, float64(s.From+s.To)/2e6), append(l.Y, of(s))
		}
		return l
	}
	panels := []chart.Panel{
		{Label: "stored events/s", Lines: []chart.Line{line("", func(s figures.GrowthStep) float64 { return s.StoredPerS })}},
		{Label: "bytes written/event", Lines: []chart.Line{line("store, by event stored", func(s figures.GrowthStep) float64 { return s.StoreBytesPerStored }),
			line("journal, by event accepted", func(s figures.GrowthStep) float64 { return s.JournalBytesPerAccepted })}},
		{Label: "resident, MB", Lines: []chart.Line{line("", func(s figures.GrowthStep) float64 { return float64(s.ResidentBytesMax) / 1e6 })}},
	}
	var arriving []chart.Span
	if at := arrived(r, steps); at > 0 {
		arriving = []chart.Span{{Name: "events arrive", To: at, Measured: true}, {Name: "what waits is stored", From: at, To: float64(r.Summary.StoredEvents) / 1e6}}
	}
	svg, err := chart.Lines("million unique events stored", panels, arriving)
	return picture{Path: path.Join(picturesDir, g.Scenario+"-stored.svg"), Alt: "Stored events per second, bytes written per event and memory over the events stored, " + g.Label(),
		Caption: "What storing an event takes, over the unique events that are stored already, " + (&group{Repeats: g.Repeats[:1]}).Runs() +
			". On the tint publishers send, and share the cores and the disk; beyond it what waits in the journal is stored.", svg: svg}, err
}

// arrived is how many million unique events were stored when the last answer was given; 0 if that
// is not known.
func arrived(r repeat, steps []figures.GrowthStep) float64 {
	var last int64
	for _, p := range r.Run.Phases {
		last = max(last, p.EndNS)
	}
	for _, s := range r.Trace {
		if s.Answered() && s.TNS >= last && len(steps) > 0 {
			return float64(s.UniqueProcessed-r.Trace[0].UniqueProcessed) / 1e6
		}
	}
	return 0
}

// growthTable is one row a step.
func growthTable(g *group) string {
	r := g.first()
	var b strings.Builder
	b.WriteString("| unique events stored | stored events/s | accepted meanwhile, events/s | bytes written, without the journal, per stored event | bytes to the journal per accepted event | resident max, MB |\n|---:|---:|---:|---:|---:|---:|\n")
	for _, s := range figures.Growth(r.Trace, roundStep(r.Summary.StoredEvents)) {
		fmt.Fprintf(&b, "| %s to %s | %s | %s | %s | %s | %s |\n", exact(s.From), exact(s.To), chart.Number(s.StoredPerS), chart.Number(s.AcceptedPerS),
			chart.Number(s.StoreBytesPerStored), strings.Replace(chart.Number(s.JournalBytesPerAccepted), "NaN", withheld, 1), chart.Number(float64(s.ResidentBytesMax)/1e6))
	}
	return b.String()
}
