package audit

import (
	"math"
	"time"
)

// Outside is what a reader saw of commits while the load lasted, and what the server told of them.
type Outside struct {
	Sightings []Sighting // in the order in which they were made
	// Told is how long the server says that events waited, from accepted to committed, as [µs, count];
	// it is of the events that were committed From one moment Until another. nil: it is not held to
	// anything.
	Told        [][2]int64
	From, Until time.Time
}

// Waits is how long the stored events waited, as a reader from outside bounds it: an event that an
// answer lacks was not committed when it was asked for, and one that it has is committed. So an
// event waited
//
//	at least  from its acknowledgement until the last question whose answer lacks it,
//	at most   from its sending until the first answer that has it, or one behind it.
type Waits struct {
	Looks     int       `json:"looks"`   // answers that were read
	Read      int       `json:"read"`    // events in them
	Share     float64   `json:"share"`   // of the time between the first look and the last that one was under way
	Bounded   uint64    `json:"bounded"` // events that a look came after
	AtLeastMS Quantiles `json:"at_least_ms"`
	AtMostMS  Quantiles `json:"at_most_ms"`
}

// Quantiles of a distribution, to 1 %.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

const (
	// bucketWidth is the ratio of the ends of a bucket.
	bucketWidth = 1.01
	// buckets hold up to 2^32 µs.
	buckets = 2300
	// toldSlack is how much longer than the server says an event may have waited: the process may not
	// have run between a commit and the clock.
	toldSlack = 10 * time.Millisecond
)

// ToldTooShort is the check of the server's histogram of waits. A run that is too long for times to
// be held, or that was interrupted, has none.
const ToldTooShort = "waited_longer_than_told"

// clock counts durations.
type clock [buckets]uint64

func (c *clock) add(d time.Duration) {
	if us := float64(d) / 1e3; us > 1 {
		c[min(buckets-1, int(math.Log(us)/math.Log(bucketWidth)))]++
	} else {
		c[0]++
	}
}

// edge is the lower end of a bucket; the upper one is the next one's.
func edge(bucket int) time.Duration {
	if bucket == 0 {
		return 0
	}
	return time.Duration(math.Pow(bucketWidth, float64(bucket)) * 1e3)
}

// quantiles are the lower ends of buckets, or the upper ones.
func (c *clock) quantiles(upper int) Quantiles {
	var all, before uint64
	for _, n := range c {
		all += n
	}
	var q Quantiles
	for i, n := range c {
		if n == 0 {
			continue
		}
		ms := float64(edge(i+upper).Round(time.Microsecond)) / 1e6
		for _, to := range []struct {
			part  float64
			value *float64
		}{{0.5, &q.P50}, {0.9, &q.P90}, {0.99, &q.P99}, {1, &q.Max}} {
			if place := to.part * float64(all); float64(before) < place && place <= float64(before+n) {
				*to.value = ms
			}
		}
		before += n
	}
	return q
}

// waits bounds each event's wait as the events come, by rising seq.
type waits struct {
	outside Outside
	shown   int       // the first look that has shown the event, or one behind it
	lacked  time.Time // when the last answer without it was asked for

	bounded         uint64
	atLeast, atMost clock
	told            clock // at least, of those that are surely within the server's own window
}

func newWaits(outside *Outside) *waits {
	if outside == nil {
		return nil
	}
	return &waits{outside: *outside}
}

// add takes the next event: when it was first sent, and first acknowledged; the zero time: never.
func (w *waits) add(seq int64, sent, done time.Time) {
	looks := w.outside.Sightings
	for ; w.shown < len(looks) && looks[w.shown].last < seq; w.shown++ {
		if looks[w.shown].whole {
			w.lacked = looks[w.shown].Asked
		}
	}
	if w.shown == len(looks) {
		return // committed after the last look
	}
	w.bounded++
	w.atMost.add(looks[w.shown].Answered.Sub(sent))
	var least time.Duration
	if !done.IsZero() && w.lacked.After(done) {
		least = w.lacked.Sub(done)
	}
	w.atLeast.add(least)
	if !w.lacked.Before(w.outside.From) && looks[w.shown].Answered.Before(w.outside.Until) {
		w.told.add(least)
	}
}

// check counts the events that waited longer than the server's histogram has room for: of no
// duration may it count fewer that were longer than were seen to be.
func (w *waits) check() []Check {
	if w.outside.Told == nil {
		return nil
	}
	var tooShort uint64
	var longer [buckets + 1]uint64 // from outside, by bucket
	for i := buckets - 1; i >= 0; i-- {
		longer[i] = longer[i+1] + w.told[i]
	}
	for i := range buckets {
		// Of the events in bucket i and beyond, the server must have counted as many as longer than this.
		bound := int64((edge(i) - toldSlack) / time.Microsecond)
		if longer[i] == 0 || bound <= 0 {
			continue
		}
		var told uint64
		for _, pair := range w.outside.Told {
			if float64(pair[0])*bucketWidth >= float64(bound) {
				told += uint64(pair[1])
			}
		}
		tooShort = max(tooShort, max(longer[i], told)-told)
	}
	return []Check{None(ToldTooShort, tooShort)}
}

// report is what was bounded.
func (w *waits) report() *Waits {
	r := &Waits{Bounded: w.bounded, AtLeastMS: w.atLeast.quantiles(0), AtMostMS: w.atMost.quantiles(1)}
	looks := w.outside.Sightings
	var asking time.Duration
	for _, s := range looks {
		r.Looks++
		r.Read += s.shown
		asking += s.Answered.Sub(s.Asked)
	}
	if r.Looks > 1 {
		r.Share = math.Round(1e4*float64(asking)/float64(looks[r.Looks-1].Answered.Sub(looks[0].Asked))) / 1e4
	}
	return r
}
