package report

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sekali/bench/chart"
	"sekali/bench/figures"
	"sekali/bench/record"
	"sekali/bench/result"
)

const (
	// soakDir has what `make soak` wrote, under reference.
	soakDir = "soak"
	// soakFile is its figures, in soakDir; beside it in reference they are of a soak that left no
	// record.
	soakFile = "soak.json"
)

// soak is a soak with its picture.
type soak struct {
	result.Soak
	Picture picture
}

// readSoak returns the soak of the reference, nil if it has none.
func readSoak(reference string) (*soak, error) {
	s, err := result.ReadSoak(filepath.Join(reference, soakDir, soakFile))
	if errors.Is(err, fs.ErrNotExist) {
		s, err = result.ReadSoak(filepath.Join(reference, soakFile))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	svg, err := soakPicture(s)
	return &soak{s, picture{Path: path.Join(picturesDir, "soak.svg"), Alt: "Memory, descriptors, goroutines, WAL, backlog and response times over the soak", svg: svg}}, err
}

// verifySoak holds the figures of the soak to its record, and that to its hash; n is 1 if it has
// one.
func verifySoak(reference string) (n int, differences []error) {
	dir := filepath.Join(reference, soakDir)
	committed, err := result.ReadSoak(filepath.Join(dir, soakFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
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
	file, err := result.HashFile(dir, record.SoakFile)
	if err != nil {
		return 0, []error{err}
	}
	recomputed.Files = []result.File{file}
	return 1, compareJSON(filepath.Join(dir, soakFile), committed, recomputed)
}

// soakPicture draws every column over time, those of one unit together, with the kills.
func soakPicture(s result.Soak) ([]byte, error) {
	var seconds []float64
	for _, w := range s.Windows {
		seconds = append(seconds, w.S)
	}
	line := func(column string) chart.Line {
		l := chart.Line{Name: column, X: seconds}
		i := slices.Index(result.SoakColumns, column)
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
		spans = append(spans, chart.Span{From: at, To: at + s.RecoveryMS[i]/1000, Fault: true})
	}
	return chart.Timeline([]chart.Panel{
		panel("MB", result.SoakResident, result.SoakHeap, result.SoakWAL, result.SoakBacklog),
		panel("open", result.SoakDescriptors, result.SoakGoroutines),
		panel("p50, ms", result.SoakP50),
		panel("p99, ms", result.SoakP99),
	}, spans)
}

// Table is one row a column and stretch.
func (s *soak) Table() string {
	var b strings.Builder
	b.WriteString("| | | first | last | at most | |\n|---|---|---:|---:|---:|---|\n")
	for _, d := range s.Drifts() {
		verdict := "no trend"
		if !d.Held() {
			verdict = "**grows**"
		}
		fmt.Fprintf(&b, "| %s | %s | %.4g | %.4g | %.4g | %s |\n", d.Column, d.Stretch, d.First, d.Last, d.Most, verdict)
	}
	return b.String()
}

// answer is the soak in one sentence.
func (s *soak) answer() string {
	grown := 0
	for _, d := range s.Drifts() {
		if !d.Held() {
			grown++
		}
	}
	trend := "nothing that was watched grew beyond its bound"
	switch why := s.Invalid(); {
	case why != "":
		trend = "INVALID, since " + why
	case grown > 0:
		trend = fmt.Sprintf("%d of %d comparisons show growth", grown, len(s.Drifts()))
	}
	return fmt.Sprintf("%.0f min at %s events/s with %d SIGKILLs: lost %s of %s; %s",
		s.Seconds/60, exact(uint64(s.RequestsPerS)*uint64(s.EventsPerRequest)), len(s.KillsS), exact(s.Lost), exact(s.Acknowledged), trend)
}
