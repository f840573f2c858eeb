package judge

import (
	"fmt"
	"math"
	"slices"

	"github.com/montanaflynn/stats"

	"sekali/bench/record"
)

// The growth that is no trend. It was chosen, with a look at how far medians of minutes lie apart
// on a machine that others use too; none is derived, but for bytesPerKey and soakWAL.
const (
	soakLevel   = 0.10 // of memory, descriptors and goroutines
	soakLatency = 0.35 // of the median response time of a window's requests, of its 99th percentile, and of a control
	soakBacklog = 0.25 // of what waits in the journal, and soakWaits beyond it
	soakWaits   = 1.0  // MB
	// bytesPerKey is what a stored key may take of memory for ever, by design: its bits in a filter
	// and its share of a fence.
	bytesPerKey = 2.0
	// soakFew is a growth in file descriptors or goroutines that is never a trend: each run of keys
	// is a file, and so is each segment of the journal.
	soakFew = 8.0
	// soakWAL is the most that the WAL may ever have, in MB: 256 MB, at which it is copied, and one
	// transaction. Its file keeps the length that it once had.
	soakWAL = 300.0
	// soakReads pages read again in a second are a few milliseconds of a disk.
	soakReads = 20.0
	// soakLag is how late the generator may send, in ms: beyond it the load was not what the file
	// says.
	soakLag = maxLagMS
)

// Drift compares two stretches of a soak in one column.
type Drift struct {
	Column      string
	Stretch     string // what is compared
	First, Last float64
	Most        float64 // that Last may be
}

// Held reports that there is no trend.
func (d Drift) Held() bool { return d.Last <= d.Most }

// Control reports that the machine was compared, not the aggregator.
func (d Drift) Control() bool { return slices.Contains(record.SoakControls, d.Column) }

// grew are the drifts that did not hold, controls apart.
func grew(drifts []Drift) (columns, controls []Drift) {
	for _, d := range drifts {
		switch {
		case d.Held():
		case d.Control():
			controls = append(controls, d)
		default:
			columns = append(columns, d)
		}
	}
	return columns, controls
}

// SoakGrew are the comparisons in which something of the aggregator grew.
func SoakGrew(s record.SoakSummary) []Drift {
	columns, _ := grew(Drifts(s))
	return columns
}

// slowerMachine says which control grew where response times did; "" if none.
func slowerMachine(drifts []Drift) string {
	columns, controls := grew(drifts)
	for _, d := range columns {
		for _, c := range controls {
			if c.Stretch == d.Stretch && (d.Column == record.SoakP50 || d.Column == record.SoakP99) {
				return fmt.Sprintf("response times grew %s, and so did the machine's own (%s, from %.3g to %.3g): which of them did it is not known",
					d.Stretch, c.Column, c.First, c.Last)
			}
		}
	}
	return ""
}

// Drifts looks for trends twice: within the last life of the process, its second quarter against
// its fourth; and across the lives that ended by SIGKILL, the second halves of the first three
// against those of the last three. A stretch without windows gives none.
func Drifts(s record.SoakSummary) []Drift {
	var drifts []Drift
	add := func(stretch string, first, last []record.WindowSummary) {
		if len(first) == 0 || len(last) == 0 {
			return
		}
		for i, column := range s.Columns {
			drifts = append(drifts, compareStretches(column, stretch, i, first, last))
		}
	}
	lives := livesOf(s)
	if len(lives) == 0 {
		return nil
	}
	final := lives[len(lives)-1]
	add("within the last life", final[len(final)/4:len(final)/2], final[3*len(final)/4:])
	killed := lives[:len(lives)-1]
	half := len(killed) / 2
	tails := func(lives [][]record.WindowSummary) (windows []record.WindowSummary) {
		for _, life := range lives {
			windows = append(windows, life[len(life)/2:]...)
		}
		return windows
	}
	add("across lives", tails(killed[:half]), tails(killed[half:]))
	return drifts
}

// livesOf are the windows between two kills.
func livesOf(s record.SoakSummary) [][]record.WindowSummary {
	ends := append(slices.Clone(s.KillsS), math.Inf(1))
	lives := make([][]record.WindowSummary, len(ends))
	for _, w := range s.Windows {
		at, _ := slices.BinarySearch(ends, w.S)
		lives[at] = append(lives[at], w)
	}
	return lives
}

func compareStretches(column, stretch string, i int, first, last []record.WindowSummary) Drift {
	values := func(windows []record.WindowSummary) (v []float64) {
		for _, w := range windows {
			v = append(v, w.Values[i])
		}
		return v
	}
	typical := func(v []float64) float64 { m, _ := stats.Median(v); return m }
	if column == record.SoakWAL {
		typical = slices.Max[[]float64]
	}
	d := Drift{Column: column, Stretch: stretch, First: typical(values(first)), Last: typical(values(last))}
	switch column {
	case record.SoakResident, record.SoakHeap:
		keys := float64(last[len(last)/2].Stored) - float64(first[len(first)/2].Stored)
		d.Most = d.First*(1+soakLevel) + bytesPerKey*keys/1e6
	case record.SoakDescriptors, record.SoakGoroutines:
		d.Most = d.First*(1+soakLevel) + soakFew
	case record.SoakWAL:
		d.Most = soakWAL
	case record.SoakRefaults:
		d.Most = d.First*(1+soakLatency) + soakReads
	case record.SoakBacklog:
		d.Most = d.First*(1+soakBacklog) + soakWaits
	default:
		d.Most = d.First * (1 + soakLatency)
	}
	return d
}

// SoakInvalid says why the soak shows nothing: the load was not what it says, or there is too
// little of it; "" if it does.
func SoakInvalid(s record.SoakSummary) string {
	switch {
	case s.LagMSP99 > soakLag:
		return fmt.Sprintf("the generator was late: 99th percentile of planned to sent is %.4g ms, the bound is %d ms", s.LagMSP99, int(soakLag))
	case s.Unanswered > 0:
		return fmt.Sprintf("%d requests were never acknowledged", s.Unanswered)
	case len(Drifts(s)) != 2*len(s.Columns):
		return "there are too few windows to compare"
	}
	return slowerMachine(Drifts(s))
}

// SoakHeld reports that the soak is valid, that nothing was lost, nothing stored twice, and that
// there is no trend.
func SoakHeld(s record.SoakSummary) bool {
	return SoakInvalid(s) == "" && len(s.Broken) == 0 && s.Lost == 0 && s.Duplicated == 0 && s.Unexpected == 0 &&
		len(SoakGrew(s)) == 0
}
