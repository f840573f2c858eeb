package mutants

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// halfWaits halves the depth, and calls the rest committed; and it halves every wait.
func halfWaits(l *liar, _ *http.Response, e *event) {
	depth, _ := strconv.ParseInt(string(e.values["queue_depth"]), 10, 64)
	number("unique_processed", depth-depth/2)(nil, nil, e)
	number("last_seq", depth-depth/2)(nil, nil, e)
	number("queue_depth", depth/2-depth)(nil, nil, e)
	eachWait(e, func(us int64) int64 { return us / 2 })
}

// longestWait is in µs. While the queue's load lasts nothing is committed, and most events wait
// twice as long and more.
const longestWait = 500_000

func capWaits(_ *liar, _ *http.Response, e *event) {
	eachWait(e, func(us int64) int64 { return min(us, longestWait) })
}

// eachWait changes the histogram of how long events waited, which is cumulative: what changes a
// value must always change it the same way.
func eachWait(e *event, change func(us int64) int64) {
	const name = "processing_latency_us"
	var all map[string]json.RawMessage
	var pairs [][2]int64
	if json.Unmarshal(e.values["histograms"], &all) != nil || json.Unmarshal(all[name], &pairs) != nil {
		return // this answer has none
	}
	changed := [][2]int64{}
	for _, pair := range pairs {
		value := change(pair[0])
		if last := len(changed) - 1; last >= 0 && changed[last][0] == value {
			changed[last][1] += pair[1]
		} else {
			changed = append(changed, [2]int64{value, pair[1]})
		}
	}
	var err error
	if slices.Equal(changed, pairs) {
		return
	}
	if all[name], err = json.Marshal(changed); err != nil {
		return
	}
	if text, err := json.Marshal(all); err == nil {
		e.values["histograms"] = text
	}
}
