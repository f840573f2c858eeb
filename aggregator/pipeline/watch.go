package pipeline

import "sync"

// Watch tells one reader that events were stored, so that it need not ask, and has the newest in
// memory, so that it need not read them.
type Watch struct {
	C     <-chan struct{} // a token once there are new ones, however many
	ready chan struct{}
	topic string // "" is all topics
	of    *watches

	// of.mu guards these.
	from  int64 // what was stored up to this seq the watch was not there for
	asked int64 // up to where Since has told of all events
	told  int64 // the seq before the first commit with one of the topic that came after asked; -1: there was none
}

// Watch begins to tell of events of a topic, or of all for "", until Stop.
func (p *Pipeline) Watch(topic string) *Watch {
	ready := make(chan struct{}, 1)
	s := &p.watches
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &Watch{C: ready, ready: ready, topic: topic, of: s, from: s.recent.to, asked: s.recent.to, told: -1}
	if s.topics == nil {
		s.topics = map[string]*watched{}
	}
	if s.topics[topic] == nil {
		s.topics[topic] = &watched{open: map[*Watch]struct{}{}}
	}
	s.topics[topic].open[w] = struct{}{}
	return w
}

// Stop ends the watch.
func (w *Watch) Stop() {
	s := w.of
	s.mu.Lock()
	defer s.mu.Unlock()
	topic := s.topics[w.topic]
	delete(topic.open, w)
	if len(topic.open) == 0 {
		delete(s.topics, w.topic)
	}
	if len(s.topics) == 0 {
		s.recent.forget()
	}
}

// Since returns the events of the topic behind a seq, in the order of seq, in pieces that nobody
// may change; the first piece may begin before them. It returns up to which seq these are all. Not
// ok: memory does not have them all, or the seq is beyond what was told yet. The store has them.
//
// Who has taken them all may say so by the seq that was returned, or by a later one.
func (w *Watch) Since(after int64) (events [][]Committed, through int64, ok bool) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	r := &w.of.recent
	if after < w.from || after > r.to {
		return nil, 0, false
	}
	if after >= w.asked { // then nothing was stored of the topic up to where it was told
		if w.told < 0 {
			after = r.to
		} else {
			after = max(after, w.told)
		}
	}
	if after < r.from {
		return nil, 0, false
	}
	w.asked, w.told = r.to, -1
	return r.since(after, w.topic), r.to, true
}

// watches is all that are open. The zero value has none.
type watches struct {
	mu     sync.Mutex // guards all below
	topics map[string]*watched
	recent recent
}

// watched is what the watches of a topic share.
type watched struct {
	open map[*Watch]struct{}
	rows int // of the commit that is being told
}
