package attack

import (
	"math"
	"testing"
	"time"
)

// TestPoisson: as many requests in as long a time as of the even schedule, the same for a seed, and
// with gaps that scatter by their mean, which those of an even schedule do not.
func TestPoisson(t *testing.T) {
	p := Phase{Name: "random", Rate: 1000, Arrivals: Poisson, Seed: 1, Duration: 20 * time.Second}
	due, again := p.Schedule(), p.Schedule()
	other := p
	other.Seed = 2
	otherwise := other.Schedule()
	n, known := p.Planned()
	if !known || n != 20_000 {
		t.Fatal(n)
	}
	last, squares, same := time.Duration(0), 0., 0
	for i := range n {
		at := due(i)
		if at < last || at >= p.Duration {
			t.Fatalf("request %d is due at %s, the one before at %s", i, at, last)
		}
		if at != again(i) {
			t.Fatalf("request %d is due at %s and at %s", i, at, again(i))
		}
		if at == otherwise(i) {
			same++
		}
		gap := float64(at-last)/1e6 - 1
		squares += gap * gap
		last = at
	}
	if deviation := math.Sqrt(squares / float64(n)); deviation < 0.95 || deviation > 1.05 {
		t.Errorf("the gaps scatter by %.3f of their mean, as at random it is 1", deviation)
	}
	if same > 0 || p.Duration-last > 20*time.Millisecond {
		t.Errorf("%d moments of another seed are the same, and the last request is due at %s", same, last)
	}
}

func TestPoissonIsRefused(t *testing.T) {
	for _, p := range []Phase{
		{Name: "closed", Clients: 1, Requests: 10, Arrivals: Poisson},
		{Name: "odd", Rate: 10, Duration: time.Second, Arrivals: "odd"},
	} {
		if p.validate() == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}
