package compare

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sekali/bench/figures"
	"sekali/bench/record"
)

// world makes repeats of a server whose figures scatter, as standard deviations of their
// logarithms.
type world struct {
	random *rand.Rand
	own    float64 // of each metric by itself
	common float64 // of all metrics of a repeat together: the machine was slow
	drift  float64 // from the first repeat to the last, of all metrics
	turns  bool
}

// compare makes n repeats a side, of which B is so much slower, and returns the pair with its
// evidence.
func (w world) compare(n int, slower float64) pair {
	p := pair{a: group{label: "noise"}, b: group{label: "noise"}}
	for i := range n {
		order := []*group{&p.a, &p.b}
		if i%2 == 1 {
			order[0], order[1] = order[1], order[0]
		}
		for turn, g := range order {
			at := float64(2*i+turn) / float64(2*n-1)
			cost := w.drift*at + w.common*w.random.NormFloat64()
			if g == &p.b {
				cost += math.Log1p(slower)
			}
			g.summaries = append(g.summaries, w.repeat(cost))
			run := record.Run{Validity: record.Validity{Valid: true}}
			if w.turns {
				run.StartedAt = time.Unix(int64(2*i+turn+1), 0)
			}
			g.folders = append(g.folders, record.Folder{Run: run})
		}
	}
	p.measure(DefaultMargin, 1)
	return p
}

func (w world) repeat(cost float64) record.Summary {
	scatter := func(x float64) *float64 { v := x * math.Exp(w.own*w.random.NormFloat64()); return &v }
	slow := math.Exp(cost)
	latency := func(x float64) record.Percentiles {
		return record.Percentiles{P50: scatter(x * slow), P99: scatter(3 * x * slow), Max: scatter(5 * x * slow)}
	}
	return record.Summary{ThroughputProcessedPerS: scatter(1e5 / slow), ProcessingLatencyMS: latency(20), ResponseTimeMS: latency(4),
		ServerCPUUSPerStored: scatter(10 * slow), BytesWrittenPerStored: scatter(900)}
}

// verdictOn is the verdict on the figures.
func verdictOn(p pair) Verdict {
	pairs := []pair{p}
	correct(pairs)
	verdict := SameOrBetter
	for i := range pairs[0].deciders {
		switch d := &pairs[0].deciders[i]; {
		case d.worse():
			return Worse
		case !d.sameOrBetter():
			verdict = NotEnough
		}
	}
	return verdict
}

// verdicts are those of so many comparisons.
func (w world) verdicts(rounds, n int, slower float64) map[Verdict]int {
	all := map[Verdict]int{}
	for range rounds {
		all[verdictOn(w.compare(n, slower))]++
	}
	return all
}

// TestSameIsNotCalledWorse: of 1000 comparisons of a program with itself at most 5 % are called
// worse, whether the metrics of a repeat scatter alone or together, with turns or without, on a
// machine that gets slower all the while.
func TestSameIsNotCalledWorse(t *testing.T) {
	for name, w := range map[string]world{
		"alone":                       {own: 0.02, turns: true},
		"together":                    {own: 0.01, common: 0.03, turns: true},
		"alone, no turns":             {own: 0.02},
		"together, no turns":          {own: 0.01, common: 0.03},
		"drift of 20 %":               {own: 0.01, common: 0.01, drift: 0.2, turns: true},
		"drift and hardly any noise":  {own: 0.001, drift: 0.2, turns: true},
		"faster and faster by a half": {own: 0.01, common: 0.01, drift: -0.5, turns: true},
	} {
		w.random = rand.New(rand.NewPCG(1, 2))
		if all := w.verdicts(1000, 12, 0); all[Worse] > 50 {
			t.Errorf("%s: %v of 1000 comparisons of the same with the same", name, all)
		}
	}
}

// TestFivePerCentSlowerIsCalledWorse: with 12 repeats a side, where the figures of a repeat scatter
// by 2 %, which is assumed and not measured (bench ab without -b says what a machine has); and it
// is hardly ever passed as the same, however noisy.
func TestFivePerCentSlowerIsCalledWorse(t *testing.T) {
	for name, w := range map[string]world{
		"alone":              {own: 0.02, turns: true},
		"together":           {own: 0.01, common: 0.02, turns: true},
		"together, no turns": {own: 0.01, common: 0.02},
		"drift of 20 %":      {own: 0.01, common: 0.015, drift: 0.2, turns: true},
	} {
		w.random = rand.New(rand.NewPCG(3, 4))
		if all := w.verdicts(200, 12, 0.05); all[Worse] < 180 {
			t.Errorf("%s: 5 %% slower came to %v in 200 comparisons", name, all)
		}
	}
	for _, noise := range []float64{0.03, 0.06, 0.1, 0.3} {
		w := world{random: rand.New(rand.NewPCG(5, 6)), own: noise / 2, common: noise, turns: true}
		if all := w.verdicts(500, 12, 0.0527); all[SameOrBetter] > 12+3*3 { // 2.5 %, and three standard deviations
			t.Errorf("noise %v: 5 %% slower came to %v in 500 comparisons", noise, all)
		}
	}
}

// TestSameIsCalledSame at low noise, and better with it; at high noise the verdict stays open and
// says what would settle it.
func TestSameIsCalledSame(t *testing.T) {
	for _, turns := range []bool{true, false} {
		w := world{random: rand.New(rand.NewPCG(7, 8)), own: 0.01, common: 0.01, turns: turns}
		if all := w.verdicts(200, 12, 0); all[SameOrBetter] < 190 {
			t.Errorf("turns %v: the same came to %v in 200 comparisons", turns, all)
		}
		if all := w.verdicts(200, 12, -0.1); all[SameOrBetter] < 190 {
			t.Errorf("turns %v: 10 %% faster came to %v in 200 comparisons", turns, all)
		}
	}
	w := world{random: rand.New(rand.NewPCG(9, 10)), own: 0.1, common: 0.1, turns: true}
	if all := w.verdicts(200, 12, 0); all[NotEnough] < 190 {
		t.Errorf("under 14 %% of noise, the same came to %v in 200 comparisons", all)
	}
}

// TestFewRepeats: below the least number that is printed nothing is called worse, at it twice the
// cost is.
func TestFewRepeats(t *testing.T) {
	for turns, least := range map[bool]int{true: 8, false: 5} {
		w := world{random: rand.New(rand.NewPCG(11, 12)), own: 0.001, turns: turns}
		p := w.compare(2, 0)
		if got := (design{turns, len(p.deciders), 1}).leastRepeats(); got != least || len(p.deciders) != 6 {
			t.Errorf("turns %v: %d repeats at least for %d metrics, expected %d", turns, got, len(p.deciders), least)
		}
		if v := verdictOn(w.compare(least-1, 1)); v != NotEnough {
			t.Errorf("turns %v: twice the cost, with %d repeats, is %v", turns, least-1, v)
		}
		if v := verdictOn(w.compare(least, 1)); v != Worse {
			t.Errorf("turns %v: twice the cost, with %d repeats, is %v", turns, least, v)
		}
	}
}

// TestNeed: with as many repeats as are said to be needed for an effect, it is seen about as often
// as is said.
func TestNeed(t *testing.T) {
	for _, turns := range []bool{true, false} {
		w := world{random: rand.New(rand.NewPCG(13, 14)), own: 0.03, turns: turns}
		d := design{turns, 6, 1}
		scatter := 0.03 * math.Sqrt2 // of a ratio
		n := d.need(scatter, math.Log(1.05))
		if effect := d.smallest(scatter, n); effect > math.Log(1.05) || effect < math.Log(1.045) {
			t.Errorf("turns %v: %d repeats are needed for 5 %%, and show %v", turns, n, effect)
		}
		seen := 0
		for range 300 {
			p := w.compare(n, 0.05)
			for i := range p.deciders {
				// One metric at the smallest p that the correction can ask for.
				if m := &p.deciders[i]; m.Name == "server_cpu_us_per_stored" && m.p <= alpha/6 && m.point > 0 {
					seen++
				}
			}
		}
		if seen < 300*70/100 || seen > 300*95/100 {
			t.Errorf("turns %v: of 300 comparisons with %d repeats %d saw the effect", turns, n, seen)
		}
	}
}

// A metric that lies apart for certain, by less than what is called a difference, is the same.
func TestLeastShift(t *testing.T) {
	w := world{random: rand.New(rand.NewPCG(15, 16)), own: 0.0005, turns: true}
	if v := verdictOn(w.compare(12, 0.005)); v != SameOrBetter {
		t.Errorf("0.5 %% slower is %v", v)
	}
	if v := verdictOn(w.compare(12, 0.02)); v != Worse {
		t.Errorf("2 %% slower is %v", v)
	}
}

// A metric that would be worse by itself, and is not among all that decide, is named, with the
// reason.
func TestWorseAlone(t *testing.T) {
	// Twelve pairs, each worse by more than the one before, but for the seventh, which is better: p is
	// 0.009, and 0.056 after the correction.
	var a, b []float64
	for i := range 12 {
		shift := 0.01 + 0.002*float64(i)
		if i == 6 {
			shift = -shift
		}
		a, b = append(a, 100), append(b, 100*(1+shift))
	}
	d := decider{metric: metric{Metric: figures.Metric{Name: "server_cpu_us_per_stored", Better: figures.Lower}, a: a, b: b}, margin: 0.05, alpha: 0.0166}
	d.test(true)
	pairs := []pair{{deciders: []decider{d, {alpha: 0.0166, metric: metric{p: 1}}, {metric: metric{p: 1}}, {metric: metric{p: 1}}, {metric: metric{p: 1}}, {metric: metric{p: 1}}}}}
	tests := correct(pairs)
	said := NotEnough.reservations(pairs, tests)
	if !strings.HasPrefix(said, "; server_cpu_us_per_stored alone would be worse (p 0.00") || !strings.Contains(said, "of 6 deciding metrics") || !strings.Contains(said, "after Holm's correction") {
		t.Errorf("%q (%v, corrected %v)", said, pairs[0].deciders[0].alone, pairs[0].deciders[0].p)
	}
	if said := Worse.reservations(pairs, tests); said != "" {
		t.Errorf("of a verdict that is worse: %q", said)
	}
}

// In an open loop the schedule sets the throughput, and it decides nothing.
func TestOpenLoop(t *testing.T) {
	w := world{random: rand.New(rand.NewPCG(17, 18)), own: 0.01}
	p := w.compare(2, 0)
	p.a.folders[0].Run.Phases = []record.PhaseTimes{{Rate: 100, Measured: true}}
	p.deciders, p.others = nil, nil
	p.measure(DefaultMargin, 1)
	var names []string
	for _, d := range p.deciders {
		names = append(names, d.Name)
	}
	if text := strings.Join(names, " "); strings.Contains(text, "throughput") || len(names) != 5 {
		t.Errorf("%s decide", text)
	}
}

// TestLooks: who looks three times and stops at the first "worse" or "same" is misled as often as
// who looks once. The control shares nothing between its looks, and is misled more often.
func TestLooks(t *testing.T) {
	false1, false3 := 0, 0
	w := world{random: rand.New(rand.NewPCG(19, 20)), own: 0.05, turns: true}
	for range 300 {
		whole := w.compare(40, 0)
		if whole.stops(t, 1) == Worse {
			false1++
		}
		if whole.stops(t, 3) == Worse {
			false3++
		}
	}
	if false3 > 300*5/100 || false1 <= false3 {
		t.Errorf("of 300 comparisons of the same %d were called worse with shared looks, %d without", false3, false1)
	}
	seen := 0
	for range 100 {
		whole := w.compare(40, 0.10)
		if whole.stops(t, 3) == Worse {
			seen++
		}
	}
	if seen < 80 {
		t.Errorf("10 %% slower was seen in %d of 100", seen)
	}
}

// stops is the first verdict of three looks.
func (p pair) stops(t *testing.T, looks int) Verdict {
	t.Helper()
	for _, n := range []int{10, 20, 40} {
		part := pair{a: p.a.first(n), b: p.b.first(n)}
		part.measure(DefaultMargin, looks)
		if v := verdictOn(part); v != NotEnough {
			return v
		}
	}
	return NotEnough
}

func (g group) first(n int) group {
	g.summaries, g.folders = g.summaries[:n], g.folders[:n]
	return g
}
