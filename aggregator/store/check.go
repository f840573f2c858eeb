package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dchest/siphash"

	"sekali/aggregator/dedup"
)

// checkTimes reads the events that have not expired, and counts those that were received before
// their predecessor.
func checkTimes(ctx context.Context, db *sql.DB, events layout) (fault string, err error) {
	before, n := "", 0
	err = events.page(ctx, db, Page{Limit: math.MaxInt, Bytes: math.MaxInt}, func(_ int64, r Row) bool {
		if r.ReceivedAt < before {
			n++
		}
		if r.ReceivedAt != before {
			before = strings.Clone(r.ReceivedAt) // the row's is gone with the next
		}
		return true
	})
	if err == nil && n > 0 {
		fault = fmt.Sprintf("%d events received before their predecessor", n)
	}
	return fault, err
}

// identitiesAtOnce is how many identities are compared at a time, 16 bytes each: however many
// events there are, check takes 64 MiB for it, and reads them all as often as it must.
const identitiesAtOnce = 4 << 20

// checkIdentities reads every event, about that many, and counts those whose identity an earlier
// one has. Two that are not the same are taken to be for one in 2^128.
func checkIdentities(dir string, events layout, about int64) (fault string, err error) {
	c, err := openConnReadOnly(dir)
	if err != nil {
		return "", err
	}
	defer func() {
		if e := c.close(); err == nil {
			err = e
		}
	}()
	passes := uint64(max(about, 0))/identitiesAtOnce + 1
	twice := 0
	for pass := range passes {
		n, err := identitiesTwice(c, events, pass, passes)
		if err != nil {
			return "", err
		}
		twice += n
	}
	if twice > 0 {
		fault = fmt.Sprintf("%d events stored twice", twice)
	}
	return fault, nil
}

// identitiesTwice looks at the identities whose hash falls to a pass.
func identitiesTwice(c *conn, events layout, pass, passes uint64) (twice int, err error) {
	var hashes [][2]uint64
	var text []byte
	err = events.identities(c, 0, math.MaxInt64, func(_ int64, topic, id string, _ dedup.Content) error {
		text = append(append(append(text[:0], topic...), 0), id...) // no topic holds a zero byte
		if a, b := siphash.Hash128(0, 0, text); a%passes == pass {
			hashes = append(hashes, [2]uint64{a, b})
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	slices.SortFunc(hashes, func(a, b [2]uint64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	for i := 1; i < len(hashes); i++ {
		if hashes[i] == hashes[i-1] {
			twice++
		}
	}
	return twice, nil
}
