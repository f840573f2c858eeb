package saturation

import (
	"errors"
	"math"
	"strconv"
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
	// Resolution is how close the rates that are met and missed have to be: a twentieth is less than
	// the same probe varies by.
	Resolution = 0.05
	// farStep is from one rate to the next until one is missed, where nothing is known of the answer.
	farStep = 2
	// nearStep is the first step where an answer is known: two resolutions. Each further step is the
	// square of the last, up to farStep.
	nearStep = (1 + Resolution) * (1 + Resolution)
	// maxSteps bounds the search upwards and downwards: 2^10 times the first rate.
	maxSteps = 10
	// lowestRate and highestRate, in requests a second, bound what is probed: below, a probe of
	// seconds holds hardly a request, and above, the curve would ask for more than a scenario may.
	lowestRate, highestRate = 1, 900_000
	// maxConfirmations is how many rates are tried for longer, each a twentieth below the last.
	maxConfirmations = 5
	// mostInvalid is how many rates may be INVALID before any is met: a machine that disturbs so many
	// is not one to search on.
	mostInvalid = 3
)

// The ways in which a search ends without an answer.
var (
	ErrInvalid      = errors.New("the generator or the machine, not the aggregator, is the limit: INVALID twice")
	ErrNone         = errors.New("none of the probed rates met it")
	ErrNotConfirmed = errors.New("none of the rates that short probes met was met by a longer one")
	ErrUnbounded    = errors.New("every probed rate met it, so the limit was not found")
)

// Start is where a search begins: at a rate, and how far it goes from there to the next.
type Start struct{ Rate, Step float64 }

// Search finds the highest rate that ask meets and confirms, to within Resolution; without one
// there is an error, and no rate. Rates have three significant digits. A rate that is missed is
// asked for once more, and so is one that is INVALID: the second outcome counts, for a machine
// hiccups more often than an aggregator twice. A rate that is INVALID twice is not met, so that the
// search goes on below it, and confirms what it finds there. The error then is ErrInvalid, for the
// answer may lie higher. It asks at most 2 × (11 + 4 + 5) times.
func Search(start Start, ask func(kind Kind, rate float64) (Outcome, error)) (rate float64, err error) {
	s := searching{ask: ask, invalid: map[float64]bool{}}
	low, high, err := s.bracket(start)
	if err != nil {
		return 0, err
	}
	for high/low > 1+Resolution {
		middle := runnable(math.Sqrt(low * high))
		met, err := s.try(Probing, middle)
		switch {
		case err != nil:
			return 0, err
		case met:
			low = middle
		default:
			high = middle
		}
	}
	limited := s.invalid[high]
	for range maxConfirmations {
		met, err := s.try(Confirming, low)
		switch {
		case err != nil:
			return 0, err
		case s.invalid[low] || met && limited:
			return 0, ErrInvalid
		case met:
			return low, nil
		}
		low = runnable(low / (1 + Resolution))
	}
	return 0, ErrNotConfirmed
}

// searching is a search under way.
type searching struct {
	ask     func(kind Kind, rate float64) (Outcome, error)
	invalid map[float64]bool // rates that were INVALID twice
	met     bool             // some rate was met
}

func (s *searching) try(kind Kind, rate float64) (met bool, err error) {
	out, err := s.ask(kind, rate)
	if err == nil && out != Met {
		out, err = s.ask(kind, rate)
	}
	if err != nil {
		return false, err
	}
	if out == Invalid {
		s.invalid[rate] = true
	}
	s.met = s.met || out == Met
	if !s.met && len(s.invalid) == mostInvalid {
		return false, ErrInvalid
	}
	return out == Met, nil
}

// bracket returns a rate that is met and one that is missed, at most farStep apart.
func (s *searching) bracket(start Start) (low, high float64, err error) {
	rate, step := runnable(start.Rate), start.Step
	met, err := s.try(Probing, rate)
	if err != nil {
		return 0, 0, err
	}
	for range maxSteps {
		last := rate
		if met {
			rate = runnable(rate * step)
		} else {
			rate = runnable(rate / step)
		}
		if rate == last {
			break
		}
		again, err := s.try(Probing, rate)
		if err != nil {
			return 0, 0, err
		}
		if again != met {
			return min(last, rate), max(last, rate), nil
		}
		step = min(step*step, farStep)
	}
	if met {
		return 0, 0, ErrUnbounded
	}
	if len(s.invalid) > 0 {
		return 0, 0, ErrInvalid
	}
	return 0, 0, ErrNone
}

// runnable is the nearest rate that is probed: of three significant digits, a tenth of the
// resolution apart.
func runnable(rate float64) float64 {
	// Reading back what was just written cannot fail.
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(rate, 'g', 3, 64), 64)
	return min(max(rounded, lowestRate), highestRate)
}
