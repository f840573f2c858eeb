package audit

import "sort"

// Sighting is what could be read, while events were committed, of the numbers that the aggregator
// called committed at that moment: those above From, up to To.
type Sighting struct {
	From, To int64
	Unread   bool // nothing could be read at all
	seen     []held
}

// See notes the events of a page, of which those beyond To were committed since.
func (s *Sighting) See(events []Event) {
	for i := range events {
		if e := &events[i]; e.Seq <= s.To {
			s.seen = append(s.seen, held{seq: e.Seq, hash: hashOf(e)})
		}
	}
}

// Missed counts the sightings that are not what the export has at their place. Beyond what is held
// of the export only the order of the numbers could be compared, and is not.
func (r *Reference) Missed(sightings []Sighting) (missed uint64) {
	for _, s := range sightings {
		if len(r.held) == maxHeld && s.To > r.held[maxHeld-1].seq {
			continue
		}
		at := sort.Search(len(r.held), func(i int) bool { return r.held[i].seq > s.From })
		end := sort.Search(len(r.held), func(i int) bool { return r.held[i].seq > s.To })
		if s.Unread || !sameEvents(s.seen, r.held[at:end]) {
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
