package figures

import (
	"cmp"
	"slices"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// Response is an acknowledged request as its publisher saw it.
type Response struct {
	PlannedNS int64   // since the attack's start
	MS        float64 // planned → acknowledged
}

// Responses are those of all phases, in the order in which the requests were planned.
func Responses(r *record.Raw) []Response {
	var all []Response
	for _, q := range r.Requests {
		if q.Outcome == ledger.Acknowledged {
			all = append(all, Response{q.First.PlannedNS, float64(q.Answer.ResponseTime()) / 1e6})
		}
	}
	slices.SortStableFunc(all, func(a, b Response) int { return cmp.Compare(a.PlannedNS, b.PlannedNS) })
	return all
}
