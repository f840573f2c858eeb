package cluster

import (
	"context"
	"errors"
	"fmt"
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
		"not all words are known":         {own: 5000, b: node{position: 4000}, c: node{position: 3000}, change: func(s *status) { s.heardFirst = 0 }},
		"the log began later since":       {own: 5000, first: 700, b: node{position: 4000}, c: node{position: 600, silent: time.Minute}, change: func(s *status) { s.heardFirst = 500 }},
		"two absent, the further behind":  {own: 9000, bytes: keep + 1, b: node{position: 8000}, c: node{position: 600, silent: time.Hour}, change: func(s *status) { s.away("d", 3000, now) }, through: 3000, dropped: "c"},
		"one at the second store's place": {own: 5000, bytes: keep + 1, b: node{position: 4000}, c: node{position: 4500, silent: time.Hour}, through: 4000},
	} {
		s := &status{head: Head{First: max(c.first, 1), Last: 9000, Bytes: c.bytes, MaxBytes: c.most, Nodes: []string{"a", "b", "c"}},
			applied: Checkpoint{Position: c.own}, beats: map[string]Beat{}, heard: map[string]heard{}, heardFirst: max(c.first, 1)}
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

// serverOf is a leader of the registry: what it has of each node, under which revision; "": it does
// not answer.
type serverOf map[string]struct {
	revision uint64
	value    string
}

func (s serverOf) Get(_ context.Context, node string) ([]byte, uint64, error) {
	if s[node].value == "" {
		return nil, 0, ErrUnreachable
	}
	return []byte(s[node].value), s[node].revision, nil
}

func (s serverOf) Put(context.Context, string, []byte, uint64) (uint64, error) {
	return 0, ErrReplaced
}

// TestOldWordsLetNobodyGo: a leader of the registry that was cut off has a position of a slow node
// from before the log was truncated up to a later one. Nothing is removed by such words: the slow
// node has not applied yet what would be.
func TestOldWordsLetNobodyGo(t *testing.T) {
	long := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		session bool   // the server has a word of this life of the node that looks …
		first   uint64 // … from when the log began there
		slow    uint64 // revision that it has of the slow one, of which 31 was heard; 0: it does not answer
		heard   uint64 // the words are all that was told when the log began there; 0: they are not
	}{
		"the server has all":           {true, 4501, 31, 4501},
		"it has a newer word":          {true, 4501, 32, 4501},
		"it is behind":                 {true, 3500, 31, 3500},
		"it has an earlier life's":     {false, 4501, 31, 0},
		"the slow one cannot be asked": {true, 4501, 0, 0},
		"an older word than was heard": {true, 4501, 30, 0},
	} {
		outbox, session := NewOutbox(), ""
		if c.session {
			session = outbox.session.String()
		}
		server := serverOf{"a": {40, fmt.Sprintf(`{"session":%q,"first":%d}`, session, c.first)}, "b": {50, `{"position":9000}`}, "c": {c.slow, fmt.Sprintf(`{"position":%d}`, 4000+10*c.slow)}}
		if c.slow == 0 {
			delete(server, "c")
		}
		n := &Node{cfg: Config{Name: "a", Registry: server}, Outbox: outbox, Replica: &Replica{}, status: status{applied: Checkpoint{Position: 9000}, heardAll: time.Now(),
			head: Head{First: 4501, Last: 9000, Nodes: []string{"a", "b", "c"}}, beats: map[string]Beat{"c": {Position: 4310}}, heard: map[string]heard{"c": {31, long}}}}
		n.hear(t.Context())
		if n.status.heardFirst != c.heard {
			t.Errorf("%s: all was heard when the log began at %d, want %d", name, n.status.heardFirst, c.heard)
		}
		if through, _, ok := n.status.truncatable("a", 1<<30, time.Now()); ok && (c.heard < 4501 || c.slow > 31) {
			t.Errorf("%s: the log would be truncated through %d", name, through)
		} else if !ok && c.heard == 4501 && c.slow == 31 {
			t.Errorf("%s: who has fallen off the log holds it", name)
		}
		if c.slow == 30 && n.status.beats["c"].Position != 4310 {
			t.Errorf("%s: an older word replaces a newer one", name)
		}
	}
}

// TestEarliestClock: the time by which something expires is the earliest of those of the nodes that
// are there. What a node has told tells its clock, and how long ago that was this one's. Without
// another that may be there, it is not known.
func TestEarliestClock(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		beat   Beat
		silent time.Duration
		behind time.Duration
		known  bool
	}{
		"one that is ahead":         {Beat{At: now.Add(time.Hour)}, 0, 0, true},
		"one that is behind":        {Beat{At: now.Add(-time.Hour)}, 0, time.Hour, true},
		"it has told 5 s ago":       {Beat{At: now.Add(-time.Hour - 5*time.Second)}, 5 * time.Second, time.Hour, true},
		"one that is away":          {Beat{At: now.Add(-time.Hour)}, time.Minute, 0, false},
		"one that has ended":        {Beat{At: now.Add(-time.Hour), Left: true}, 0, 0, false},
		"one that was forgotten":    {Beat{At: now.Add(-time.Hour), Forgotten: true}, 0, 0, true},
		"one that has told no time": {Beat{}, 0, 0, false},
	} {
		n := &Node{cfg: Config{Name: "a"}, status: status{head: Head{Nodes: []string{"a", "b"}}, beats: map[string]Beat{"b": c.beat},
			heard: map[string]heard{"b": {1, now.Add(-c.silent)}}}}
		earliest, known := n.Earliest(now)
		if got := now.Sub(earliest); (got-c.behind).Abs() > time.Second || known != c.known {
			t.Errorf("%s: the earliest is %v ago, want %v; known %v", name, got, c.behind, known)
		}
	}
}

// TestWhoWasDeafKnowsNoSilence: a node that has itself heard nothing for a while does not count
// the others as absent for it. Nor does one that hears a server of the registry that stands still.
func TestWhoWasDeafKnowsNoSilence(t *testing.T) {
	begun := time.Unix(1000, 0)
	now := begun.Add(time.Hour)
	for _, c := range []struct {
		deaf, still   time.Duration
		heard, silent bool
	}{{time.Second, time.Second, true, true}, {time.Minute, time.Second, true, false}, {time.Second, time.Minute, false, true}} {
		n := &Node{cfg: Config{Name: "a"}, status: status{heard: map[string]heard{"a": {9, now.Add(-c.still)}, "b": {7, begun}}, heardAll: now.Add(-c.deaf)}}
		n.noteAll(1, now)
		if got := n.status.heardAll.Equal(now); got != c.heard {
			t.Errorf("deaf for %v, after %v without news of itself, it has heard all: %v", c.deaf, c.still, got)
		}
		if got := n.status.heard["b"].changed.Equal(begun); got != c.silent {
			t.Errorf("deaf for %v, it knows of the other's silence: %v", c.deaf, got)
		}
	}
}

// TestWhatWasReadIsNotMissing: a log that begins behind what was applied has nothing missing while
// the messages between were read and wait to be applied.
func TestWhatWasReadIsNotMissing(t *testing.T) {
	for first, halts := range map[uint64]bool{4853: false, 5134: false, 5135: true} {
		n := &Node{Replica: &Replica{}, status: status{read: 5133, applied: Checkpoint{Position: 4852}}}
		if err := n.check(&Head{First: first, Last: 6000}, 4852, time.Now()); errors.Is(err, ErrHalted) != halts || (err != nil) != halts {
			t.Errorf("the log begins at %d: %v", first, err)
		}
	}
}

// goingOn is a log that goes on while it answers: the node has applied more by then.
type goingOn struct {
	Log
	head   Head
	behind func()
}

func (l *goingOn) Head(context.Context) (Head, error) {
	defer l.behind()
	return l.head, nil
}

// TestWhatIsAppliedMeanwhileIsNoLoss: a log is held to what was applied when it was asked.
func TestWhatIsAppliedMeanwhileIsNoLoss(t *testing.T) {
	n := &Node{Replica: &Replica{}, status: status{read: 95, applied: Checkpoint{Position: 95}, moved: make(chan struct{})}}
	n.cfg.Log = &goingOn{head: Head{First: 1, Last: 100}, behind: func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.status.read, n.status.applied.Position = 105, 105
	}}
	if err := n.look(t.Context()); err != nil || !n.status.short.since.IsZero() {
		t.Errorf("105 messages were applied while it said that it has 100: %v", err)
	}
	if err := n.look(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("105 messages were applied before it said that it has 100: %v", err)
	}
}

// answering is a log that answers as a test has it.
type answering struct {
	Log
	head Head
	err  error
}

func (l *answering) Head(context.Context) (Head, error) { return l.head, l.err }

// TestOneLeaderHasToSayIt: only one leader that goes on to say that the log is short has lost
// something. What two say one after the other, or one before and after a time in which nobody was
// heard, does not add up.
func TestOneLeaderHasToSayIt(t *testing.T) {
	for name, c := range map[string]struct {
		between answering
		halts   bool
	}{
		"it goes on":       {answering{head: Head{First: 1, Last: 163, Leader: "1"}}, true},
		"another leads":    {answering{head: Head{First: 1, Last: 163, Leader: "2"}}, false},
		"nobody was heard": {answering{err: ErrUnreachable}, false},
	} {
		n := &Node{Replica: &Replica{}, status: status{read: 224, applied: Checkpoint{Position: 224}, moved: make(chan struct{})}}
		n.cfg.ShortFor = 50 * time.Millisecond
		log := &answering{head: Head{First: 1, Last: 163, Leader: "1"}}
		n.cfg.Log = log
		if err := n.look(t.Context()); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("%s: at first: %v", name, err)
		}
		time.Sleep(n.cfg.ShortFor)
		first := *log
		*log = c.between
		err := n.look(t.Context())
		if !errors.Is(err, ErrHalted) {
			*log = first
			err = n.look(t.Context())
		}
		if errors.Is(err, ErrHalted) != c.halts {
			t.Errorf("%s: %v", name, err)
		}
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

// TestPinTellsWhatTheNodeKnows: the program that makes a replica is not the one that runs it. Of a
// node that has told a lower apply version a later one must not come into force meanwhile.
func TestPinTellsWhatTheNodeKnows(t *testing.T) {
	for word, want := range map[string]int{"": 3, `{"node":"b"}`: 3, `{"apply":2}`: 2, `{"apply":3}`: 3, `{"apply":4}`: 3, "nonsense": 3} {
		p := &Pin{own: Beat{Apply: 3}}
		p.judge(&PinFor{}, []byte(word))
		if p.own.Apply != want {
			t.Errorf("behind %q it tells %d, want %d", word, p.own.Apply, want)
		}
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
		n := &Node{cfg: Config{Name: "a", Registry: wordsOf{"b": `{"position":70,` + more + `}`}}, Outbox: NewOutbox(), Replica: &Replica{},
			status: status{head: Head{Nodes: []string{"a", "b", "c"}}, beats: map[string]Beat{}, heard: map[string]heard{}}}
		n.hear(t.Context())
		if n.status.elsewhere != want {
			t.Errorf("%s: the furthest other store is at %d, want %d", more, n.status.elsewhere, want)
		}
	}
}
