package figures

import (
	"sort"

	"sekali/bench/record"
)

// curve is a line through points; x rises, though not strictly.
type curve struct {
	x []int64
	y []float64
}

// newCurve draws a field of the samples over time. A sample stands for the moment at which it was
// asked for.
func newCurve(samples []record.Sample, field func(record.Sample) float64) curve {
	var c curve
	for _, s := range samples {
		c.x = append(c.x, s.TNS)
		c.y = append(c.y, field(s))
	}
	return c
}

// rising takes the curve for a counter: where it falls, the counter began again at zero.
func (c curve) rising() curve {
	total := curve{x: c.x, y: make([]float64, len(c.y))}
	for i := range c.y {
		switch {
		case i == 0:
			total.y[i] = c.y[i]
		case c.y[i] < c.y[i-1]:
			total.y[i] = total.y[i-1] + c.y[i]
		default:
			total.y[i] = total.y[i-1] + c.y[i] - c.y[i-1]
		}
	}
	return total
}

// at interpolates; outside of the points it is the nearest one's value.
func (c curve) at(x int64) float64 {
	if len(c.x) == 0 {
		return 0
	}
	// The last point at or before x.
	i := sort.Search(len(c.x), func(i int) bool { return c.x[i] > x }) - 1
	switch {
	case i < 0:
		return c.y[0]
	case i == len(c.x)-1:
		return c.y[i]
	}
	part := float64(x-c.x[i]) / float64(c.x[i+1]-c.x[i])
	return c.y[i] + part*(c.y[i+1]-c.y[i])
}

// area is the integral from a to b, by trapezia, in the units of y times those of x.
func (c curve) area(a, b int64) float64 {
	var sum float64
	x, y := a, c.at(a)
	for i := sort.Search(len(c.x), func(i int) bool { return c.x[i] > a }); i < len(c.x) && c.x[i] < b; i++ {
		sum += (y + c.y[i]) / 2 * float64(c.x[i]-x)
		x, y = c.x[i], c.y[i]
	}
	return sum + (y+c.at(b))/2*float64(b-x)
}
