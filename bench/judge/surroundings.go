package judge

import (
	"cmp"

	"sekali/bench/record"
)

// surroundingsReasons are what others took, what a CPU quota held back, and how much of the time
// the generator did not run. unchecked is what could not be told and makes no run INVALID.
func surroundingsReasons(r *record.Raw, s record.Summary) (reasons, unchecked []record.Reason) {
	around := r.Run.Surroundings
	if share := s.OtherCPUShare; share != nil && *share > maxOtherShare {
		reasons = append(reasons, because(OthersTook, "others took %.0f %% of %s, the bound is %.0f %%", *share*100, coresOf(around), maxOtherShare*100))
	}
	if around == nil {
		return reasons, nil // a record of before they were watched
	}
	if s.OtherCPUShare == nil {
		why := because(OthersUnknown, "what others took of the cores is not measurable: %s",
			cmp.Or(around.OthersUnknown, "the trace does not cover a second, or lacks it in some samples"))
		if r.Run.Aggregator.External {
			unchecked = append(unchecked, why)
		} else {
			reasons = append(reasons, why)
		}
	}
	if around.ThrottlingUnknown != "" {
		unchecked = append(unchecked, because(ThrottlingUnknown, "whether a CPU quota held the run back is not measurable: %s", around.ThrottlingUnknown))
	}
	if n := s.ThrottledPeriods; n != nil && *n > 0 {
		reasons = append(reasons, because(Throttled, "a CPU quota held the run back in %d of its periods, for %.4g ms on all cores together", *n, *s.ThrottledMS))
	}
	if share := s.GeneratorStalledShare; share != nil && *share > maxStalledShare {
		reasons = append(reasons, because(GeneratorStalled, "the generator did not run for %.0f %% of the measured time, the bound is %.0f %%", *share*100, maxStalledShare*100))
	}
	return reasons, unchecked
}

// coresOf names the cores that others are summed over.
func coresOf(around *record.Surroundings) string {
	if around == nil || around.CoreCount == 0 {
		return "all cores"
	}
	return "the cores that the run may use (" + around.Cores + ")"
}
