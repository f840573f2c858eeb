package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/montanaflynn/stats"
	"github.com/tsenart/vegeta/v12/lib/plot"

	"sekali/bench/figures"
	"sekali/bench/internal/chart"
	"sekali/bench/judge"
	"sekali/bench/pages/profile"
	"sekali/bench/record"
)

//go:embed page.html.tmpl page.css page.js
var pageFiles embed.FS

var pageTemplate = template.Must(template.New("page.html.tmpl").Funcs(template.FuncMap{
	"number": func(v any) string { return whole(figureOf(v)) }, "exact": func(n uint64) string { return whole(exact(n)) }, "sentence": sentence,
	"megabytes": func(bytes int64) float64 { return float64(bytes) / 1e6 }, "percent": percent,
}).ParseFS(pageFiles, "page.html.tmpl"))

// WritePage writes a result folder's report.html: one file that needs nothing else, and asks for
// nothing else.
func WritePage(dir string) error {
	text, err := Page(dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, record.PageFile), text, 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// pageView is what the page's template sees.
type pageView struct {
	Run       record.Run
	Clean     bool
	Figures   []figure // the first ones a reader looks for
	Tables    []pageTable
	Charts    pageCharts
	Stages    [][5]string    // nil: no CPU profile
	Generator *profile.Table // its CPU; nil: no profile
	Allocated string         // by the generator, bytes per stored event
	Flame     template.HTML  // an SVG
	UPlot     template.JS
	Script    template.JS
	Style     template.CSS
}

type figure struct{ Name, Value, Unit string }

type pageTable struct {
	Name string
	Rows [][2]string
}

// pageCharts is the data that the script draws; times are in seconds, null is a gap.
type pageCharts struct {
	Spans  []chart.Span `json:"spans"`
	Charts []pageChart  `json:"charts"`
}

type pageChart struct {
	Title  string       `json:"title"`
	Unit   string       `json:"unit"`
	Names  []string     `json:"names"`
	Points [][]*float64 `json:"points"` // the times, then each series
}

// Page makes the text of a result folder's report.html.
func Page(dir string) ([]byte, error) {
	raw, err := record.ReadRaw(dir)
	if err != nil {
		return nil, err
	}
	v := pageView{Run: raw.Run, Clean: judge.Clean(raw.Run.Audit), Charts: charts(raw)}
	g := &group{Scenario: raw.Run.Scenario.Name, Case: raw.Run.Scenario.Case,
		Repeats: []repeat{{Run: raw.Run, Summary: raw.Run.Summary, Trace: raw.Trace}}}
	v.Figures, v.Tables = headFigures(g), pageTables(g)
	tables, err := profile.Read(filepath.Join(dir, record.ProfilesDir), topFunctions)
	if err != nil {
		return nil, err
	}
	flame, err := profile.Flame(filepath.Join(dir, record.ProfilesDir))
	if err != nil {
		return nil, err
	}
	v.Flame = template.HTML(flame) // made by us, its names escaped
	v.Stages, v.Generator = stageRows(tables, raw.Run.Summary), tableOf(tables, "generator-cpu")
	v.Allocated = generatorAllocated(tables, raw.Run.Summary)
	if v.UPlot, v.Style, err = uPlot(); err != nil {
		return nil, err
	}
	script, err := pageFiles.ReadFile("page.js")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	style, err := pageFiles.ReadFile("page.css")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	v.Script, v.Style = template.JS(script), v.Style+template.CSS(style)
	var text bytes.Buffer
	if err := pageTemplate.Execute(&text, v); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return text.Bytes(), nil
}

// uPlot is the chart library that vegeta embeds for its own plots.
func uPlot() (template.JS, template.CSS, error) {
	script, err := asset("uPlot.min.js")
	if err != nil {
		return "", "", err
	}
	style, err := asset("uPlot.min.css")
	return template.JS(script), template.CSS(style), err
}

func asset(name string) (string, error) {
	file, err := plot.Assets.Open(name)
	if err != nil {
		return "", fmt.Errorf("report: vegeta's plot assets: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return "", fmt.Errorf("report: vegeta's plot assets: %w", err)
	}
	return string(text), nil
}

func headFigures(g *group) []figure {
	show := func(name, unit string, of func(record.Summary) *float64) figure {
		return figure{name, g.show(of), unit}
	}
	return []figure{
		show("throughput, accepted", "events/s", func(s record.Summary) *float64 { return s.ThroughputAcceptedPerS }),
		show("throughput, stored", "events/s", func(s record.Summary) *float64 { return s.ThroughputStoredPerS }),
		show("processing latency, median", "ms", func(s record.Summary) *float64 { return s.ProcessingLatencyMS.P50 }),
		show(named(responseTime, g)+", median", "ms", func(s record.Summary) *float64 { return s.ResponseTimeMS.P50 }),
		show("deduplication rate", "", func(s record.Summary) *float64 { return s.DeduplicationRate }),
		show("queue depth, max", "events", func(s record.Summary) *float64 { v := float64(s.QueueDepthMax); return &v }),
	}
}

func pageTables(g *group) []pageTable {
	var tables []pageTable
	for _, part := range []struct {
		name string
		rows []row
	}{
		{"Throughput and queue", slices.Concat(throughputRows, queueRows, deduplicationRows, faultRows)},
		{"Latency", slices.Concat(processingRows, heldRows, serviceRows, responseRows)},
		{"Requests", requestRows},
		{"Beside a bare server", bareRows},
		{"Readers beside the load", readerRows()},
		{"Cost", slices.Concat(costRows, ofClusterRows, generatorRows)},
	} {
		if rows := filled(g, part.rows); len(rows) > 0 {
			tables = append(tables, pageTable{part.name, rows})
		}
	}
	if g.first().Run.Audit != nil {
		tables = append(tables, pageTable{"Audit", filled(g, auditCounts)})
	}
	return tables
}

// whole keeps a line from ending within a number: the spaces between its digits do not break.
func whole(text string) string {
	return groupedDigits.ReplaceAllStringFunc(text, func(number string) string { return strings.ReplaceAll(number, " ", "\u00a0") })
}

var groupedDigits = regexp.MustCompile(`\b\d{1,3}(?: \d{3})+\b`)

func filled(g *group, rows []row) [][2]string {
	var cells [][2]string
	for _, r := range rows {
		if text := r.cell(g); text != withheld && text != "" {
			cells = append(cells, [2]string{named(r.name, g), whole(text)})
		}
	}
	return cells
}

func charts(raw *record.Raw) pageCharts {
	t := chart.NewTrace(raw.Run, raw.Trace)
	times := points(t.Seconds)
	at, median, longest := responses(raw)
	waits := "Response time, by the moment at which the request was due"
	if raw.Run.ClosedLoop() {
		waits = "Service time with retries (closed loop), by the moment at which the client was free"
	}
	return pageCharts{Spans: chart.Spans(raw.Run), Charts: []pageChart{
		{"Throughput", t.RateLabel(), []string{"accepted", "committed"}, [][]*float64{times, points(t.Accepted), points(t.Committed)}},
		{"Queue depth", "events", []string{"queue depth"}, [][]*float64{times, points(t.Depth)}},
		{waits, "ms", []string{"median", "longest"}, [][]*float64{at, median, longest}},
	}}
}

// points rounds to what a screen can show, and makes NaN null.
func points(values []float64) []*float64 {
	all := make([]*float64, len(values))
	for i, v := range values {
		if !math.IsNaN(v) {
			rounded := math.Round(v*1000) / 1000
			all[i] = &rounded
		}
	}
	return all
}

// responseBuckets is into how many stretches of time the responses are put, at most; none is
// shorter than 100 ms.
const responseBuckets = 600

// responses are the median and the longest response time of each stretch that has any.
func responses(raw *record.Raw) (at, median, longest []*float64) {
	all := figures.Responses(raw)
	if len(all) == 0 {
		return []*float64{}, []*float64{}, []*float64{}
	}
	width := max(1e8, (all[len(all)-1].PlannedNS-all[0].PlannedNS)/responseBuckets+1)
	var times, medians, maxima []float64
	for len(all) > 0 {
		bucket := all[0].PlannedNS / width
		var ms []float64
		for len(all) > 0 && all[0].PlannedNS/width == bucket {
			ms = append(ms, all[0].MS)
			all = all[1:]
		}
		middle, err := stats.Median(ms)
		if err != nil {
			middle = math.NaN() // not reached: a bucket has at least one response
		}
		times = append(times, float64(bucket*width+width/2)/1e9)
		medians, maxima = append(medians, middle), append(maxima, slices.Max(ms))
	}
	return points(times), points(medians), points(maxima)
}

// Title names the run in the browser's tab.
func (v pageView) Title() string { return "Sekali: " + v.Run.Scenario.Label() }

// Flags are the aggregator's, as one line.
func (v pageView) Flags() string { return strings.Join(v.Run.Aggregator.Flags, " ") }
