package audit

import (
	"iter"
	"testing"

	"sekali/loadgen/ledger"
)

func TestApart(t *testing.T) {
	for _, test := range []struct {
		name  string
		spans [][2]int64
		want  uint64
	}{
		{"none", nil, 0},
		{"one after the other", [][2]int64{{0, 10}, {11, 20}, {21, 30}}, 3},
		{"all together", [][2]int64{{0, 10}, {1, 11}, {2, 12}}, 1},
		{"a long one over two short ones", [][2]int64{{0, 100}, {1, 10}, {20, 30}}, 2},
		{"not in order", [][2]int64{{21, 30}, {0, 10}, {5, 22}, {11, 20}}, 3},
		{"at the same moment", [][2]int64{{0, 10}, {10, 20}}, 1},
	} {
		var attempts iter.Seq2[ledger.Attempt, error] = func(yield func(ledger.Attempt, error) bool) {
			for _, span := range test.spans {
				if !yield(ledger.Attempt{Attempt: 1, SentNS: span[0], DoneNS: span[1], Status: 202, Accepted: 1}, nil) {
					return
				}
			}
			yield(ledger.Attempt{Attempt: 1, SentNS: 1000, DoneNS: 1001, Status: 503, Cause: "busy"}, nil)
		}
		if got, err := Apart(attempts); got != test.want || err != nil {
			t.Errorf("%s: %d, %v, want %d", test.name, got, err, test.want)
		}
	}
}
