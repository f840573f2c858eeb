package client

import "errors"

// errNoRoom says that the queue has no room until something of it is dropped.
var errNoRoom = errors.New("client: the queue is full")

// queue holds encoded events in the order of Publish until they are answered. The client's mutex
// guards all but sync.
type queue interface {
	// put appends an event, and returns its place for sync.
	put(event []byte) (place int64, err error)
	// sync returns once the event at place is as safe as the queue makes it.
	sync(place int64) error
	// peek returns the oldest events, at least one if there is any, within the bounds.
	peek(events, bytes int) ([][]byte, error)
	// drop takes the n oldest events out.
	drop(n int) error
	// waiting is how much has not been dropped.
	waiting() (events int, bytes int64)
	close() error
}

// memory is a queue that dies with the process.
type memory struct {
	events    [][]byte
	bytes     int64
	maxEvents int
	maxBytes  int64
}

func (m *memory) put(event []byte) (int64, error) {
	if len(m.events) >= m.maxEvents || m.bytes+int64(len(event)) > m.maxBytes {
		return 0, errNoRoom
	}
	m.events = append(m.events, event)
	m.bytes += int64(len(event))
	return 0, nil
}

func (*memory) sync(int64) error { return nil }

func (m *memory) peek(events, bytes int) ([][]byte, error) {
	n, size := 0, 0
	for n < min(len(m.events), events) {
		if size += len(m.events[n]); n > 0 && size > bytes {
			break
		}
		n++
	}
	return m.events[:n:n], nil
}

func (m *memory) drop(n int) error {
	for i, event := range m.events[:n] {
		m.bytes -= int64(len(event))
		m.events[i] = nil
	}
	m.events = m.events[n:]
	return nil
}

func (m *memory) waiting() (int, int64) { return len(m.events), m.bytes }

func (*memory) close() error { return nil }
