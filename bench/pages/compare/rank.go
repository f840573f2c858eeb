package compare

import (
	"cmp"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// shift is how far the values of B lie from those of A, by ranks: no distribution of the noise is
// assumed.
type shift struct {
	point     float64 // the Hodges-Lehmann estimate
	low, high float64 // its interval; infinite where there are too few values for one
	scatter   float64 // of one repeat's shift, as a standard deviation; NaN where there is no interval
}

// pairedShift takes the i-th values of both sides as made under the same conditions. Its interval
// is that of Wilcoxon's signed ranks: the values between which the means of any two differences lie
// (Walsh averages).
func pairedShift(a, b []float64, confidence float64) shift {
	var averages []float64
	differences := subtract(b, a)
	for i, x := range differences {
		for _, y := range differences[i:] {
			averages = append(averages, (x+y)/2)
		}
	}
	ranks := make([]int, len(a))
	for i := range ranks {
		ranks[i] = i + 1
	}
	return estimate(averages, subsetSums(ranks), float64(len(a)), confidence)
}

// independentShift takes the sides as two samples in no order. Its interval is that of
// Mann-Whitney's U: the values between which the differences of any B and any A lie.
func independentShift(a, b []float64, confidence float64) shift {
	var differences []float64
	for _, y := range b {
		for _, x := range a {
			differences = append(differences, y-x)
		}
	}
	n, m := float64(len(a)), float64(len(b))
	return estimate(differences, rankSums(len(a), len(b)), 2*n*m/(n+m), confidence)
}

// estimate reads the shift off all the differences: null are the probabilities of the test's
// statistic where there is no shift, and the interval leaves out as many differences at either end
// as it takes to reach a statistic that is too rare.
func estimate(differences, null []float64, repeats, confidence float64) shift {
	slices.Sort(differences)
	s := shift{point: median(differences), low: math.Inf(-1), high: math.Inf(1), scatter: math.NaN()}
	tail, out := 0., -1
	for k, p := range null {
		if tail+p > (1-confidence)/2 {
			break
		}
		tail, out = tail+p, k
	}
	if out < 0 {
		return s
	}
	s.low, s.high = differences[out], differences[len(differences)-1-out]
	s.scatter = (s.high - s.low) / 2 / quantile(1-tail) * math.Sqrt(repeats)
	return s
}

// pairedP is the two-sided p-value of Wilcoxon's signed ranks, exact with ties: differences of zero
// are left out, and equal ones share their ranks.
func pairedP(a, b []float64) float64 {
	differences := slices.DeleteFunc(subtract(b, a), func(d float64) bool { return d == 0 })
	slices.SortFunc(differences, func(x, y float64) int { return cmp.Compare(math.Abs(x), math.Abs(y)) })
	// Ranks are doubled, so that shared ones are whole.
	ranks := make([]int, len(differences))
	positive := 0
	for i := 0; i < len(ranks); {
		end := i + 1
		for end < len(ranks) && math.Abs(differences[end]) == math.Abs(differences[i]) {
			end++
		}
		for k := i; k < end; k++ {
			ranks[k] = i + 1 + end
			if differences[k] > 0 {
				positive += ranks[k]
			}
		}
		i = end
	}
	var below, above float64
	for sum, p := range subsetSums(ranks) {
		if sum <= positive {
			below += p
		}
		if sum >= positive {
			above += p
		}
	}
	return math.Min(1, 2*math.Min(below, above))
}

// independentP is the two-sided p-value of Mann-Whitney's U.
func independentP(a, b []float64) float64 {
	if constant(slices.Concat(a, b)) {
		return 1
	}
	thresholds := benchmath.DefaultThresholds
	sample := func(values []float64) *benchmath.Sample {
		return benchmath.NewSample(slices.Clone(values), &thresholds) // it sorts
	}
	return benchmath.AssumeNothing.Compare(sample(a), sample(b)).P
}

func constant(values []float64) bool { return slices.Min(values) == slices.Max(values) }

func subtract(b, a []float64) []float64 {
	differences := make([]float64, len(a))
	for i := range a {
		differences[i] = b[i] - a[i]
	}
	return differences
}

// subsetSums are the probabilities of the sums 0, 1, 2, … where each number is in the sum with
// probability 1/2: the signed-rank statistic without a shift.
func subsetSums(numbers []int) []float64 {
	sums := []float64{1}
	for _, number := range numbers {
		next := make([]float64, len(sums)+number)
		for sum, p := range sums {
			next[sum] += p / 2
			next[sum+number] += p / 2
		}
		sums = next
	}
	return sums
}

// rankSums are the probabilities of U = 0, 1, 2, …, nm without a shift and without ties: the
// coefficients of the Gaussian binomial, Π (1−q^(m+i)) / (1−q^i) for i = 1…n, each factor divided
// by its value at q = 1.
func rankSums(n, m int) []float64 {
	sums := make([]float64, n*m+1)
	sums[0] = 1
	for i := 1; i <= n; i++ {
		for u := n * m; u >= m+i; u-- {
			sums[u] -= sums[u-m-i]
		}
		for u := i; u <= n*m; u++ {
			sums[u] += sums[u-i]
		}
		for u := range sums {
			sums[u] *= float64(i) / float64(m+i)
		}
	}
	return sums
}

// quantile of the standard normal distribution.
func quantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }
