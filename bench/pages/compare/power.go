package compare

import "math"

// power is the chance to see what is there, in every figure of repeats that are needed.
const power = 0.8

// design is what the number of repeats has to suffice for.
type design struct {
	paired bool
	tests  int // that share alpha
	looks  int // that share alpha too, at least 1
}

func (d design) alpha() float64 { return alpha / float64(d.looks) }

// LeastRepeats is the smallest number of pairs at which a comparison of so many cases, looked at so
// often, could call anything worse.
func LeastRepeats(cases, looks int) int {
	return design{paired: true, tests: cases * len(deciding), looks: looks}.leastRepeats()
}

// leastRepeats is the smallest number a side at which anything could be called worse: where the
// sides are wholly apart, the smallest p-value there is stays under alpha after the correction.
func (d design) leastRepeats() int {
	p := 1.
	for n := 1; ; n++ {
		if d.paired {
			p /= 2
		} else {
			p *= float64(n) / float64(2*(2*n-1)) // one of all orders of n and n values
		}
		if 2*p*float64(max(1, d.tests)) <= d.alpha() {
			return n
		}
	}
}

// need is the number of repeats a side that shows an effect on a logarithm under so much scatter,
// at the smallest p-value that the correction can ask for. The square in the second term makes up
// for the few values that the scatter itself is known from (Guenther).
func (d design) need(scatter, effect float64) int {
	significance := d.significance()
	n := math.Pow((significance+quantile(power))*scatter/effect, 2) + significance*significance/2
	return max(d.leastRepeats(), int(math.Ceil(n)))
}

// smallest is the effect on a logarithm that so many repeats show; infinite where they show
// nothing.
func (d design) smallest(scatter float64, repeats int) float64 {
	significance := d.significance()
	rest := float64(repeats) - significance*significance/2
	if repeats < d.leastRepeats() || rest <= 0 {
		return math.Inf(1)
	}
	return (significance + quantile(power)) * scatter / math.Sqrt(rest)
}

func (d design) significance() float64 { return quantile(1 - d.alpha()/2/float64(max(1, d.tests))) }

// need is the number of repeats a side that would settle an open metric: that show it worse, or
// within the margin, whichever is the nearer if its shift is as estimated. 0: the scatter is not
// known.
func (m *decider) need(d design) int {
	if m.missing != "" || math.IsNaN(m.scatter) {
		return 0
	}
	loss := m.loss(m.point)
	n := d.need(m.scatter, max(loss, m.limit(m.margin)-loss))
	if m.pool != nil {
		return max(n, m.pool.repeats[0]+1, m.pool.repeats[1]+1)
	}
	return max(n, len(m.a)+1, len(m.b)+1)
}
