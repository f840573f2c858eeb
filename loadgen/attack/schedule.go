package attack

import (
	"math"
	"sort"
	"time"
)

// segment is a run of phases that one vegeta attack sends: open-loop phases that
// follow each other share one, so that a phase begins when it is due even if the
// one before is still waiting for answers. A closed-loop phase has its own.
type segment struct {
	phases []scheduled
	open   bool
	end    uint64 // requests of the segment; unlimited if only a duration ends it
}

// scheduled is a phase at its place within a segment.
type scheduled struct {
	Phase
	index int           // into Config.Phases
	start time.Duration // since the segment's start
	first uint64        // its first request, counted from the segment's first
	due   func(i uint64) time.Duration
}

const unlimited = math.MaxUint64

// segments cuts the phases where the kind of loop changes.
func segments(phases []Phase) []segment {
	var cut []segment
	for i, p := range phases {
		if p.Rate == 0 {
			end := p.Requests
			if end == 0 {
				end = unlimited
			}
			cut = append(cut, segment{phases: []scheduled{{Phase: p, index: i}}, end: end})
			continue
		}
		if len(cut) == 0 || !cut[len(cut)-1].open {
			cut = append(cut, segment{open: true})
		}
		s := &cut[len(cut)-1]
		next := scheduled{Phase: p, index: i, first: s.end, due: p.Schedule()}
		if n := len(s.phases); n > 0 {
			next.start = s.phases[n-1].start + s.phases[n-1].lasts()
		}
		s.phases = append(s.phases, next)
		s.end += p.planned()
	}
	return cut
}

// phaseOf is the phase of the i-th request of the segment.
func (s *segment) phaseOf(i uint64) *scheduled {
	after := sort.Search(len(s.phases), func(k int) bool { return s.phases[k].first > i })
	return &s.phases[after-1]
}

// due is when the i-th request of an open-loop segment is to be sent, since the
// segment's start.
func (s *segment) due(i uint64) time.Duration {
	p := s.phaseOf(i)
	return p.start + p.due(i-p.first)
}
