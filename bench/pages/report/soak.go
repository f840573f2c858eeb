package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sekali/bench/figures"
	"sekali/bench/internal/chart"
	"sekali/bench/judge"
	"sekali/bench/record"
)

const (
	// soakDir has what `make soak` wrote, under reference.
	soakDir = "soak"
	// soakFile is its figures, in soakDir.
	soakFile = "soak.json"
)

// soak is a soak with its picture.
type soak struct {
	record.SoakSummary
	Picture picture
}

// readSoak returns the soak of the reference, nil if it has none.
func readSoak(reference string) (*soak, error) {
	s, err := record.ReadSoakSummary(filepath.Join(reference, soakDir, soakFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	svg, err := soakPicture(s)
	return &soak{s, picture{Path: path.Join(picturesDir, "soak.svg"), Alt: "Memory, descriptors, goroutines, WAL, backlog and response times over the soak, with its SIGKILLs", svg: svg}}, err
}

// verifySoak holds the figures of the soak to its record, and that to its hash; n is 1 if it has
// one.
func verifySoak(reference string) (n int, differences []error) {
	dir := filepath.Join(reference, soakDir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	committed, err := record.ReadSoakSummary(filepath.Join(dir, soakFile))
	if err != nil {
		return 0, []error{err}
	}
	left, err := record.ReadSoak(filepath.Join(dir, record.SoakFile))
	if err != nil {
		return 0, []error{err}
	}
	recomputed, err := figures.Soak(left)
	if err != nil {
		return 0, []error{fmt.Errorf("%s: %w", dir, err)}
	}
	file, err := record.HashFile(dir, record.SoakFile)
	if err != nil {
		return 0, []error{err}
	}
	recomputed.Files = []record.File{file}
	return 1, compareJSON(filepath.Join(dir, soakFile), committed, recomputed)
}

// soakPicture draws every column over time, those of one unit together, with the kills.
func soakPicture(s record.SoakSummary) ([]byte, error) {
	var seconds []float64
	for _, w := range s.Windows {
		seconds = append(seconds, w.S)
	}
	line := func(column string) chart.Line {
		l := chart.Line{Name: column, X: seconds}
		i := slices.Index(s.Columns, column)
		for _, w := range s.Windows {
			l.Y = append(l.Y, w.Values[i])
		}
		return l
	}
	panel := func(label string, columns ...string) chart.Panel {
		p := chart.Panel{Label: label}
		for _, c := range columns {
			p.Lines = append(p.Lines, line(c))
		}
		return p
	}
	var spans []chart.Span
	for i, at := range s.KillsS {
		spans = append(spans, chart.Span{Name: "red: SIGKILL, until ready again", From: at, To: at + s.RecoveryMS[i]/1000, Fault: true})
	}
	panels := []chart.Panel{
		panel("MB", record.SoakResident, record.SoakHeap, record.SoakWAL, record.SoakBacklog),
		panel("number open", record.SoakDescriptors, record.SoakGoroutines),
		panel("response p50, ms", record.SoakP50),
		panel("response p99, ms", record.SoakP99),
	}
	if slices.Contains(s.Columns, record.SoakSync) {
		panels = append(panels, panel("controls, ms", record.SoakSync, record.SoakWork), panel("read again, pages/s", record.SoakRefaults))
	}
	return chart.Timeline(panels, spans)
}

// Table is one row a column and stretch.
func (s *soak) Table() string {
	var b strings.Builder
	b.WriteString("| what is watched | compared | first | last | at most | verdict |\n|---|---|---:|---:|---:|---|\n")
	for _, d := range judge.Drifts(s.SoakSummary) {
		verdict := "no trend"
		switch {
		case d.Held():
		case d.Control():
			verdict = "the machine was slower"
		default:
			verdict = "**grows**"
		}
		fmt.Fprintf(&b, "| %s | %s | %.4g | %.4g | %.4g | %s |\n", d.Column, d.Stretch, d.First, d.Last, d.Most, verdict)
	}
	return b.String()
}

// answer is the soak in one sentence.
func (s *soak) answer() string {
	grown := len(judge.SoakGrew(s.SoakSummary))
	trend := "nothing grew beyond its bound"
	switch why := judge.SoakInvalid(s.SoakSummary); {
	case why != "":
		trend = "INVALID, since " + why
	case grown > 0:
		trend = fmt.Sprintf("growth in %d of %d comparisons", grown, len(judge.Drifts(s.SoakSummary)))
	}
	also := ""
	if s.Duplicated > 0 {
		also = fmt.Sprintf(", **%s stored twice**", exact(s.Duplicated))
	}
	if len(s.Broken) > 0 {
		also += fmt.Sprintf(", **%d other promises broken**", len(s.Broken))
	}
	return fmt.Sprintf("%s of %s lost%s, in %.0f min at %s events/s with %d SIGKILLs; %s",
		exact(s.Lost), exact(s.Acknowledged), also, s.Seconds/60, exact(uint64(s.RequestsPerS)*uint64(s.EventsPerRequest)), len(s.KillsS), trend)
}

// Invalid says why the soak shows nothing; "" if it does.
func (s *soak) Invalid() string { return judge.SoakInvalid(s.SoakSummary) }

// Controlled reports that the machine was measured beside the aggregator.
func (s *soak) Controlled() bool { return slices.Contains(s.Columns, record.SoakSync) }
