package saturation

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sekali/bench/result"
)

// TestSearchFindsAStep: whatever the capacity and the first rate, the answer is within the resolution below it, in a bounded number of
// probes.
func TestSearchFindsAStep(t *testing.T) {
	for _, start := range []float64{1, 50, 4000} {
		for _, capacity := range []float64{3, 49, 51, 777, 3999} {
			asked := 0
			rate, err := Search(start, func(_ Kind, rate float64) (Outcome, error) {
				asked++
				if rate > capacity {
					return Missed, nil
				}
				return Met, nil
			})
			if start/capacity > 1<<maxGrowth || capacity/start > 1<<maxGrowth {
				if err == nil {
					t.Errorf("from %v to %v: no end", start, capacity)
				}
				continue
			}
			if err != nil || rate > capacity || rate < capacity/(1+Resolution)-1e-9 {
				t.Errorf("from %v: %v, %v, want %v", start, rate, err, capacity)
			}
			if asked > 2*(maxGrowth+10+maxConfirmations) {
				t.Errorf("from %v to %v: %d probes", start, capacity, asked)
			}
		}
	}
}

// TestSearchesAgreeUnderNoise: a capacity that varies by 4 % from probe to probe is found three times within a tenth.
func TestSearchesAgreeUnderNoise(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		var rates []float64
		for range 3 {
			rate, err := Search(100, func(_ Kind, rate float64) (Outcome, error) {
				if rate > 480*(1+0.04*random.NormFloat64()) {
					return Missed, nil
				}
				return Met, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			rates = append(rates, rate)
		}
		if !Agree(rates) && slices.Max(rates)/slices.Min(rates) < 1+Agreement {
			t.Errorf("seed %d: %v do not agree", seed, rates)
		}
		if slices.Min(rates) < 480*0.85 || slices.Max(rates) > 480*1.1 {
			t.Errorf("seed %d: %v, want about 480", seed, rates)
		}
	}
}

func TestSearchEnds(t *testing.T) {
	failure := errors.New("broken")
	for name, test := range map[string]struct {
		ask  func(kind Kind, rate float64) (Outcome, error)
		want error
	}{
		"always met":        {func(Kind, float64) (Outcome, error) { return Met, nil }, ErrUnbounded},
		"never met":         {func(Kind, float64) (Outcome, error) { return Missed, nil }, ErrNone},
		"invalid":           {func(Kind, float64) (Outcome, error) { return Invalid, nil }, ErrInvalid},
		"invalid when fast": {func(_ Kind, r float64) (Outcome, error) { return map[bool]Outcome{true: Invalid}[r > 300], nil }, ErrInvalid},
		"never for long": {func(k Kind, r float64) (Outcome, error) {
			return map[bool]Outcome{true: Missed}[k == Confirming || r > 300], nil
		}, ErrNotConfirmed},
		"a probe that breaks": {func(_ Kind, r float64) (Outcome, error) { return Met, map[bool]error{true: failure}[r > 300] }, failure},
	} {
		if _, err := Search(100, test.ask); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	// One hiccup is not believed.
	asked := map[float64]int{}
	rate, err := Search(100, func(_ Kind, rate float64) (Outcome, error) {
		asked[rate]++
		if rate > 300 {
			return Missed, nil
		}
		return []Outcome{Invalid, Met, Met, Met}[min(asked[rate], 3)-1], nil
	})
	if err != nil || rate > 300 || rate < 300/(1+Resolution) {
		t.Errorf("with a hiccup at every rate: %v, %v", rate, err)
	}
}

func TestObjective(t *testing.T) {
	ms := func(v float64) *float64 { return &v }
	s := result.Summary{MeasuredS: 10, DrainS: 1.5, RequestsRefused: 0, ResponseTimeMS: result.Percentiles{P50: ms(4), P90: ms(20), Max: ms(60)}}
	for text, failed := range map[string]string{
		"p50<5ms":                   "",
		"p50<4ms":                   "p50 is 4 ms, not p50<4ms",
		"p50<=4ms":                  "",
		"p90<0.021s,refused=0":      "",
		"p90<19000us":               "p90 is 20 ms",
		"p99<50ms":                  "p99 is 60 ms", // withheld: the longest
		"p99<61ms":                  "",
		"backlog<2s,leftover<10%":   "leftover is 15 %",
		"backlog < 1s":              "?",
		"refused=1":                 "refused is 0 , not refused=1",
		"":                          "?",
		"p99":                       "?",
		"p99<":                      "?",
		"p99<50":                    "?",
		"p99<50ms,":                 "?",
		"p99<-1ms":                  "?",
		"p98<50ms":                  "?",
		"refused=0ms":               "?",
		"p99>50ms":                  "?",
		"p99<50msms":                "?",
		"p99<NaNms":                 "?",
		"leftover<10%,backlog<100h": "?",
	} {
		o, err := Parse(text)
		if (err != nil) != (failed == "?") {
			t.Errorf("%q: %v, %v", text, o, err)
			continue
		}
		if err != nil {
			continue
		}
		got := strings.Join(o.Failed(s), "; ")
		if (failed == "") != (got == "") || !strings.HasPrefix(got, failed) {
			t.Errorf("%q: %q, want %q", text, got, failed)
		}
	}
}

func TestAgree(t *testing.T) {
	for _, test := range []struct {
		rates []float64
		want  bool
	}{{[]float64{100}, true}, {[]float64{100, 109}, true}, {[]float64{100, 111, 112}, false}, {[]float64{96, 100, 105}, true}} {
		if Agree(test.rates) != test.want {
			t.Errorf("%v: %v", test.rates, !test.want)
		}
	}
}

// TestTextIsAScenario: what a probe runs is a file of its own, which says all that is run.
func TestTextIsAScenario(t *testing.T) {
	base := "name: s\nquestion: Which?\nload:\n  events_per_request: 5\n  phases:\n    - {name: warm-up, rate: 1/s, duration: 1s}\n    - {name: measured, rate: 1/s, duration: 4s, measured: true}\n"
	plan, err := NewPlan("s.yaml", []byte(base), 3)
	if err != nil {
		t.Fatal(err)
	}
	for kind, seconds := range map[Kind]float64{Probing: 4, Confirming: 12} {
		s, err := plan.scenario(kind, 7, 123.4)
		if err != nil {
			t.Fatal(err)
		}
		load := s.Cases[0].Settings.Load
		if s.Cases[0].Name != fmt.Sprintf("%s-07", kind) || len(load.Phases) != 2 || float64(load.Phases[1].Rate) != 123 || math.Abs(load.Duration().Seconds()-1-seconds) > 1e-9 {
			t.Errorf("%s: %+v", kind, s.Cases[0])
		}
	}
	for name, text := range map[string]string{
		"closed loop": strings.ReplaceAll(strings.ReplaceAll(base, "rate: 1/s", "clients: 4"), "duration", "duration"),
		"cases":       base + "cases: [{name: a}]\n",
		"a fault":     base + "fault: {kind: sigkill, at: 1s}\n",
	} {
		if _, err := NewPlan("s.yaml", []byte(text), 3); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
