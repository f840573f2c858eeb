package result

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/montanaflynn/stats"
)

// What a soak watches, in the order of its columns. How many connections there are is the clients'
// affair: the generator opens as many as requests wait at one time, a hundred more after one kill
// than after another, and keeps them. Each is a descriptor and a goroutine.
const (
	SoakResident    = "resident memory, MB"
	SoakHeap        = "live heap, MB"
	SoakDescriptors = "descriptors beside connections"
	SoakGoroutines  = "goroutines beside connections"
	SoakWAL         = "WAL, MB"
	SoakBacklog     = "waiting in the journal, MB"
	SoakP50         = "response time p50, ms"
	SoakP99         = "response time p99, ms"
)

// SoakColumns are the columns of a soak's windows.
var SoakColumns = []string{SoakResident, SoakHeap, SoakDescriptors, SoakGoroutines, SoakWAL, SoakBacklog, SoakP50, SoakP99}

// Soak is a long run at half of what the aggregator can do: SIGKILL six times in its first half,
// then left alone, with readers and slow clients beside it all the time.
type Soak struct {
	Date    string `json:"date"` // RFC 3339
	Machine string `json:"machine"`
	Commit  string `json:"commit"`

	Seconds          float64   `json:"seconds"` // of the load
	RequestsPerS     float64   `json:"requests_per_s"`
	EventsPerRequest int       `json:"events_per_request"`
	Readers          int       `json:"readers"`
	SlowClients      int       `json:"slow_clients"`
	PagesRead        int       `json:"pages_read"`
	KillsS           []float64 `json:"kills_s"`     // since the load began
	RecoveryMS       []float64 `json:"recovery_ms"` // from the restart to ready

	LagMSP99     float64 `json:"lag_ms_p99"`   // of the generator, from planned to sent
	Unanswered   uint64  `json:"unanswered"`   // requests that no attempt got through
	Acknowledged uint64  `json:"acknowledged"` // events, each counted once, as all below
	Stored       uint64  `json:"stored"`
	Lost         uint64  `json:"lost"`
	Duplicated   uint64  `json:"duplicated"`
	Unexpected   uint64  `json:"unexpected"`

	WindowS float64      `json:"window_s"`
	Windows []SoakWindow `json:"windows"`

	Broken []string `json:"broken,omitempty"` // what else was promised and not kept: counters against the ledger
	Files  []File   `json:"files,omitempty"`  // the record that all of it is computed from
}

// SoakWindow is a stretch of the soak, during all of which one process was up.
type SoakWindow struct {
	S      float64   `json:"s"` // its end, since the load began
	Stored uint64    `json:"stored"`
	Values []float64 `json:"values"` // by SoakColumns: as they were at the end, response times of the requests due in it
}

// ReadSoak reads the file that `make soak` wrote.
func ReadSoak(path string) (s Soak, err error) {
	if err := readJSON(path, &s); err != nil {
		return s, err
	}
	for _, w := range s.Windows {
		if len(w.Values) != len(SoakColumns) {
			return s, fmt.Errorf("soak: %s: a window has %d values, want %d", path, len(w.Values), len(SoakColumns))
		}
	}
	return s, nil
}

// WriteSoak writes what ReadSoak reads.
func WriteSoak(path string, s Soak) error { return writeJSON(path, s) }

// The growth that is no trend. It was chosen, with a look at how far medians of minutes lie apart
// on a machine that others use too; none is derived, but for bytesPerKey and soakWAL.
const (
	soakLevel   = 0.10 // of memory, descriptors and goroutines
	soakLatency = 0.35 // of the median response time of a window's requests, and of its 99th percentile
	soakBacklog = 0.25 // of what waits in the journal, and soakWaits beyond it
	soakWaits   = 1.0  // MB
	// bytesPerKey is what a stored key may take of memory for ever, by design: its bits in a filter
	// and its share of a fence.
	bytesPerKey = 2.0
	// soakFew is a growth in file descriptors or goroutines that is never a trend: each run of keys is
	// a file, and so is each segment of the journal.
	soakFew = 8.0
	// soakWAL is the most that the WAL may ever have, in MB: 256 MB, at which it is copied, and one
	// transaction. Its file keeps the length that it once had.
	soakWAL = 300.0
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

// Drifts looks for trends twice: within the last life of the process, its second quarter against
// its fourth; and across the lives that ended by SIGKILL, the second halves of the first three
// against those of the last three. A stretch without windows gives none.
func (s Soak) Drifts() []Drift {
	var drifts []Drift
	add := func(stretch string, first, last []SoakWindow) {
		if len(first) == 0 || len(last) == 0 {
			return
		}
		for i, column := range SoakColumns {
			drifts = append(drifts, compareStretches(column, stretch, i, first, last))
		}
	}
	lives := s.lives()
	if len(lives) == 0 {
		return nil
	}
	final := lives[len(lives)-1]
	add("within the last life", final[len(final)/4:len(final)/2], final[3*len(final)/4:])
	killed := lives[:len(lives)-1]
	half := len(killed) / 2
	tails := func(lives [][]SoakWindow) (windows []SoakWindow) {
		for _, life := range lives {
			windows = append(windows, life[len(life)/2:]...)
		}
		return windows
	}
	add("across lives", tails(killed[:half]), tails(killed[half:]))
	return drifts
}

// lives are the windows between two kills.
func (s Soak) lives() [][]SoakWindow {
	ends := append(slices.Clone(s.KillsS), math.Inf(1))
	lives := make([][]SoakWindow, len(ends))
	for _, w := range s.Windows {
		at, _ := slices.BinarySearch(ends, w.S)
		lives[at] = append(lives[at], w)
	}
	return lives
}

func compareStretches(column, stretch string, i int, first, last []SoakWindow) Drift {
	values := func(windows []SoakWindow) (v []float64) {
		for _, w := range windows {
			v = append(v, w.Values[i])
		}
		return v
	}
	typical := func(v []float64) float64 { m, _ := stats.Median(v); return m }
	if column == SoakWAL {
		typical = slices.Max[[]float64]
	}
	d := Drift{Column: column, Stretch: stretch, First: typical(values(first)), Last: typical(values(last))}
	switch column {
	case SoakResident, SoakHeap:
		keys := float64(last[len(last)/2].Stored) - float64(first[len(first)/2].Stored)
		d.Most = d.First*(1+soakLevel) + bytesPerKey*keys/1e6
	case SoakDescriptors, SoakGoroutines:
		d.Most = d.First*(1+soakLevel) + soakFew
	case SoakWAL:
		d.Most = soakWAL
	case SoakBacklog:
		d.Most = d.First*(1+soakBacklog) + soakWaits
	default:
		d.Most = d.First * (1 + soakLatency)
	}
	return d
}

// Invalid says why the soak shows nothing: the load was not what it says, or there is too little of
// it; "" if it does.
func (s Soak) Invalid() string {
	switch {
	case s.LagMSP99 > soakLag:
		return fmt.Sprintf("the generator was late: 99th percentile of planned to sent is %.4g ms, the bound is %d ms", s.LagMSP99, int(soakLag))
	case s.Unanswered > 0:
		return fmt.Sprintf("%d requests were never acknowledged", s.Unanswered)
	case len(s.Drifts()) != 2*len(SoakColumns):
		return "there are too few windows to compare"
	}
	return ""
}

// Held reports that the soak is valid, that nothing was lost, nothing stored twice, and that there
// is no trend.
func (s Soak) Held() bool {
	return s.Invalid() == "" && len(s.Broken) == 0 && s.Lost == 0 && s.Duplicated == 0 && s.Unexpected == 0 &&
		!slices.ContainsFunc(s.Drifts(), func(d Drift) bool { return !d.Held() })
}

// WriteTable prints the soak for a terminal.
func (s Soak) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %s\n%.0f s at %.0f requests/s of %d events, %d SIGKILLs: %d events acknowledged, %d lost, %d stored twice, %d unexpected\n\n",
		s.Date, s.Machine, s.Commit, s.Seconds, s.RequestsPerS, s.EventsPerRequest, len(s.KillsS), s.Acknowledged, s.Lost, s.Duplicated, s.Unexpected)
	if why := s.Invalid(); why != "" {
		fmt.Fprintf(&b, "INVALID: %s\n\n", why)
	}
	for _, broken := range s.Broken {
		fmt.Fprintf(&b, "NOT HELD: %s\n\n", broken)
	}
	fmt.Fprintf(&b, "%-22s %-28s %9s %9s %9s\n", "", "", "first", "last", "at most")
	for _, d := range s.Drifts() {
		verdict := ""
		if !d.Held() {
			verdict = "  TREND"
		}
		fmt.Fprintf(&b, "%-22s %-28s %9.4g %9.4g %9.4g%s\n", d.Stretch, d.Column, d.First, d.Last, d.Most, verdict)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
