package compare

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"sekali/bench/figures"
	"sekali/bench/internal/chart"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// pooledMetric is decided over the requests of all repeats together where each repeat alone has too
// few of them.
const (
	pooledMetric  = "response_time_ms_p99"
	pooledPercent = 99
)

const (
	// maxDraws bounds the ways to swap repeats that are tried: all of them up to twelve pairs. The
	// smallest p-value there can be is one in as many.
	maxDraws = 1 << 12
	// farthest is the largest ratio that an interval is followed to, and bisections how often the
	// distance to its end is halved.
	farthest   = 1e3
	bisections = 16
)

// pool is the response times of both sides, of all repeats together. Its percentiles are compared
// by a permutation test: if A and B do not differ, it does not matter which of a pair was called A
// (or, where the sides did not take turns, which repeats were). Repeats are swapped as a whole, so
// that what the requests of one have in common is not taken for evidence. The interval holds the
// ratios by which B's times can be divided without the test seeing a difference.
type pool struct {
	times   [2][]timed // of A and B, the longest first
	repeats [2]int
	counts  []int    // requests of each repeat, A's first
	draws   [][]bool // ways to call the repeats B, the true one first
}

// timed is a request: its response time and its repeat, A's first.
type timed struct {
	ms     float64
	repeat int
}

// responses are the response times of the measured requests.
func responses(r *record.Raw) []float64 {
	var all []float64
	for _, q := range r.Measured() {
		if q.Outcome == ledger.Acknowledged {
			all = append(all, float64(q.Answer.ResponseTime().Microseconds())/1e3)
		}
	}
	return all
}

// newPool is nil where all repeats of a side together have too few requests too. It tries so many
// ways to call the repeats at most.
func newPool(a, b group, paired bool, draws int) *pool {
	p := &pool{repeats: [2]int{len(a.responses), len(b.responses)}}
	for side, g := range []group{a, b} {
		for _, times := range g.responses {
			for _, ms := range times {
				p.times[side] = append(p.times[side], timed{max(ms, 1e-3), len(p.counts)})
			}
			p.counts = append(p.counts, len(times))
		}
		if int64(len(p.times[side])) < figures.LeastSamples(pooledPercent) {
			return nil
		}
		slices.SortFunc(p.times[side], func(x, y timed) int { return cmp.Compare(y.ms, x.ms) })
	}
	p.draw(paired, draws)
	return p
}

// draw finds so many ways to call the repeats at most.
func (p *pool) draw(paired bool, draws int) {
	n, all := p.repeats[0], len(p.counts)
	random := rand.New(rand.NewPCG(1, 1)) // the same for every comparison
	if paired && 1<<min(n, 30) < draws {
		draws = 1 << n
	}
	for d := range draws {
		isB := make([]bool, all)
		for i := n; i < all; i++ {
			isB[i] = true
		}
		switch {
		case d == 0: // the true one
		case paired:
			for i := range n {
				if draws == 1<<n && d>>i&1 == 1 || draws < 1<<n && random.IntN(2) == 1 {
					isB[i], isB[n+i] = true, false
				}
			}
		default:
			random.Shuffle(all, func(i, j int) { isB[i], isB[j] = isB[j], isB[i] })
		}
		p.draws = append(p.draws, isB)
	}
}

// shift is the logarithm of the ratio of the percentiles, B's to A's, if the repeats were called so
// and B's times had been divided by a ratio.
func (p *pool) shift(isB []bool, logarithm float64) float64 {
	var left [2]int // requests until the percentile, of A and B
	for repeat, count := range p.counts {
		left[sideOf(isB[repeat])] += count
	}
	for i := range left {
		left[i] = beyond(left[i]) + 1
	}
	scale := math.Exp(-logarithm)
	var found [2]float64
	for a, b := 0, 0; left[0] > 0 || left[1] > 0; {
		var next timed
		if b == len(p.times[1]) || a < len(p.times[0]) && p.times[0][a].ms >= p.times[1][b].ms*scale {
			next = p.times[0][a]
			a++
		} else {
			next = p.times[1][b]
			next.ms *= scale
			b++
		}
		at := sideOf(isB[next.repeat])
		if left[at]--; left[at] == 0 {
			found[at] = next.ms
		}
	}
	return math.Log(found[1] / found[0])
}

// sideOf is 0 for A and 1 for B.
func sideOf(isB bool) int {
	if isB {
		return 1
	}
	return 0
}

// beyond is how many of so many requests lie beyond the percentile.
func beyond(count int) int { return count - int(math.Ceil(float64(count)*pooledPercent/100)) }

func percentile(longestFirst []timed) float64 { return longestFirst[beyond(len(longestFirst))].ms }

// probability is that of a shift as far from 0 as the true one, if B's times are A's times a ratio.
func (p *pool) probability(logarithm float64) float64 {
	seen := math.Abs(p.shift(p.draws[0], logarithm))
	as := 0
	for _, isB := range p.draws {
		if math.Abs(p.shift(isB, logarithm)) >= seen-1e-9 {
			as++
		}
	}
	return float64(as) / float64(len(p.draws))
}

// test fills the evidence of a metric that is decided over all requests together.
func (p *pool) test(d *decider) {
	d.pool = p
	d.a, d.b = []float64{percentile(p.times[0])}, []float64{percentile(p.times[1])}
	d.p = p.probability(0)
	d.alone = d.p
	d.shift = shift{point: p.shift(p.draws[0], 0), scatter: math.NaN()}
	d.low, d.high = p.end(d.point, -1, d.alpha), p.end(d.point, +1, d.alpha)
	if !math.IsInf(d.low, 0) && !math.IsInf(d.high, 0) {
		n, m := float64(p.repeats[0]), float64(p.repeats[1])
		d.scatter = (d.high - d.low) / 2 / quantile(1-d.alpha/2) * math.Sqrt(2*n*m/(n+m))
	}
}

// end is where the interval ends in a direction: infinite if the test sees no ratio as too far.
func (p *pool) end(point, direction, alpha float64) float64 {
	inside, step := point, 0.01
	for p.probability(point+direction*step) > alpha {
		inside = point + direction*step
		if step *= 2; step > math.Log(farthest) {
			return math.Inf(int(direction))
		}
	}
	outside := point + direction*step
	for range bisections {
		if middle := (inside + outside) / 2; p.probability(middle) > alpha {
			inside = middle
		} else {
			outside = middle
		}
	}
	return inside
}

// spread is a side's percentile, and of how many requests it is.
func (p *pool) spread(side int, value float64) string {
	return fmt.Sprintf("%s (of %s requests in %d repeats)", chart.Number(value), chart.Number(float64(len(p.times[side]))), p.repeats[side])
}
