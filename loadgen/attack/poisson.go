package attack

import (
	"math"
	"math/rand/v2"
	"time"
)

// Poisson is the arrivals of many publishers that know nothing of each other: at any moment the
// next request is as likely as at any other. So there are bursts and gaps, which a server with a
// queue feels and an even schedule never has.
const Poisson = "poisson"

// MaxPoisson bounds such a phase, whose schedule is held in memory.
const MaxPoisson = 10_000_000

// poisson is the schedule of a Poisson process of which it is known how many requests it has: with
// exponential gaps, stretched so that they fill the phase. Rate and number are exactly those of an
// even schedule.
func (p Phase) poisson() func(i uint64) time.Duration {
	random := rand.New(rand.NewPCG(p.Seed, 0x706f6973736f6e))
	at := make([]float64, p.planned())
	sum := 0.
	gap := func() float64 {
		// In (0, 1): its logarithm is finite.
		return -math.Log((float64(random.Uint64()>>11) + 0.5) / (1 << 53))
	}
	for i := range at {
		sum += gap()
		at[i] = sum
	}
	sum += gap() // from the last request to the end
	lasts := float64(len(at)) / p.Rate * float64(time.Second)
	return func(i uint64) time.Duration { return time.Duration(at[i] / sum * lasts) }
}
