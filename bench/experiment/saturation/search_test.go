package saturation

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSearchFindsAStep: whatever the capacity and the first rate, low ones too, the answer is
// within the resolution below it, no rate is asked for more often than twice in a row, and the
// number of probes is bounded.
func TestSearchFindsAStep(t *testing.T) {
	for _, start := range []Start{{1, farStep}, {50, farStep}, {4000, farStep}, {3.3, nearStep}, {760, nearStep}} {
		for _, capacity := range []float64{1.01, 2.9, 3, 7.77, 12, 19.4, 49, 51, 777, 3999} {
			var asked []float64
			rate, err := Search(start, func(_ Kind, rate float64) (Outcome, error) {
				asked = append(asked, rate)
				if rate > capacity {
					return Missed, nil
				}
				return Met, nil
			})
			if start.Rate/capacity > 1000 || capacity/start.Rate > 1000 {
				if err == nil {
					t.Errorf("from %v to %v: no end", start, capacity)
				}
				continue
			}
			if start.Step == nearStep && (start.Rate/capacity > 150 || capacity/start.Rate > 150) {
				continue // small steps first: it may not come so far
			}
			if err != nil || rate > capacity || rate < capacity/(1+Resolution)*0.995 {
				t.Errorf("from %v: %v, %v, want %v", start, rate, err, capacity)
			}
			if len(asked) > 2*(maxSteps+1+4+maxConfirmations) {
				t.Errorf("from %v to %v: %d probes", start, capacity, len(asked))
			}
			for i := 2; i < len(asked); i++ {
				if asked[i] == asked[i-1] && asked[i] == asked[i-2] {
					t.Errorf("from %v to %v: %v three times", start, capacity, asked[i])
				}
			}
		}
	}
}

// TestSearchFromAnAnswerIsShort: near the answer, a search needs fewer probes than from afar.
func TestSearchFromAnAnswerIsShort(t *testing.T) {
	for start, most := range map[Start]int{{100, farStep}: 14, {390, nearStep}: 7, {410, nearStep}: 9} {
		asked := 0
		rate, err := Search(start, func(_ Kind, rate float64) (Outcome, error) {
			asked++
			return map[bool]Outcome{true: Missed}[rate > 400], nil
		})
		if err != nil || rate < 400/(1+Resolution)*0.995 || asked > most {
			t.Errorf("from %v: %v, %v after %d probes", start, rate, err, asked)
		}
	}
}

// TestSearchesAgreeUnderNoise: of a capacity that varies by 3 % from probe to probe, three
// searches, the later ones from the first's answer, agree in nine of ten cases, and are about right
// in all.
func TestSearchesAgreeUnderNoise(t *testing.T) {
	const cases = 200
	agreed := 0
	for seed := range uint64(cases) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := Record{Repeat: 3}
		for range 3 {
			start := Start{100, farStep}
			if found := r.found(); len(found) > 0 {
				start = Start{found[0], nearStep}
			}
			rate, err := Search(start, func(_ Kind, rate float64) (Outcome, error) {
				return map[bool]Outcome{true: Missed}[rate > 480*(1+0.03*random.NormFloat64())], nil
			})
			if err != nil {
				t.Fatal(err)
			}
			answer := Answer{}
			answer.end(rate, 1, nil)
			r.Searches = append(r.Searches, answer)
		}
		if r.compare(); *r.Agree {
			agreed++
		}
		if rates := r.found(); slices.Min(rates) < 480*0.88 || slices.Max(rates) > 480*1.08 {
			t.Errorf("seed %d: %v, want about 480", seed, rates)
		}
	}
	t.Logf("%d of %d", agreed, cases)
	if agreed < cases*9/10 {
		t.Errorf("%d of %d agree", agreed, cases)
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
		for _, start := range []Start{{100, farStep}, {100, nearStep}, {highestRate, farStep}, {lowestRate, nearStep}} {
			if rate, err := Search(start, test.ask); rate != 0 || err == nil || start.Rate == 100 && start.Step == farStep && !errors.Is(err, test.want) {
				t.Errorf("%s, from %v: %v, %v, want no rate and %v", name, start, rate, err, test.want)
			}
		}
	}
}

// TestBestDespiteInvalid: what the machine spoils above a rate does not take away what was met
// below it, and how sure that is stands beside it.
func TestBestDespiteInvalid(t *testing.T) {
	for name, test := range map[string]struct {
		ask      func(kind Kind, rate float64) Outcome
		low, top float64 // of the best rate; 0: there is none
		evidence string
	}{
		"invalid above 300": {func(_ Kind, r float64) Outcome { return map[bool]Outcome{true: Invalid}[r > 300] }, 300 / (1 + Resolution) * 0.995, 300, confirmed},
		"invalid when confirmed": {func(k Kind, r float64) Outcome {
			return map[bool]Outcome{true: Invalid}[r > 300 || k == Confirming]
		}, 300 / (1 + Resolution) * 0.995, 300, metOnce},
		"missed when confirmed": {func(k Kind, r float64) Outcome {
			return map[bool]Outcome{true: Missed}[r > 300 || k == Confirming]
		}, 200, 285, metOnce},
		"all invalid": {func(Kind, float64) Outcome { return Invalid }, 0, 0, ""},
	} {
		answer := Answer{}
		asked := 0
		rate, err := Search(Start{100, farStep}, func(kind Kind, rate float64) (Outcome, error) {
			asked++
			out := test.ask(kind, rate)
			answer.Probes = append(answer.Probes, Probe{Kind: kind, RequestsPerS: rate, Met: out == Met, Invalid: map[bool][]string{true: {"busy"}}[out == Invalid]})
			return out, nil
		})
		answer.end(rate, 10, err)
		if asked > 2*(maxSteps+1+4+maxConfirmations) || name == "all invalid" && asked > 2*mostInvalid {
			t.Errorf("%s: %d probes", name, asked)
		}
		best := answer.Best
		if test.low == 0 {
			if best != nil {
				t.Errorf("%s: %v", name, best)
			}
			continue
		}
		if best == nil || best.RequestsPerS < test.low || best.RequestsPerS > test.top || best.Evidence != test.evidence || best.EventsPerS != 10*best.RequestsPerS {
			t.Errorf("%s: %v, want %v to %v, %s", name, best, test.low, test.top, test.evidence)
		}
	}
}

// TestOneHiccupIsNotBelieved at any rate.
func TestOneHiccupIsNotBelieved(t *testing.T) {
	asked := map[float64]int{}
	rate, err := Search(Start{100, farStep}, func(_ Kind, rate float64) (Outcome, error) {
		asked[rate]++
		if rate > 300 {
			return Missed, nil
		}
		return []Outcome{Invalid, Met, Met, Met}[min(asked[rate], 3)-1], nil
	})
	if err != nil || rate > 300 || rate < 300/(1+Resolution)*0.995 {
		t.Errorf("with a hiccup at every rate: %v, %v", rate, err)
	}
}
