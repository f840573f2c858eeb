package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// TestTruncatable: who holds the log, for how long, and that two stores are left.
func TestTruncatable(t *testing.T) {
	now := time.Unix(1000, 0)
	const keep = 1000
	type node struct {
		position uint64
		silent   time.Duration
		beat     Beat
		never    bool // it has never told anything
		unasked  bool
	}
	for name, c := range map[string]struct {
		own     uint64
		bytes   int64
		most    int64
		first   uint64
		b, c    node
		change  func(*status)
		through uint64 // 0: nothing can be removed
		dropped string
	}{
		"all have it":                     {own: 5000, b: node{position: 4000}, c: node{position: 3000}, through: 3000},
		"this one is the last":            {own: 2000, b: node{position: 4000}, c: node{position: 3000}, through: 2000},
		"too few to be worth it":          {own: 5000, b: node{position: 4000}, c: node{position: 200}},
		"an absent one holds":             {own: 5000, bytes: keep, b: node{position: 4000}, c: node{position: 600, silent: time.Minute}, through: 600},
		"up to -log-keep":                 {own: 5000, bytes: keep + 1, b: node{position: 4000}, c: node{position: 600, silent: time.Minute}, through: 4000, dropped: "c"},
		"and three quarters of the log":   {own: 5000, bytes: 760, most: 1000, b: node{position: 4000}, c: node{position: 600, silent: time.Minute}, through: 4000, dropped: "c"},
		"a present one beyond it":         {own: 5000, bytes: 10 * keep, b: node{position: 4000}, c: node{position: 600, silent: time.Second}, through: 600},
		"one that has fallen off":         {own: 5000, first: 700, b: node{position: 4000}, c: node{position: 600, silent: time.Minute}, through: 4000},
		"one that has halted":             {own: 5000, bytes: keep + 1, b: node{position: 4000}, c: node{position: 600, beat: Beat{Halted: "diverged"}}, through: 4000, dropped: "c"},
		"a forgotten one":                 {own: 5000, b: node{position: 4000}, c: node{position: 600, silent: time.Hour, beat: Beat{Forgotten: true}}, through: 4000},
		"one that never was there":        {own: 5000, b: node{position: 4000}, c: node{never: true, silent: time.Minute}},
		"nor comes before it is full":     {own: 5000, bytes: keep + 1, b: node{position: 4000}, c: node{never: true, silent: time.Minute}, through: 4000, dropped: "c"},
		"one that was not asked for":      {own: 5000, b: node{position: 4000}, c: node{unasked: true}},
		"no second store":                 {own: 5000, bytes: 10 * keep, b: node{position: 4000, silent: time.Hour}, c: node{position: 4000, beat: Beat{Halted: "x"}}},
		"who joins is no store":           {own: 5000, b: node{position: 4000, silent: time.Hour}, c: node{position: 4000, beat: Beat{Joining: true}}},
		"and holds":                       {own: 5000, bytes: 10 * keep, b: node{position: 4000}, c: node{position: 2000, beat: Beat{Joining: true}}, through: 2000},
		"nor with the others forgotten":   {own: 5000, b: node{position: 4000, beat: Beat{Forgotten: true}}, c: node{position: 4000, beat: Beat{Forgotten: true}}},
		"this one has halted":             {own: 5000, b: node{position: 4000}, c: node{position: 3000}, change: func(s *status) { s.halted = errors.New("x") }},
		"the log cannot be asked":         {own: 5000, b: node{position: 4000}, c: node{position: 3000}, change: func(s *status) { s.headErr = errors.New("x") }},
		"two absent, the further behind":  {own: 9000, bytes: keep + 1, b: node{position: 8000}, c: node{position: 600, silent: time.Hour}, change: func(s *status) { s.away("d", 3000, now) }, through: 3000, dropped: "c"},
		"one at the second store's place": {own: 5000, bytes: keep + 1, b: node{position: 4000}, c: node{position: 4500, silent: time.Hour}, through: 4000},
	} {
		s := &status{head: Head{First: max(c.first, 1), Last: 9000, Bytes: c.bytes, MaxBytes: c.most, Nodes: []string{"a", "b", "c"}},
			applied: Checkpoint{Position: c.own}, beats: map[string]Beat{}, heard: map[string]heard{}}
		for name, n := range map[string]node{"b": c.b, "c": c.c} {
			if !n.unasked {
				s.heard[name] = heard{1, now.Add(-n.silent)}
			}
			if n.beat.Position = n.position; !n.never && !n.unasked {
				s.beats[name] = n.beat
			}
		}
		if c.change != nil {
			c.change(s)
		}
		through, dropped, ok := s.truncatable("a", keep, now)
		if ok != (c.through > 0) || ok && through != c.through || ok && c.dropped == "" != (len(dropped) == 0) || c.dropped != "" && !slices.Equal(dropped, []string{c.dropped}) {
			t.Errorf("%s: through %d, %v, dropped %v; want %d, dropped %q", name, through, ok, dropped, c.through, c.dropped)
		}
	}
}

// away adds a node that has been silent for an hour.
func (s *status) away(name string, position uint64, now time.Time) {
	s.head.Nodes = append(s.head.Nodes, name)
	s.beats[name] = Beat{Position: position}
	s.heard[name] = heard{1, now.Add(-time.Hour)}
}

// TestSilenceIsByTheOwnClock: a node counts as absent by when its word has changed, and not by the
// time in it, which is another clock's.
func TestSilenceIsByTheOwnClock(t *testing.T) {
	n := &Node{status: status{heard: map[string]heard{}}}
	begun := time.Unix(1000, 0)
	n.noteHeard("b", 7, begun)
	n.noteHeard("b", 7, begun.Add(time.Minute))
	if at := n.status.heard["b"].changed; !at.Equal(begun) {
		t.Errorf("the same word again counts as a new one: %v", at)
	}
	n.noteHeard("b", 8, begun.Add(time.Hour))
	if at := n.status.heard["b"].changed; !at.Equal(begun.Add(time.Hour)) {
		t.Errorf("a new word does not count: %v", at)
	}
}

// TestPinContradictsNobody: who joins has no hash yet at the position that it holds. That is no
// other hash.
func TestPinContradictsNobody(t *testing.T) {
	n := &Node{status: status{applied: Checkpoint{50, Hash{1}}, beats: map[string]Beat{"b": {Position: 50}, "c": {Position: 50}}}}
	if err := n.compare(); err != nil || n.status.doubt != "" {
		t.Errorf("%v, %q", err, n.status.doubt)
	}
}

// wordsOf is a registry in which each node has told something, once.
type wordsOf map[string]string

func (w wordsOf) Get(_ context.Context, node string) ([]byte, uint64, error) {
	return []byte(w[node]), uint64(min(len(w[node]), 1)), nil
}

func (w wordsOf) Put(context.Context, string, []byte, uint64) (uint64, error) { return 0, ErrReplaced }

// TestWhoJoinsIsNoStore: the journal is kept until the event is in a second store, and neither who
// joins, nor who has halted or was forgotten, counts as one.
func TestWhoJoinsIsNoStore(t *testing.T) {
	for more, want := range map[string]uint64{`"joining":true`: 0, `"halted":"x"`: 0, `"forgotten":true`: 0, `"node":"b"`: 70} {
		n := &Node{cfg: Config{Name: "a", Registry: wordsOf{"b": `{"position":70,` + more + `}`}}, Replica: &Replica{},
			status: status{head: Head{Nodes: []string{"a", "b", "c"}}, beats: map[string]Beat{}, heard: map[string]heard{}}}
		n.hear(t.Context())
		if n.status.elsewhere != want {
			t.Errorf("%s: the furthest other store is at %d, want %d", more, n.status.elsewhere, want)
		}
	}
}
