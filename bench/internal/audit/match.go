package audit

import (
	"bytes"
	"time"

	"sekali/loadgen/stream"
)

// Match is which original of a stream an event names, and what that is.
type Match struct {
	Original uint64
	Known    bool         // the event names one
	Exact    bool         // it is the original, or a variant of it, byte for byte
	Variant  bool         // it has the payload of a conflicting repeat
	Want     stream.Event // as it was sent, where it is not the original itself; of a variant, with its payload
}

// Match compares the event with a stream.
func (e *Event) Match(of *stream.Stream) Match {
	if e.of == of {
		return e.match
	}
	m := Match{}
	if m.Original, m.Known = of.OriginalOf(e.Topic, e.EventID, e.Payload); m.Known {
		m.Exact = of.Is(m.Original, e.Topic, e.EventID, e.Timestamp, e.Source, e.Payload)
	}
	if m.Known && !m.Exact {
		m.Want = of.Event(m.Original)
		if of.Config().Shape == stream.ShapeMixed && string(e.Payload) == of.VariantPayload(m.Original) {
			m.Variant, m.Want.Payload = true, string(e.Payload)
		}
		m.Exact = string(e.Topic) == m.Want.Topic && string(e.EventID) == m.Want.EventID && string(e.Timestamp) == m.Want.Timestamp &&
			string(e.Source) == m.Want.Source && string(e.Payload) == m.Want.Payload
	}
	e.of, e.match = of, m
	return m
}

// received is a received_at.
type received struct {
	at        time.Time
	ok, known bool
}

// Received is when the event was received; not ok: it does not say so in UTC.
func (e *Event) Received() (at time.Time, ok bool) {
	if !e.received.known {
		at, err := time.Parse(time.RFC3339Nano, string(e.ReceivedAt))
		e.received = received{at, err == nil && bytes.HasSuffix(e.ReceivedAt, []byte("Z")), true}
	}
	return e.received.at, e.received.ok
}
