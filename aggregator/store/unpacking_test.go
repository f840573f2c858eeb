package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sekali/aggregator/dedup"
)

// TestIdentitiesInTheirOrder: blocks that are unpacked beside come in order, from the middle of one
// to the middle of another; a damaged one is named once all before it have come; an error of who
// reads ends it.
func TestIdentitiesInTheirOrder(t *testing.T) {
	const blocks = 3*unpackingsInHand + 1
	s := manyBlocks(t, LayoutBlocks, blocks)
	errEnough := errors.New("enough")
	read := func(from, to, enough int64) (n, next int64, err error) {
		next = from
		err = s.layout.identities(s.writer, from, to, func(seq int64, topic, id string, _ dedup.Content) error {
			if seq != next || id != fmt.Sprint(seq-1) {
				t.Fatalf("seq %d with the id %s, want %d", seq, id, next)
			}
			n, next = n+1, next+1
			if seq == enough {
				return errEnough
			}
			return nil
		})
		return n, next, err
	}
	last := int64(blocks * blockEvents)
	for _, c := range [][2]int64{{1, last}, {blockEvents + 7, last - 7}, {blockEvents, blockEvents}, {last, last}, {last + 1, last + 9}} {
		if n, _, err := read(c[0], c[1], -1); n != max(0, min(c[1], last)-c[0]+1) || err != nil {
			t.Errorf("%v: %d events, %v", c, n, err)
		}
	}
	for _, enough := range []int64{1, 2*blockEvents + 1, last} {
		if n, _, err := read(1, last, enough); n != enough || !errors.Is(err, errEnough) {
			t.Errorf("enough at %d: %d, %v", enough, n, err)
		}
	}
	const damaged = (unpackingsInHand+1)*blockEvents + 1
	if err := s.writer.Run("UPDATE blocks SET checksum = checksum + 1 WHERE first_seq = ?", damaged); err != nil {
		t.Fatal(err)
	}
	if n, _, err := read(1, last, -1); n != damaged-1 || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("block %d:", damaged)) {
		t.Errorf("%d events, %v", n, err)
	}
}
