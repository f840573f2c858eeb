package compare

import (
	"math"
	"math/rand/v2"
	"testing"
)

// tails makes n repeats of each side with so many requests, whose times scatter by a fifth, and
// more from repeat to repeat where common says so. Of B's requests a part is slower by 250 ms, and
// all are slower by a factor.
type tails struct {
	random       *rand.Rand
	n, requests  int
	common       float64
	part, factor float64
	turns        bool
}

func (w tails) decider(draws int) *decider {
	var a, b group
	for range w.n {
		pair := w.common * w.random.NormFloat64() // what the machine did to both
		for side, g := range []*group{&a, &b} {
			slow := pair + w.common/4*w.random.NormFloat64()
			if !w.turns {
				slow = w.common * w.random.NormFloat64()
			}
			var times []float64
			for range w.requests {
				ms := 10 * math.Exp(slow+0.2*w.random.NormFloat64())
				if side == 1 {
					if ms *= w.factor; w.random.Float64() < w.part {
						ms += 250
					}
				}
				times = append(times, ms)
			}
			g.responses = append(g.responses, times)
		}
	}
	d := &decider{margin: DefaultMargin, alpha: 0.05}
	d.Better = 2 // lower
	newPool(a, b, w.turns, draws).test(d)
	return d
}

// TestPooledP: of comparisons of the same with the same hardly more than one in 20 has a p of 0.05,
// with turns or without, and where the repeats differ; the interval holds the true ratio as often.
func TestPooledP(t *testing.T) {
	const rounds = 120
	for name, w := range map[string]tails{
		"turns": {turns: true}, "turns, and a machine that changes": {turns: true, common: 0.1},
		"no turns": {}, "no turns, and a machine that changes": {common: 0.1},
	} {
		w.random, w.n, w.requests, w.factor = rand.New(rand.NewPCG(1, 2)), 6, 170, 1.1
		held, seen := 0, 0
		for range rounds {
			d := w.decider(256)
			if d.low <= math.Log(w.factor)+1e-3 && math.Log(w.factor)-1e-3 <= d.high {
				held++
			}
		}
		w.factor = 1
		for range rounds {
			if w.decider(256).p <= 0.05 {
				seen++
			}
		}
		// 5 %, and three standard deviations.
		if most := int(rounds*0.05 + 3*math.Sqrt(rounds*0.05*0.95)); seen > most || held < rounds-most {
			t.Errorf("%s: of %d comparisons %d saw a difference that is not there, %d intervals hold the one that is", name, rounds, seen, held)
		}
	}
}

// TestPooledSeesTheTail: in ten pairs of 600 requests, 1.5 % of requests slower by 250 ms are worse
// whatever else decides; 0.7 %, which move the percentile by a tenth, are worse as a rule and the
// same never.
func TestPooledSeesTheTail(t *testing.T) {
	w := tails{random: rand.New(rand.NewPCG(3, 4)), n: 10, requests: 600, common: 0.02, factor: 1, turns: true}
	const rounds = 10
	same, worse, certain := map[float64]int{}, map[float64]int{}, map[float64]int{}
	for _, w.part = range []float64{0, 0.007, 0.015} {
		for range rounds {
			d := w.decider(maxDraws)
			if d.worse() {
				worse[w.part]++
			}
			if d.worse() && d.p <= 0.05/float64(len(deciding)) {
				certain[w.part]++
			}
			if d.sameOrBetter() {
				same[w.part]++
			}
		}
	}
	if worse[0] > 2 || worse[0.007] < 8 || same[0.007] > 0 || certain[0.015] < rounds {
		t.Errorf("of %d comparisons each, worse %v, worse after any correction %v, the same %v", rounds, worse, certain, same)
	}
}

// TestPooledNeedsRequests: where all repeats together have too few there is no pool, and with too
// few repeats no interval.
func TestPooledNeedsRequests(t *testing.T) {
	times := make([]float64, 499)
	if p := newPool(group{responses: [][]float64{times, times}}, group{responses: [][]float64{times, times}}, true, maxDraws); p != nil {
		t.Errorf("998 requests have a 99th percentile: %+v", p)
	}
	w := tails{random: rand.New(rand.NewPCG(5, 6)), n: 4, requests: 300, factor: 3, turns: true}
	if d := w.decider(maxDraws); d.worse() || !math.IsInf(d.low, -1) || d.interval() != "too few repeats" {
		t.Errorf("four pairs: %v to %v, p %v", d.low, d.high, d.p)
	}
}
