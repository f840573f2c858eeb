package store

import (
	"cmp"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"

	"sekali/internal/sqlite"
)

// topicSet numbers the topics of a batch. What is written for each topic is written in the order of
// their names: neighbours in a B-tree are found with its pages at hand, where a hundred thousand
// topics in no order cost twice as much (-bench Topics).
type topicSet struct {
	numbers map[string]int32
	names   []string // by number
	of      []int32  // number by row; of rows that are not new, anything
	order   []int32  // the numbers in the order of the names
	counts  []int64  // by number
}

// group numbers the topics of the rows that are new. The names lie in the rows' texts.
func (t *topicSet) group(rows []Row, isNew []bool) {
	t.forget()
	if t.numbers == nil {
		t.numbers = map[string]int32{}
	}
	t.of = slices.Grow(t.of[:0], len(rows))[:len(rows)]
	before := ""
	number := int32(-1)
	for i := range rows {
		if !isNew[i] {
			continue
		}
		if topic := rows[i].Topic; number < 0 || topic != before {
			known := false
			if number, known = t.numbers[topic]; !known {
				number = int32(len(t.names))
				t.numbers[topic] = number
				t.names, t.order = append(t.names, topic), append(t.order, number)
			}
			before = topic
		}
		t.of[i] = number
	}
	slices.SortFunc(t.order, func(a, b int32) int { return strings.Compare(t.names[a], t.names[b]) })
}

// forget lets go of the rows' texts.
func (t *topicSet) forget() {
	clear(t.numbers)
	clear(t.names)
	t.names, t.order = t.names[:0], t.order[:0]
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
