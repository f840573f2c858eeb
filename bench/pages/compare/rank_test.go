package compare

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// TestNull counts every order and every choice of signs, one by one.
func TestNull(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for m := 1; m <= 5; m++ {
			counts, all := make([]float64, n*m+1), 0.
			for order := range 1 << (n + m) {
				if bits.OnesCount(uint(order)) != n {
					continue
				}
				u, smaller := 0, 0
				for i := range n + m {
					if order>>i&1 == 1 {
						u += smaller
					} else {
						smaller++
					}
				}
				counts[u]++
				all++
			}
			same(t, rankSums(n, m), counts, all)
		}
	}
	counts := make([]float64, 1+2+3+4+1)
	for signs := range 16 {
		sum := 0
		for rank := range 4 {
			sum += (rank + 1) * (signs >> rank & 1)
		}
		counts[sum]++
	}
	same(t, subsetSums([]int{1, 2, 3, 4}), counts, 16)
	var sum float64
	for _, p := range rankSums(100, 100) {
		sum += p
	}
	if math.Abs(sum-1) > 1e-6 {
		t.Errorf("of 100 and 100 values the probabilities add up to %v", sum)
	}
}

func same(t *testing.T, got, counts []float64, all float64) {
	t.Helper()
	for i, count := range counts {
		if len(got) != len(counts) || math.Abs(got[i]-count/all) > 1e-12 {
			t.Fatalf("%v, expected %v of %v", got, counts, all)
		}
	}
}

// TestPairedP: the first p-values are those of the tables; equal differences share ranks, and zeros
// are left out.
func TestPairedP(t *testing.T) {
	zero := make([]float64, 8)
	for _, test := range []struct {
		differences []float64
		want        float64
	}{
		{[]float64{1, 2, 3, 4, 5, 6}, 2. / 64},
		{[]float64{-1, 2, 3, 4, 5, 6}, 4. / 64},
		{[]float64{1, -2, 3, 4, 5, 6, 7, 8}, 6. / 256},
		{[]float64{0, 0, 1, 2, 3, 4, 5, 6}, 2. / 64},
		{[]float64{0, 0, 0}, 1},
		{[]float64{1, 1, 1, 1}, 2. / 16},
		{[]float64{-1, 1, 1, 1}, 10. / 16},
	} {
		if got := pairedP(zero[:len(test.differences)], test.differences); math.Abs(got-test.want) > 1e-12 {
			t.Errorf("%v: %v, expected %v", test.differences, got, test.want)
		}
	}
}

// TestIntervals: they hold the true shift as often as they say, however the noise is distributed,
// and none is given where there are too few values.
func TestIntervals(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	noises := map[string]func() float64{
		"normal":       random.NormFloat64,
		"heavy-tailed": func() float64 { return random.NormFloat64() / math.Abs(random.NormFloat64()) },
	}
	for name, noise := range noises {
		const truth, rounds = 0.3, 2000
		pairs, samples := 0, 0
		for range rounds {
			var a, b []float64
			for range 9 {
				a, b = append(a, noise()), append(b, truth+noise())
			}
			if s := pairedShift(a, b, 0.95); s.low <= truth && truth <= s.high {
				pairs++
			}
			if s := independentShift(a, b, 0.95); s.low <= truth && truth <= s.high {
				samples++
			}
		}
		// 95 % or a little more, since the ranks are whole; 1.5 % is three standard errors.
		for design, held := range map[string]int{"paired": pairs, "independent": samples} {
			if held < rounds*935/1000 || held > rounds*985/1000 {
				t.Errorf("%s, %s: %d of %d intervals hold the shift", name, design, held, rounds)
			}
		}
	}
	values := []float64{1, 2, 3, 4, 5}
	if s := pairedShift(values, values, 0.95); !math.IsInf(s.low, -1) || !math.IsInf(s.high, 1) || s.point != 0 {
		t.Errorf("five pairs have the interval %+v", s)
	}
	if s := independentShift(values[:3], values[:3], 0.95); !math.IsInf(s.low, -1) || !math.IsNaN(s.scatter) {
		t.Errorf("three values a side have the interval %+v", s)
	}
	if s := independentShift(values[:4], []float64{11, 12, 13, 14}, 0.95); s.low != 7 || s.high != 13 || s.point != 10 {
		t.Errorf("wholly apart: %+v", s)
	}
}
