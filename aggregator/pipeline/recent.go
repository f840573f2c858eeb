package pipeline

import (
	"cmp"
	"slices"
	"strings"
	"unsafe"

	"sekali/aggregator/event"
	"sekali/aggregator/store"
)

// RecentBytes bounds the newest events of the watched topics that are kept in memory: 25 000 of the
// lab's. A stream that rests for 50 ms finds them there at half a million a second.
const RecentBytes = 8 << 20

const (
	committedBytes = int(unsafe.Sizeof(Committed{}))
	commitBytes    = 512 // of a commit beside its events and topics: more than its empty map takes
	topicBytes     = 96  // of each topic in it
)

// Committed is an event and the seq under which it is stored.
type Committed struct {
	Seq int64
	store.Row
}

// recent is the newest committed events of the topics that are watched: all with from < seq <= to.
type recent struct {
	from, to int64
	most     int // bytes
	bytes    int // of all commits
	commits  []*commit
}

// commit is what one commit has of the watched topics. It does not change.
type commit struct {
	last  int64 // its highest seq
	bytes int
	of    map[string][]Committed // by topic; of "" all, where somebody watches all
}

// since returns the events of a topic behind a seq, from <= seq <= to, and may begin before them.
func (r *recent) since(seq int64, topic string) (events [][]Committed) {
	first, _ := slices.BinarySearchFunc(r.commits, seq+1, func(c *commit, seq int64) int { return cmp.Compare(c.last, seq) })
	for _, c := range r.commits[first:] {
		if of := c.of[topic]; len(of) > 0 {
			events = append(events, of)
		}
	}
	return events
}

// add goes on to a seq with what a commit has up to it; nil: nothing that is watched.
func (r *recent) add(to int64, c *commit) {
	r.to = to
	if c == nil {
		return
	}
	r.commits = append(r.commits, c)
	for r.bytes += c.bytes; r.bytes > r.most; {
		r.drop()
	}
}

// drop lets go of the oldest commit.
func (r *recent) drop() {
	c := r.commits[0]
	r.bytes -= c.bytes
	r.from = c.last
	r.commits[0] = nil
	r.commits = r.commits[1:]
}

// expire lets go of what has expired, up to a seq.
func (r *recent) expire(through int64) {
	for len(r.commits) > 0 && r.commits[0].last <= through {
		r.drop()
	}
	r.from = max(r.from, min(through, r.to))
}

// forget lets go of everything.
func (r *recent) forget() { r.from, r.bytes, r.commits = r.to, 0, nil }

// tell keeps the stored rows of a commit, of which the first has this seq, as far as they are
// watched, and wakes those who watch. Everything up to expired has expired.
func (s *watches) tell(first int64, rows []store.Row, stored []bool, expired int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := first - 1 + int64(len(rows))
	if len(s.topics) == 0 {
		s.recent.to = to
		s.recent.forget()
		return
	}
	told, kept, bytes := s.look(rows, stored)
	switch {
	case len(told) == 0:
		s.recent.add(to, nil)
	case bytes > s.recent.most: // there are too many to keep: the store has them
		s.recent.to = to
		s.recent.forget()
	default:
		s.recent.add(to, s.keep(first, rows, kept, to, bytes))
	}
	s.recent.expire(expired)
	for _, topic := range told {
		topic.rows = 0
		for w := range topic.open {
			if w.told < 0 {
				w.told = first - 1
			}
			wake(w.ready)
		}
	}
}

// expire says that everything up to a seq has expired.
func (s *watches) expire(through int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent.expire(through)
}

// look finds what of the rows is watched, by whom, and how many bytes it would take to keep. Of
// what is too much to keep it need not find all.
func (s *watches) look(rows []store.Row, stored []bool) (told []*watched, kept []int, bytes int) {
	all := s.topics[""]
	bytes = commitBytes
	var of *watched
	before := "" // no topic
	for i := range rows {
		if !stored[i] {
			continue
		}
		if t := rows[i].Topic; t != before { // neighbours are often of one topic
			of, before = s.topics[t], t
		}
		if of == nil && all == nil {
			continue
		}
		for _, w := range [...]*watched{of, all} {
			if w == nil {
				continue
			}
			if w.rows == 0 {
				told, bytes = append(told, w), bytes+topicBytes
			}
			w.rows++
			bytes += committedBytes
		}
		if bytes += textBytes(&rows[i]); bytes <= s.recent.most {
			kept = append(kept, i)
		}
	}
	return told, kept, bytes
}

// textBytes is the length of a row's texts.
func textBytes(r *store.Row) int {
	return len(r.Topic) + len(r.ID) + len(r.Timestamp) + len(r.Source) + len(r.Payload) + len(r.ReceivedAt)
}

// keep copies rows: their texts are used again once the batch is done.
func (s *watches) keep(first int64, rows []store.Row, kept []int, last int64, bytes int) *commit {
	size := 0
	for _, i := range kept {
		size += textBytes(&rows[i])
	}
	var texts strings.Builder
	texts.Grow(size)
	for _, i := range kept {
		r := &rows[i]
		for _, text := range [...]string{r.Topic, r.ID, r.Timestamp, r.Source, r.Payload, r.ReceivedAt} {
			texts.WriteString(text)
		}
	}
	rest := texts.String()
	cut := func(text string) string {
		own := rest[:len(text)]
		rest = rest[len(text):]
		return own
	}
	c := &commit{last, bytes, map[string][]Committed{}}
	for _, i := range kept {
		r := &rows[i]
		e := Committed{first + int64(i), store.Row{
			Event:      event.Event{Topic: cut(r.Topic), ID: cut(r.ID), Timestamp: cut(r.Timestamp), Source: cut(r.Source), Payload: cut(r.Payload)},
			ReceivedAt: cut(r.ReceivedAt),
		}}
		for _, topic := range [...]string{e.Topic, ""} {
			w := s.topics[topic]
			if w == nil {
				continue
			}
			if c.of[topic] == nil {
				c.of[topic] = make([]Committed, 0, w.rows)
			}
			c.of[topic] = append(c.of[topic], e)
		}
	}
	return c
}
