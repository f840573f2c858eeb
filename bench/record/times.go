package record

import (
	"maps"
	"math"
	"slices"
	"time"
)

// bucketWidth is the ratio of the ends of a bucket of Times.
const bucketWidth = 1.01

// Clock counts durations for a Times.
type Clock map[uint64]uint64

// Add counts one.
func (c Clock) Add(d time.Duration) {
	us := float64(d) / 1e3
	if us <= 1 {
		c[0]++
		return
	}
	c[uint64(math.Ceil(math.Log(us)/math.Log(bucketWidth)))]++
}

// Times are the durations that were counted.
func (c Clock) Times() Times {
	t := Times{}
	last := uint64(0)
	for _, bucket := range slices.Sorted(maps.Keys(c)) {
		t = append(t, [2]uint64{bucket - last, c[bucket]})
		last = bucket
	}
	return t
}

// Count is how many there are.
func (t Times) Count() (n uint64) {
	for _, pair := range t {
		n += pair[1]
	}
	return n
}

// QuantileMS is the upper end of the bucket that the quantile q lies in, in milliseconds; false if
// there are none.
func (t Times) QuantileMS(q float64) (float64, bool) {
	before, bucket := uint64(0), uint64(0)
	place := uint64(q * float64(t.Count()))
	for _, pair := range t {
		bucket += pair[0]
		if before += pair[1]; before > place {
			return math.Pow(bucketWidth, float64(bucket)) / 1e3, true
		}
	}
	return 0, false
}
