package store

import (
	"cmp"
	"errors"
	"hash/maphash"
	"iter"
	"maps"
	"slices"

	"sekali/internal/sqlite"
)

// topicSet numbers the topics of a batch. What is written for each topic is written in the order of
// their names: neighbours in a B-tree are found with its pages at hand, where a hundred thousand
// topics in no order cost twice as much (-bench Topics).
type topicSet struct {
	slots  []topicSlot // by hash; who finds one taken has the next. A power of two
	spare  []topicSlot // memory for the next table
	names  []string    // by number
	of     []int32     // number by row; of rows that are not new, anything
	order  []int32     // the numbers in the order of the names
	counts []int64     // by number
	sorter nameSorter
}

// topicSlot is a topic's place in the table of a topicSet.
type topicSlot struct {
	hash   uint32
	number int32 // plus 1; 0: the slot is free
}

// topicSeed keeps publishers from choosing topics of the same hash.
var topicSeed = maphash.MakeSeed()

// minTopicSlots is the size of a batch's first table: one of few topics stays in the processor's
// cache.
const minTopicSlots = 64

// group numbers the topics of the rows that are new. The names lie in the rows' texts.
func (t *topicSet) group(rows []Row, isNew []bool) {
	t.forget()
	t.of = slices.Grow(t.of[:0], len(rows))[:len(rows)]
	before := ""
	number := int32(-1)
	for i := range rows {
		if !isNew[i] {
			continue
		}
		if topic := rows[i].Topic; number < 0 || topic != before {
			number = t.number(topic)
			before = topic
		}
		t.of[i] = number
	}
	t.order = t.sorter.sort(t.names, t.order)
}

// number is a topic's number, the next one if it has none yet.
func (t *topicSet) number(topic string) int32 {
	hash := uint32(maphash.String(topicSeed, topic))
	slot := t.slot(hash, topic)
	if slot.number == 0 {
		if 2*len(t.names) >= len(t.slots) { // half of them stay free
			t.grow()
			slot = t.slot(hash, topic)
		}
		t.names = append(t.names, topic)
		*slot = topicSlot{hash, int32(len(t.names))}
	}
	return slot.number - 1
}

// slot is where a topic is, or where it belongs.
func (t *topicSet) slot(hash uint32, topic string) *topicSlot {
	for at := int(hash); ; at++ {
		slot := &t.slots[at&(len(t.slots)-1)]
		if slot.number == 0 || slot.hash == hash && t.names[slot.number-1] == topic {
			return slot
		}
	}
}

// grow doubles the table.
func (t *topicSet) grow() {
	t.slots, t.spare = slices.Grow(t.spare[:0], 2*len(t.slots))[:2*len(t.slots)], t.slots
	clear(t.slots)
	for _, s := range t.spare {
		if s.number > 0 {
			*t.slot(s.hash, t.names[s.number-1]) = s
		}
	}
}

// forget lets go of the rows' texts.
func (t *topicSet) forget() {
	clear(t.names)
	t.names, t.order = t.names[:0], t.order[:0]
	t.slots = slices.Grow(t.slots[:0], minTopicSlots)[:minTopicSlots]
	clear(t.slots)
}

// bytes is the length of all names.
func (t *topicSet) bytes() (n int) {
	for _, name := range t.names {
		n += len(name)
	}
	return n
}

const upsertTopic = "INSERT INTO topics (name, events) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET events = events + excluded.events"

// countTopics adds the rows that are stored.
func (a *Applier) countTopics(c *sqlite.Conn) error {
	t := &a.bound.topics
	t.counts = slices.Grow(t.counts[:0], len(t.names))[:len(t.names)]
	clear(t.counts)
	for i, stored := range a.stored {
		if stored {
			t.counts[t.of[i]]++
		}
	}
	return a.count(c, len(t.order), t.bytes(), func(yield func(string, int64) bool) {
		for _, n := range t.order {
			if t.counts[n] > 0 && !yield(t.names[n], t.counts[n]) { // else all of its rows were refused
				return
			}
		}
	})
}

// uncountTopics takes events off, of which topics may have less than topic_counts.
func (a *Applier) uncountTopics(c *sqlite.Conn, gone map[string]int64) error {
	names, bytes := slices.Sorted(maps.Keys(gone)), 0
	for _, name := range names {
		bytes += len(name)
	}
	return a.count(c, len(names), bytes, func(yield func(string, int64) bool) {
		for _, name := range names {
			if !yield(name, -gone[name]) {
				return
			}
		}
	})
}

// count adds events of topics, in the order of their names, to the table topics, or, of many
// topics, as a run.
func (a *Applier) count(c *sqlite.Conn, topics, bytes int, each iter.Seq2[string, int64]) error {
	if topics >= cmp.Or(a.store.countsFrom, countsFrom) {
		return a.countInRun(c, each)
	}
	if err := a.texts.Reset(c, bytes); err != nil {
		return err
	}
	s, err := c.Prepare(upsertTopic)
	if err != nil {
		return err
	}
	for name, events := range each {
		if err := errors.Join(s.BindText(1, a.texts.Add(name)), s.BindInt(2, events)); err != nil {
			return err
		}
		if _, err := s.Run(); err != nil {
			return err
		}
	}
	return nil
}

// eachTopic runs sql with every topic as its first parameter, and the topic's number as its second.
func (a *Applier) eachTopic(c *sqlite.Conn, topics map[string]int64, sql string) error {
	size := 0
	for topic := range topics {
		size += len(topic)
	}
	if err := a.texts.Reset(c, size); err != nil {
		return err
	}
	s, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	for topic, n := range topics {
		if err := errors.Join(s.BindText(1, a.texts.Add(topic)), s.BindInt(2, n)); err != nil {
			return err
		}
		if _, err := s.Run(); err != nil {
			return err
		}
	}
	return nil
}
