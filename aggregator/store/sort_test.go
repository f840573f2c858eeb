package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestNameSorter: names come in the order that slices.Sort has, few and many, with a common
// beginning or none, with bytes that are zero, and where eight bytes do not tell them apart.
func TestNameSorter(t *testing.T) {
	var s nameSorter
	rapid.Check(t, func(t *rapid.T) {
		beginning := rapid.SampledFrom([]string{"", "a", "orders.", strings.Repeat("x", 250)}).Draw(t, "beginning")
		name := rapid.Custom(func(t *rapid.T) string {
			return beginning + string(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 'b', 0xff}), 0, 12).Draw(t, "bytes"))
		})
		names := rapid.SliceOfNDistinct(name, 0, 20, rapid.ID).Draw(t, "names")
		if rapid.Bool().Draw(t, "many") {
			for i := range radixFrom {
				number := i * 7919 % radixFrom
				names = append(names, fmt.Sprintf("%sc%d", beginning, number), fmt.Sprintf("%sdeeper.than.eight%d", beginning, number))
			}
			names = append(names, beginning+"e\x00\x00", beginning+"e\x00", beginning+"e")
		}
		var got []string
		for _, number := range s.sort(names, nil) {
			got = append(got, names[number])
		}
		if want := slices.Sorted(slices.Values(names)); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

// TestTopicSet: of the new rows, those of one topic have one number, and no others have it, batch
// after batch.
func TestTopicSet(t *testing.T) {
	var set topicSet
	rapid.Check(t, func(t *rapid.T) {
		topics := rapid.IntRange(1, 2000).Draw(t, "topics")
		rows, isNew := make([]Row, rapid.IntRange(0, 3000).Draw(t, "rows")), make([]bool, 3000)
		step := rapid.IntRange(1, 999).Draw(t, "step")
		want := map[string]bool{}
		for i := range rows {
			rows[i].Topic = fmt.Sprintf("t%d", i*step%topics)
			isNew[i] = i%3 != 0
			if isNew[i] {
				want[rows[i].Topic] = true
			}
		}
		set.group(rows, isNew[:len(rows)])
		for i := range rows {
			if isNew[i] && set.names[set.of[i]] != rows[i].Topic {
				t.Fatalf("row %d of %s has the number of %s", i, rows[i].Topic, set.names[set.of[i]])
			}
		}
		if len(set.names) != len(want) || len(set.order) != len(want) {
			t.Fatalf("%d topics in an order of %d, want %d", len(set.names), len(set.order), len(want))
		}
	})
}
