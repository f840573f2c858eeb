package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

const (
	// eventsPerRequest is small, so that a kill meets many requests.
	eventsPerRequest = 20
	// every fifth event repeats an earlier original.
	repeatEvery = 5
	topics      = 3
)

// originalOf says which original the n-th event is an occurrence of. Originals are
// numbered in the order of their first occurrence.
func originalOf(n int) int {
	fresh := n - n/repeatEvery
	if n%repeatEvery != repeatEvery-1 {
		return fresh
	}
	hash := fnv.New64a()
	fmt.Fprint(hash, n)
	return int(hash.Sum64() % uint64(fresh))
}

// event is one event as it is published and, with the last two fields, as it comes back.
type event struct {
	Topic      string          `json:"topic"`
	ID         string          `json:"event_id"`
	Timestamp  string          `json:"timestamp"`
	Source     string          `json:"source"`
	Payload    json.RawMessage `json:"payload"`
	Seq        int64           `json:"seq,omitempty"`
	ReceivedAt string          `json:"received_at,omitempty"`
}

// eventOf is a pure function of its original: the zone and the spelling of the
// number are there to be kept byte for byte.
func eventOf(original int) event {
	return event{
		Topic:     fmt.Sprintf("topic-%d", original%topics),
		ID:        fmt.Sprintf("event-%d", original),
		Timestamp: time.Date(2026, 11, 23, 8, 0, 0, original, time.FixedZone("", 3600)).Format(time.RFC3339Nano),
		Source:    "integration",
		Payload:   json.RawMessage(fmt.Sprintf(`{"original":%d,"size":1.50e3,"message":"line %d of a log"}`, original, original)),
	}
}

// requestBody is the events [request×eventsPerRequest, +eventsPerRequest) as a JSON array.
func requestBody(request int) []byte { return arrayOf(request*eventsPerRequest, eventsPerRequest) }

func arrayOf(first, count int) []byte {
	events := make([]event, count)
	for i := range events {
		events[i] = eventOf(originalOf(first + i))
	}
	body, err := json.Marshal(events)
	if err != nil {
		panic(err) // a RawMessage above is not JSON
	}
	return body
}

// originalsOf are the originals that a request carries, each once.
func originalsOf(request int) []int {
	var originals []int
	for n := request * eventsPerRequest; n < (request+1)*eventsPerRequest; n++ {
		originals = append(originals, originalOf(n))
	}
	slices.Sort(originals)
	return slices.Compact(originals)
}

// stored is what has been read back so far: which originals, and the last line's order.
type stored struct {
	export     []byte // all lines so far
	originals  map[int]bool
	seq        int64
	receivedAt time.Time
}

// read checks a later export: it begins with the earlier one, byte for byte, and
// every further line is an event as it was sent, the first time it is seen, and
// later in order than all before.
func (s *stored) read(export []byte) error {
	if !bytes.HasPrefix(export, s.export) {
		return fmt.Errorf("what /events returned before is no longer how it begins")
	}
	for line := range bytes.Lines(export[len(s.export):]) {
		var got event
		if err := json.Unmarshal(line, &got); err != nil {
			return fmt.Errorf("%w: %s", err, line)
		}
		if err := s.add(got); err != nil {
			return fmt.Errorf("%w: %s", err, line)
		}
	}
	s.export = export
	return nil
}

func (s *stored) add(got event) error {
	var original int
	if _, err := fmt.Sscanf(got.ID, "event-%d", &original); err != nil {
		return fmt.Errorf("an event that was never sent")
	}
	want := eventOf(original)
	if got.Topic != want.Topic || got.ID != want.ID || got.Timestamp != want.Timestamp ||
		got.Source != want.Source || !bytes.Equal(got.Payload, want.Payload) {
		return fmt.Errorf("not as it was sent (%+v)", want)
	}
	if s.originals[original] {
		return fmt.Errorf("stored twice")
	}
	receivedAt, err := time.Parse(time.RFC3339Nano, got.ReceivedAt)
	if err != nil {
		return err
	}
	if got.Seq <= s.seq || receivedAt.Before(s.receivedAt) {
		return fmt.Errorf("out of order after seq %d of %s", s.seq, s.receivedAt)
	}
	s.originals[original], s.seq, s.receivedAt = true, got.Seq, receivedAt
	return nil
}

func newStored() *stored { return &stored{originals: map[int]bool{}} }
