package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sekali/aggregator/event"
	"sekali/aggregator/store"
)

// rowsOf are rows of these topics, each with an id of its own from the number on.
func rowsOf(first int64, topics ...string) (rows []store.Row) {
	for i, topic := range topics {
		rows = append(rows, store.Row{Event: event.Event{Topic: topic, ID: fmt.Sprint(first + int64(i)), Timestamp: "2026-11-23T06:41:10Z"}})
	}
	return rows
}

func told(w *Watch) bool {
	select {
	case <-w.C:
		return true
	default:
		return false
	}
}

// TestWatchTellsItsTopic: a watch is told of stored events of its topic, and of nothing else.
func TestWatchTellsItsTopic(t *testing.T) {
	p := &Pipeline{}
	a, b, all := p.Watch("a"), p.Watch("b"), p.Watch("")
	for _, test := range []struct {
		topics     []string
		stored     []bool
		a, b, each bool
	}{
		{nil, nil, false, false, false},
		{[]string{"a", "a", "c"}, []bool{true, true, true}, true, false, true},
		{[]string{"a", "b"}, []bool{false, true}, false, true, true},
		{[]string{"a", "b"}, []bool{false, false}, false, false, false},
		{[]string{"c"}, []bool{true}, false, false, true},
	} {
		first := p.watches.recent.to + 1
		p.watches.tell(first, rowsOf(first, test.topics...), test.stored, 0)
		if x, y, z := told(a), told(b), told(all); x != test.a || y != test.b || z != test.each {
			t.Errorf("%v stored %v: told %v %v %v, want %v %v %v", test.topics, test.stored, x, y, z, test.a, test.b, test.each)
		}
	}
	a.Stop()
	b.Stop()
	all.Stop()
	if n := len(p.watches.topics); n != 0 {
		t.Errorf("%d topics are still watched", n)
	}
}

// follow is a reader of the model: what memory does not have, it takes from the list.
type follow struct {
	*Watch
	after int64
	begin int64
	more  bool // it knows that there are more
	got   []int64
}

// watchModel is all that was stored, and who reads it.
type watchModel struct {
	p       *Pipeline
	all     []Committed
	expired int64
	readers []*follow

	fromMem, fromList int // events that were read
}

func (m *watchModel) of(topic string, after int64) (seqs []int64) {
	for i := range m.all {
		if e := &m.all[i]; e.Seq > max(after, m.expired) && (topic == "" || topic == e.Topic) {
			seqs = append(seqs, e.Seq)
		}
	}
	return seqs
}

func (m *watchModel) commit(t *rapid.T) {
	topics := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 12).Draw(t, "topics")
	first := m.p.watches.recent.to + 1
	rows, stored := rowsOf(first, topics...), make([]bool, len(topics))
	for i := range rows {
		rows[i].Payload = strings.Repeat("x", rapid.SampledFrom([]int{0, 1, 100}).Draw(t, "payload"))
		if stored[i] = rapid.Bool().Draw(t, "stored"); stored[i] {
			m.all = append(m.all, Committed{first + int64(i), rows[i]})
		}
	}
	m.p.watches.tell(first, slices.Clone(rows), stored, m.expired)
}

// read takes as many events as a page of this reader has.
func (m *watchModel) read(t *rapid.T, f *follow, most int) {
	pieces, through, ok := f.Since(f.after)
	var seqs []int64
	if ok {
		for _, piece := range pieces {
			for i := range piece {
				e := &piece[i]
				if at, found := slices.BinarySearchFunc(m.all, e.Seq, func(c Committed, seq int64) int { return int(c.Seq - seq) }); !found || m.all[at] != *e {
					t.Fatalf("%+v was not stored", e)
				}
				if e.Seq > f.after {
					seqs = append(seqs, e.Seq)
				}
			}
		}
		m.fromMem += len(seqs)
	} else {
		seqs, through = m.of(f.topic, f.after), m.p.watches.recent.to
		m.fromList += len(seqs)
	}
	if f.more = len(seqs) > most; f.more {
		seqs = seqs[:most]
		through = seqs[most-1]
	}
	f.got = append(f.got, seqs...)
	f.after = max(f.after, through)
}

// check reads to the end: nothing is missing but what had expired, nothing is there twice, and all
// is in order.
func (m *watchModel) check(t *rapid.T, f *follow) {
	if more := m.of(f.topic, f.after); len(more) > 0 && !f.more && !told(f.Watch) {
		t.Fatalf("reader of %q is at %d, and nobody told it of %v", f.topic, f.after, more)
	}
	m.read(t, f, len(m.all)+1)
	m.read(t, f, len(m.all)+1)
	if got, want := f.got, m.of(f.topic, f.begin); len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
		t.Fatalf("reader of %q from %d: %v, want the end of it to be %v", f.topic, f.begin, got, want)
	}
	for i, seq := range f.got {
		if i > 0 && seq <= f.got[i-1] || seq <= f.begin {
			t.Fatalf("reader of %q from %d: %v", f.topic, f.begin, f.got)
		}
	}
}

// TestWatchesAgainstAList: readers at random places, which read at random, get each event of their
// topic once, in order and as it was stored, from memory or from the store, whatever memory has
// room for and whatever expires. Who has read all is told of more.
func TestWatchesAgainstAList(t *testing.T) {
	fromMem, fromList := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := &watchModel{p: &Pipeline{}}
		m.p.watches.recent.most = rapid.SampledFrom([]int{0, 1500, 4000, 1 << 20}).Draw(t, "most")
		reader := func(t *rapid.T) *follow {
			if len(m.readers) == 0 {
				t.Skip("nobody reads")
			}
			return rapid.SampledFrom(m.readers).Draw(t, "reader")
		}
		t.Repeat(map[string]func(*rapid.T){
			"commit":       m.commit,
			"commit again": m.commit, // twice as often as all else
			"expire": func(t *rapid.T) {
				m.expired = rapid.Int64Range(m.expired, m.p.watches.recent.to).Draw(t, "expired")
				m.p.watches.expire(m.expired)
			},
			"open": func(t *rapid.T) {
				topic := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "topic")
				begin := m.p.watches.recent.to
				if rapid.Bool().Draw(t, "before the end") {
					begin = rapid.Int64Range(0, begin).Draw(t, "begin")
				}
				m.readers = append(m.readers, &follow{Watch: m.p.Watch(topic), after: begin, begin: begin, more: true})
			},
			"read": func(t *rapid.T) {
				f := reader(t)
				if told(f.Watch) || f.more {
					m.read(t, f, rapid.IntRange(1, 9).Draw(t, "page"))
				}
			},
			"stop": func(t *rapid.T) {
				f := reader(t)
				m.check(t, f)
				f.Stop()
				m.readers = slices.DeleteFunc(m.readers, func(other *follow) bool { return other == f })
			},
			"": func(t *rapid.T) {
				r, bytes := &m.p.watches.recent, 0
				for _, c := range r.commits {
					bytes += c.bytes
				}
				if bytes != r.bytes || bytes > r.most || len(m.readers) == 0 && bytes > 0 {
					t.Fatalf("%d bytes are kept, counted %d, for %d readers, at most %d", bytes, r.bytes, len(m.readers), r.most)
				}
			},
		})
		for _, f := range m.readers {
			m.check(t, f)
			f.Stop()
		}
		fromMem += m.fromMem
		fromList += m.fromList
	})
	if fromMem < 100 || fromList < 100 {
		t.Errorf("%d events from memory and %d from the list: nothing was tried", fromMem, fromList)
	}
}
