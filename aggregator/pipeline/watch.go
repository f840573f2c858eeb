package pipeline

import "sync"

// Watch tells one reader that events were stored, so that it need not ask.
type Watch struct {
	C     <-chan struct{} // a token once there are new ones, however many
	ready chan struct{}
	topic string // "" is all topics
	of    *watches
}

// Watch begins to tell of events of a topic, or of all for "", until Stop.
func (p *Pipeline) Watch(topic string) *Watch {
	ready := make(chan struct{}, 1)
	w := &Watch{ready, ready, topic, &p.watches}
	p.watches.mu.Lock()
	defer p.watches.mu.Unlock()
	if p.watches.open == nil {
		p.watches.open = map[*Watch]struct{}{}
	}
	p.watches.open[w] = struct{}{}
	return w
}

// Stop ends the watch.
func (w *Watch) Stop() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	delete(w.of.open, w)
}

// watches is all that are open. The zero value has none.
type watches struct {
	mu   sync.Mutex // guards open
	open map[*Watch]struct{}
}

// tell wakes those that watch the topic of a stored row. topic and stored are asked by row.
func (s *watches) tell(rows int, topic func(int) string, stored []bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) == 0 {
		return
	}
	wanted := map[string]bool{} // false: not seen in the batch
	for w := range s.open {
		wanted[w.topic] = false
	}
	last := ""
	for i := range rows {
		if !stored[i] {
			continue
		}
		if _, all := wanted[""]; all {
			wanted[""] = true
		}
		if t := topic(i); t != last { // neighbours are often of one topic
			if _, ok := wanted[t]; ok {
				wanted[t] = true
			}
			last = t
		}
	}
	for w := range s.open {
		if wanted[w.topic] {
			wake(w.ready)
		}
	}
}
