package stream

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Distances a repeat can have from the event it repeats.
const (
	DistanceHistory = "history" // uniform over all originals before it
	DistanceRecent  = "recent"  // uniform over the last RecentEvents originals
)

// Orders in which event ids come.
const (
	IDsUUID4 = "uuid4" // no order: every id lands elsewhere in an index
	IDsTime  = "time"  // UUIDv7: rising with the original's number
)

// Defaults, and bounds of what a config may ask for.
const (
	DefaultRecentEvents = 1000
	DefaultTopics       = 10
	DefaultPayloadBytes = 150 // PERFORMANCE: about 290 bytes of JSON an event

	MaxDuplicates   = 0.99
	MaxTopics       = 1_000_000
	MinPayloadBytes = 96      // the fields at their longest, and 19 bytes of message
	MaxPayloadBytes = 4 << 20 // a quarter of the aggregator's largest body
)

// Config says everything about a stream: two streams of equal configs are equal
// to the byte, for ever.
type Config struct {
	Seed         uint64  `json:"seed" yaml:"seed"`
	Duplicates   float64 `json:"duplicates" yaml:"duplicates"`       // share of events that repeat an earlier one: 0 to 0.99, at most three decimals
	Distance     string  `json:"distance" yaml:"distance"`           // "history" (default) or "recent"
	RecentEvents int     `json:"recent_events" yaml:"recent_events"` // window of "recent", in originals; default 1000
	Topics       int     `json:"topics" yaml:"topics"`               // number of topics; default 10
	Topic        string  `json:"topic,omitempty" yaml:"topic"`       // one topic of this name instead
	PayloadBytes int     `json:"payload_bytes" yaml:"payload_bytes"` // exact size of the payload's JSON text; default 150
	IDs          string  `json:"ids" yaml:"ids"`                     // "uuid4" (default) or "time"
	Shape        string  `json:"shape,omitempty" yaml:"shape"`       // "" or "plain"; "mixed": hostile, which sets ids, sizes and times itself
}

// filled returns c with its defaults in place, or the first thing wrong with it.
func (c Config) filled() (Config, error) {
	if c.Distance == "" {
		c.Distance = DistanceHistory
	}
	if c.RecentEvents == 0 {
		c.RecentEvents = DefaultRecentEvents
	}
	if c.Shape == ShapePlain {
		c.Shape = ""
	}
	if c.Topic != "" && c.Topics == 0 {
		c.Topics = 1
	}
	if c.Topics == 0 {
		c.Topics = DefaultTopics
	}
	if c.PayloadBytes == 0 {
		c.PayloadBytes = DefaultPayloadBytes
	}
	if c.IDs == "" {
		c.IDs = IDsUUID4
	}
	perBlock := c.Duplicates * blockEvents
	switch {
	case !(c.Duplicates >= 0 && c.Duplicates <= MaxDuplicates): // NaN too
		return c, fmt.Errorf("stream: duplicates %v is not within 0 to %v", c.Duplicates, MaxDuplicates)
	case math.Abs(perBlock-math.Round(perBlock)) > 1e-9:
		return c, fmt.Errorf("stream: duplicates %v has more than three decimals, and could not be exact in %d events", c.Duplicates, blockEvents)
	case c.Distance != DistanceHistory && c.Distance != DistanceRecent:
		return c, fmt.Errorf("stream: distance %q is neither %q nor %q", c.Distance, DistanceHistory, DistanceRecent)
	case c.RecentEvents < 1:
		return c, fmt.Errorf("stream: recent_events %d is less than 1", c.RecentEvents)
	case c.Topics < 1 || c.Topics > MaxTopics:
		return c, fmt.Errorf("stream: topics %d is not within 1 to %d", c.Topics, MaxTopics)
	case c.Topic != "" && c.Topics != 1:
		return c, errors.New("stream: topic names one topic, and topics asks for more")
	case c.PayloadBytes < MinPayloadBytes || c.PayloadBytes > MaxPayloadBytes:
		return c, fmt.Errorf("stream: payload_bytes %d is not within %d to %d", c.PayloadBytes, MinPayloadBytes, MaxPayloadBytes)
	case c.Shape != "" && c.Shape != ShapeMixed:
		return c, fmt.Errorf("stream: shape %q is neither %q nor %q", c.Shape, ShapePlain, ShapeMixed)
	case c.Shape == ShapeMixed && c.Topics < 2:
		return c, errors.New("stream: shape mixed needs 2 topics at least")
	case c.IDs != IDsUUID4 && c.IDs != IDsTime:
		return c, fmt.Errorf("stream: ids %q is neither %q nor %q", c.IDs, IDsUUID4, IDsTime)
	}
	return c, CheckTopic(c.Topic)
}

// CheckTopic says whether a topic is one that every JSON encoder writes as it
// is, so that a stream compares it byte for byte. "" is no topic, and fine.
func CheckTopic(topic string) error {
	if len(topic) > 255 || !utf8.ValidString(topic) {
		return fmt.Errorf("stream: topic %.40q is longer than 255 bytes or not UTF-8", topic)
	}
	for _, r := range topic {
		if r < ' ' || r == '"' || r == '\\' || r >= 0x7f && r <= 0x9f {
			return fmt.Errorf("stream: topic %q holds %q", topic, r)
		}
	}
	return nil
}

// Topics are the names of all topics.
func (s *Stream) Topics() []string { return slices.Clone(s.topics) }

// topicNames are the names of all topics, of one length so that they sort.
func (c Config) topicNames() []string {
	if c.Topic != "" {
		return []string{c.Topic}
	}
	names := make([]string, c.Topics)
	digits := len(strconv.Itoa(c.Topics - 1))
	for i := range names {
		names[i] = fmt.Sprintf("topic-%0*d", digits, i)
	}
	return names
}
