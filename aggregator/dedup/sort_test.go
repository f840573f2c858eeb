package dedup

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSorterAgreesWithComparison(t *testing.T) {
	var s sorter
	rapid.Check(t, func(t *rapid.T) {
		hashes := rapid.SliceOfN(rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 9)), 0, 300).Draw(t, "hashes")
		keys := make([]ranked, len(hashes))
		for i, h := range hashes {
			keys[i] = ranked{h, uint32(i)}
		}
		got := s.sort(keys)
		slices.SortFunc(keys, byRank)
		if !slices.Equal(got, keys) {
			t.Fatalf("sorted %v, want %v", got, keys)
		}
	})
}
