package saturation

import (
	"errors"
	"math"
)

// Outcome is what a probe at one rate came to.
type Outcome int

// The outcomes. Invalid: the generator or the machine, not the aggregator, set the figure.
const (
	Met Outcome = iota
	Missed
	Invalid
)

// Kind is why a probe is made.
type Kind string

// The kinds: a probe of the search, and the longer run that confirms its answer.
const (
	Probing    Kind = "probe"
	Confirming Kind = "confirm"
)

const (
	// Resolution is how close the rates that are met and missed have to be: a twentieth is less than the same probe varies by.
	Resolution = 0.05
	// growth is from one rate to the next until one is missed.
	growth = 2
	// maxGrowth bounds the search upwards and downwards: 2^10 times the first rate.
	maxGrowth = 10
	// maxConfirmations is how many rates are tried for longer, each a twentieth below the last.
	maxConfirmations = 5
)

// The ways in which a search ends without an answer.
var (
	ErrInvalid      = errors.New("INVALID: the generator or the machine, not the aggregator, is the limit")
	ErrNone         = errors.New("no rate meets the objective")
	ErrNotConfirmed = errors.New("no rate that was met by short probes was met by a longer one")
	ErrUnbounded    = errors.New("every rate meets the objective, as far as the search goes")
)

// Search finds the highest rate that ask meets. A rate that is missed is asked for once more, and so is one that is INVALID: the second
// outcome counts, for a machine hiccups more often than an aggregator twice. It asks at most 2 × (10 + 10 + 5) times.
func Search(start float64, ask func(kind Kind, rate float64) (Outcome, error)) (rate float64, err error) {
	try := func(kind Kind, rate float64) (bool, error) {
		out, err := ask(kind, rate)
		if err == nil && out != Met {
			out, err = ask(kind, rate)
		}
		if err == nil && out == Invalid {
			err = ErrInvalid
		}
		return out == Met, err
	}
	low, high, err := bracket(start, try)
	if err != nil {
		return low, err
	}
	for high/low > 1+Resolution {
		middle := math.Sqrt(low * high)
		met, err := try(Probing, middle)
		switch {
		case err != nil:
			return low, err
		case met:
			low = middle
		default:
			high = middle
		}
	}
	for range maxConfirmations {
		if met, err := try(Confirming, low); err != nil || met {
			return low, err
		}
		low /= 1 + Resolution
	}
	return low, ErrNotConfirmed
}

// bracket returns a rate that is met and one that is missed, at most growth apart.
func bracket(start float64, try func(Kind, float64) (bool, error)) (low, high float64, err error) {
	met, err := try(Probing, start)
	if err != nil {
		return 0, 0, err
	}
	rate := start
	for range maxGrowth {
		last := rate
		if met {
			rate *= growth
		} else {
			rate /= growth
		}
		again, err := try(Probing, rate)
		if err != nil && met {
			return last, 0, err
		}
		if err != nil {
			return 0, 0, err
		}
		if again != met {
			return min(last, rate), max(last, rate), nil
		}
	}
	if met {
		return rate, 0, ErrUnbounded
	}
	return 0, 0, ErrNone
}
