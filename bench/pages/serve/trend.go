package serve

import (
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sekali/bench/internal/chart"
	"sekali/bench/record"
)

// mostTrend bounds the runs of a trend, the newest of them: more do not fit into a picture.
const mostTrend = 60

// trendURL is the page of a scenario and case.
func trendURL(label string) string { return "/trend?of=" + url.QueryEscape(label) }

// trend shows a scenario's figures by commit.
func (h *Handler) trend(w http.ResponseWriter, r *http.Request) {
	label := r.FormValue("of")
	all, err := h.find()
	if err != nil {
		fail(w, err)
		return
	}
	var rows []row
	for _, one := range all.runs() {
		for _, r := range one.Rows {
			if r.Label == label && r.Read {
				rows = append(rows, r)
			}
		}
	}
	if len(rows) == 0 {
		http.Error(w, fmt.Sprintf("no result of the list is of %q", label), http.StatusNotFound)
		return
	}
	slices.SortStableFunc(rows, func(a, b row) int { return a.Started.Compare(b.Started) })
	rows = rows[max(0, len(rows)-mostTrend):]
	svg, err := drawTrend(rows)
	if err != nil {
		fail(w, err)
		return
	}
	show(w, "trend.html.tmpl", struct {
		Label   string
		Rows    []row
		Picture template.URL // data:image/svg+xml
	}{label, rows, dataURL(svg)})
}

// drawTrend leaves out what no row has; nil: that is all.
func drawTrend(rows []row) ([]byte, error) {
	var names []string
	var hollow []float64
	for i, r := range rows {
		names = append(names, r.Commit)
		if r.Verdict != "VALID" {
			hollow = append(hollow, float64(i+1))
		}
	}
	var panels []chart.Panel
	add := func(label string, figure func(row) *float64) {
		known := false
		line := chart.Line{}
		for i, r := range rows {
			y := math.NaN()
			if v := figure(r); v != nil {
				y, known = *v, true
			}
			line.X, line.Y = append(line.X, float64(i+1)), append(line.Y, y)
		}
		if known {
			panels = append(panels, chart.Panel{Label: label, Lines: []chart.Line{line}, Hollow: hollow})
		}
	}
	add("processed events/s", func(r row) *float64 { return r.Rate })
	add("p50, ms", func(r row) *float64 { return r.P50 })
	add("p99, ms", func(r row) *float64 { return r.P99 })
	if len(panels) == 0 {
		return nil, nil
	}
	return chart.Trend("commit", names, panels)
}

func dataURL(svg []byte) template.URL {
	if svg == nil {
		return ""
	}
	return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(svg))
}

// Machine is where the row was measured.
func (r row) Machine() string { return r.environmentOfRun }

// spark draws a result's queue depth over time, small.
func (h *Handler) spark(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("path")
	if !filepath.IsLocal(filepath.FromSlash(name)) || hidden(name) || strings.HasSuffix(name, "/") {
		http.NotFound(w, r)
		return
	}
	file, err := h.root.Open(path.Join(name, record.TraceFile))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer file.Close()
	depths, err := readDepths(file)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Write(chart.Spark(depths))
}

// readDepths reads the queue depth of each sample; NaN where the aggregator did not answer.
func readDepths(file *os.File) ([]float64, error) {
	var depths []float64
	for sample, err := range record.ReadTrace(file) {
		if err != nil {
			return nil, err
		}
		depth := math.NaN()
		if sample.Answered() {
			depth = float64(sample.QueueDepth)
		}
		depths = append(depths, depth)
	}
	return depths, nil
}
