package record

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"time"

	"sekali/bench/internal/audit"
	"sekali/loadgen/stream"
)

const (
	// groupOriginals is how many neighbouring originals share a sum.
	groupOriginals = 1 << 16
	// maxStrange bounds how many stored events are kept that are not as they were sent; the rest is
	// counted.
	maxStrange = 1000
)

// Stored is what an aggregator gave back, in its order. Of what came back as it was sent only the
// number of the original is kept; a sum of hashes over the bytes that came back shows that they
// were those.
type Stored struct {
	Runs    [][2]int64 `json:"runs"`    // of originals: how far behind the end of the run before it one begins, and its length
	Sums    []string   `json:"sums"`    // of the hashes of the originals [i×65536, (i+1)×65536) among them, each as often as it came back
	Strange []Event    `json:"strange"` // not of the stream, or changed
	// Variants are the originals among Runs whose payload is that of a conflicting repeat.
	Variants []uint64 `json:"variants,omitempty"`
	// MoreStrange counts those beyond the first thousand.
	MoreStrange uint64 `json:"more_strange,omitempty"`
	// OutOfOrder counts events whose seq did not rise, or whose received_at fell.
	OutOfOrder uint64 `json:"out_of_order,omitempty"`
}

// Event is one in words.
type Event struct {
	Seq        int64  `json:"seq,omitempty"`
	Topic      string `json:"topic"`
	EventID    string `json:"event_id"`
	Timestamp  string `json:"timestamp"`
	Source     string `json:"source"`
	Payload    string `json:"payload"`
	ReceivedAt string `json:"received_at,omitempty"`
}

// Same reports that the two say the same, wherever they are stored.
func (e Event) Same(other Event) bool {
	e.Seq, e.ReceivedAt, other.Seq, other.ReceivedAt = 0, "", 0, ""
	return e == other
}

// audited is the event in the form of the audit.
func (e Event) audited() *audit.Event {
	return &audit.Event{Seq: e.Seq, Topic: []byte(e.Topic), EventID: []byte(e.EventID), Timestamp: []byte(e.Timestamp),
		Source: []byte(e.Source), Payload: []byte(e.Payload), ReceivedAt: []byte(e.ReceivedAt)}
}

// Collector makes a Stored from events as they come back.
type Collector struct {
	stream   *stream.Stream // nil: all are strange
	runs     [][2]int64     // begin and end
	sums     []uint64
	rest     Stored
	lastSeq  int64
	lastTime time.Time
	scratch  []byte
}

// NewCollector expects originals of the stream.
func NewCollector(of *stream.Stream) *Collector { return &Collector{stream: of, lastSeq: -1} }

// Add takes the next event.
func (c *Collector) Add(e *audit.Event) {
	// Counted as the audit does.
	if e.Seq <= c.lastSeq {
		c.rest.OutOfOrder++
	}
	c.lastSeq = max(c.lastSeq, e.Seq)
	if received, ok := e.Received(); !ok || received.Before(c.lastTime) {
		c.rest.OutOfOrder++
	} else {
		c.lastTime = received
	}
	if c.stream == nil {
		c.strange(e)
		return
	}
	match := e.Match(c.stream)
	original := match.Original
	if !match.Exact || original > 1<<40 {
		c.strange(e)
		return
	}
	if match.Variant {
		c.rest.Variants = append(c.rest.Variants, original)
	}
	n := int64(original)
	if last := len(c.runs) - 1; last >= 0 && c.runs[last][1] == n {
		c.runs[last][1]++
	} else {
		c.runs = append(c.runs, [2]int64{n, n + 1})
	}
	c.scratch = appendContent(c.scratch[:0], e.Topic, e.EventID, e.Timestamp, e.Source, e.Payload)
	c.sums = addSum(c.sums, original, c.scratch)
}

// Tee takes the events that go by.
func (c *Collector) Tee(events iter.Seq2[*audit.Event, error]) iter.Seq2[*audit.Event, error] {
	return func(yield func(*audit.Event, error) bool) {
		for event, err := range events {
			if err == nil {
				c.Add(event)
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

func (c *Collector) strange(e *audit.Event) {
	if len(c.rest.Strange) == maxStrange {
		c.rest.MoreStrange++
		return
	}
	c.rest.Strange = append(c.rest.Strange, Event{e.Seq, string(e.Topic), string(e.EventID), string(e.Timestamp), string(e.Source),
		string(e.Payload), string(e.ReceivedAt)})
}

// Stored is what was added. If sorted, the originals are in the order of their numbers instead of
// the one in which they came back: a complete set is then one run.
func (c *Collector) Stored(sorted bool) Stored {
	runs := c.runs
	if sorted {
		runs = slices.Clone(runs)
		slices.SortFunc(runs, func(a, b [2]int64) int { return int(a[0] - b[0]) })
	}
	s := c.rest
	s.Runs, s.Sums, s.Strange = [][2]int64{}, []string{}, append([]Event{}, s.Strange...)
	end := int64(0)
	for i, run := range runs {
		if i > 0 && run[0] == end {
			s.Runs[len(s.Runs)-1][1] += run[1] - run[0]
		} else {
			s.Runs = append(s.Runs, [2]int64{run[0] - end, run[1] - run[0]})
		}
		end = run[1]
	}
	for _, sum := range c.sums {
		s.Sums = append(s.Sums, fmt.Sprintf("%016x", sum))
	}
	return s
}

// Replay hands everything to an audit, and recomputes the sums from the stream.
func (s Stored) Replay(of *stream.Stream, to *audit.Checker) error {
	var sums []uint64
	var content []byte
	variants := map[uint64]bool{}
	for _, original := range s.Variants {
		variants[original] = true
	}
	for original, err := range s.Originals() {
		if err != nil {
			return err
		}
		to.AddExact(original, variants[original])
		e := of.Event(original)
		if variants[original] {
			e.Payload = of.VariantPayload(original)
		}
		content = appendContent(content[:0], e.Topic, e.EventID, e.Timestamp, e.Source, e.Payload)
		sums = addSum(sums, original, content)
	}
	if len(sums) != len(s.Sums) {
		return fmt.Errorf("record: stored: %d sums of originals, the stream gives %d", len(s.Sums), len(sums))
	}
	for i, sum := range sums {
		if now := fmt.Sprintf("%016x", sum); now != s.Sums[i] {
			return fmt.Errorf("record: stored: sum %d of originals is %s, by the stream it is %s", i, s.Sums[i], now)
		}
	}
	for _, e := range s.Strange {
		to.Add(e.audited())
	}
	to.AddUnexpected(s.MoreStrange)
	return nil
}

// Originals yields the originals that came back as they were sent, in order.
func (s Stored) Originals() func(yield func(uint64, error) bool) {
	return func(yield func(uint64, error) bool) {
		end, left := int64(0), int64(maxBytes)
		for i, run := range s.Runs {
			begin := end + run[0]
			if left -= run[1]; begin < 0 || run[1] < 1 || left < 0 || begin > 1<<40 {
				yield(0, fmt.Errorf("record: stored: run %d is %v", i, run))
				return
			}
			end = begin + run[1]
			for n := begin; n < end; n++ {
				if !yield(uint64(n), nil) {
					return
				}
			}
		}
	}
}

// WriteStored writes what a run's aggregator gave back into its result folder.
func WriteStored(dir string, s Stored) error { return write(filepath.Join(dir, StoredFile), s) }

// ReadStored reads that of a result folder; nil: it has none, as those of before it was kept.
func ReadStored(dir string) (*Stored, error) {
	s := &Stored{}
	err := read(filepath.Join(dir, StoredFile), s)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return s, err
}

// appendContent appends what an event says; none of its parts has a line break.
func appendContent[T []byte | string](dst []byte, parts ...T) []byte {
	for _, part := range parts {
		dst = append(append(dst, part...), '\n')
	}
	return dst
}

// addSum adds the hash of an original's content to the sum of its group.
func addSum(sums []uint64, original uint64, content []byte) []uint64 {
	group := int(original / groupOriginals)
	for len(sums) <= group {
		sums = append(sums, 0)
	}
	hash := sha256.Sum256(content)
	sums[group] += binary.BigEndian.Uint64(hash[:8])
	return sums
}
