package judge

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sekali/bench/record"
)

// soak makes half an hour of windows in which each column has a level, a growth a second and noise.
func soak(grows string, perSecond float64) record.SoakSummary {
	noise := rand.New(rand.NewPCG(1, 2))
	s := record.SoakSummary{Seconds: 1800, KillsS: []float64{150, 300, 450, 600, 750, 900}, WindowS: 2, Columns: record.SoakColumns}
	levels := []float64{200, 90, 30, 60, 200, 5, 2, 20, 0.8, 0.3, 5}
	born := 0.0
	for at := 2.0; at <= 1800; at += 2 {
		for _, kill := range s.KillsS {
			if kill < at {
				born = kill
			}
		}
		w := record.WindowSummary{S: at, Stored: uint64(at * 16_000)}
		for i, column := range record.SoakColumns {
			v := levels[i] * (1 + 0.05*noise.NormFloat64())
			if column == grows {
				v += perSecond * (at - born) // a restart takes it back
			}
			w.Values = append(w.Values, v)
		}
		s.Windows = append(s.Windows, w)
	}
	return s
}

func TestSoakWithoutTrendHolds(t *testing.T) {
	s := soak("", 0)
	if len(Drifts(s)) != 2*len(record.SoakColumns) {
		t.Fatalf("%d drifts", len(Drifts(s)))
	}
	for _, d := range Drifts(s) {
		if !d.Held() {
			t.Errorf("%+v", d)
		}
	}
	if !SoakHeld(s) {
		t.Error(SoakInvalid(s))
	}
	for name, spoil := range map[string]func(*record.SoakSummary){
		"a loss":                 func(s *record.SoakSummary) { s.Lost = 1 },
		"a late generator":       func(s *record.SoakSummary) { s.LagMSP99 = soakLag + 1 },
		"an unanswered request":  func(s *record.SoakSummary) { s.Unanswered = 1 },
		"no windows":             func(s *record.SoakSummary) { s.Windows = nil },
		"no windows in the end":  func(s *record.SoakSummary) { s.Windows = s.Windows[:400] },
		"no windows in any life": func(s *record.SoakSummary) { s.Windows = s.Windows[450:] },
	} {
		spoilt := s
		if spoil(&spoilt); SoakHeld(spoilt) {
			t.Errorf("%s: it holds", name)
		}
	}
}

// A leak shows in the last life, though each restart takes it back.
func TestSoakSeesALeak(t *testing.T) {
	for column, perSecond := range map[string]float64{record.SoakResident: 0.3, record.SoakHeap: 0.3, record.SoakDescriptors: 0.05, record.SoakGoroutines: 0.1, record.SoakWAL: 0.5,
		record.SoakBacklog: 0.02, record.SoakP50: 0.01, record.SoakP99: 0.1} {
		leaks := 0
		for _, d := range Drifts(soak(column, perSecond)) {
			if !d.Held() {
				leaks++
				if d.Column != column {
					t.Errorf("%s grows, %+v", column, d)
				}
			}
		}
		if leaks == 0 {
			t.Errorf("%s grows by %v a second, and nothing is seen", column, perSecond)
		}
	}
}

// Where the machine's own sync or work slows down with the response times, nothing is said of the
// aggregator; where it slows down alone, nothing is to be explained.
func TestSoakOnAMachineThatSlowsDown(t *testing.T) {
	for _, control := range record.SoakControls {
		perSecond := 0.001
		if control == record.SoakRefaults {
			perSecond = 0.1
		}
		s := soak(control, perSecond)
		if !SoakHeld(s) || len(SoakGrew(s)) != 0 {
			t.Errorf("%s alone: %q, %+v", control, SoakInvalid(s), SoakGrew(s))
		}
		at := slices.Index(record.SoakColumns, record.SoakP50)
		for i := range s.Windows {
			s.Windows[i].Values[at] += max(0, s.Windows[i].S-900) * 0.01
		}
		if why := SoakInvalid(s); !strings.Contains(why, control) || !strings.Contains(why, "within the last life") || SoakHeld(s) {
			t.Errorf("%s with the response times: %q", control, why)
		}
		if len(SoakGrew(s)) != 1 {
			t.Errorf("%+v", SoakGrew(s))
		}
	}
}

// What grows from one life to the next shows across them.
func TestSoakSeesGrowthAcrossLives(t *testing.T) {
	s := soak("", 0)
	for i := range s.Windows {
		s.Windows[i].Values[2] += s.Windows[i].S * 0.04
	}
	seen := false
	for _, d := range Drifts(s) {
		seen = seen || d.Column == record.SoakDescriptors && d.Stretch == "across lives" && !d.Held()
	}
	if !seen {
		t.Errorf("%+v", Drifts(s))
	}
}
