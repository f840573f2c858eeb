package audit

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// Sighting is what could be read, at the moment when the aggregator called them committed, of the
// numbers above From, up to To.
type Sighting struct {
	From, To        int64
	Asked, Answered time.Time // of the page
	Unread          bool      // nothing could be read at all

	last  int64 // the highest number that was shown; From: none
	whole bool  // the page said that nothing follows it
	shown int
	seen  []held
}

// See notes the events of a page, of which those beyond To were committed since.
func (s *Sighting) See(events []Event, whole bool) {
	s.last, s.whole, s.shown = s.From, whole, len(events)
	for i := range events {
		e := &events[i]
		if e.Seq <= s.To {
			s.seen = append(s.seen, held{seq: e.Seq, hash: hashOf(e)})
		}
		s.last = max(s.last, e.Seq)
	}
}

// Sightings makes the reference hold what they should have seen, wherever that is in the export. It
// is for before the first event.
func (r *Reference) Sightings(all []Sighting) {
	r.sightings = slices.Clone(all)
	slices.SortStableFunc(r.sightings, func(a, b Sighting) int { return cmp.Compare(a.To, b.To) })
}

// sight holds an event that a sighting should have seen. Sightings are of equally many numbers, so
// that the first one that ends at the event or behind it also begins first.
func (r *Reference) sight(seq int64, hash uint64) {
	for r.sightingAt < len(r.sightings) && r.sightings[r.sightingAt].To < seq {
		r.sightingAt++
	}
	if r.sightingAt < len(r.sightings) && r.sightings[r.sightingAt].From < seq {
		r.sighted = append(r.sighted, held{seq: seq, hash: hash})
	}
}

// Missed counts the sightings that are not what the export has at their place.
func (r *Reference) Missed() (missed uint64) {
	for _, s := range r.sightings {
		at := sort.Search(len(r.sighted), func(i int) bool { return r.sighted[i].seq > s.From })
		end := sort.Search(len(r.sighted), func(i int) bool { return r.sighted[i].seq > s.To })
		if s.Unread || !sameEvents(s.seen, r.sighted[at:end]) {
			missed++
		}
	}
	return missed
}

func sameEvents(a, b []held) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].seq != b[i].seq || a[i].hash != b[i].hash {
			return false
		}
	}
	return true
}

// CheckSame holds a later export to this one: how many events it has more or less, or 1 where they
// say something else.
func (r *Reference) CheckSame(later *Reference) Check {
	wrong := max(r.count, later.count) - min(r.count, later.count)
	if wrong == 0 && r.sum != later.sum {
		wrong = 1
	}
	return None("changed_on_disk", wrong)
}
