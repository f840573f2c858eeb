// Package stream is the event stream that the lab sends: the n-th event is a
// pure function of the config and n. Nothing that was sent has to be remembered,
// so an audit of a hundred million events needs no map, and a run is repeated by
// repeating its config.
//
// An event of the stream is an occurrence of an original. Originals are numbered
// from 0 in the order of their first occurrence; a repeat is its original to the
// byte. The share of repeats is spread evenly:
//
//	repeats among the events [0,n) = floor(n × d / 1000),  d = 1000 × duplicates
//
// so it is exact in any 1000 consecutive events, whole streams included, and
// every formula below is closed: random access without a cache. Which original
// a repeat repeats is drawn from a hash of (seed, n). Shuffled places of the
// repeats within a block were rejected: they would make the work of a request
// vary for no gain, since the aggregator cannot know which event is a repeat.
package stream

import "math/bits"

// blockEvents is the number of consecutive events in which the share of repeats
// is exact.
const blockEvents = 1000

// Stream is immutable, and safe for concurrent use.
type Stream struct {
	config          Config
	repeatsPerBlock uint64
	recent          uint64
	topics          []string
	keys            keys
}

// keys are the seeds of the independent draws, all derived from Config.Seed.
type keys struct{ repeat, idHigh, idLow, fields, variant uint64 }

// Event is what must come back from the aggregator, byte for byte.
type Event struct {
	Topic, EventID, Timestamp, Source string
	Payload                           string // JSON text
}

// New fills the config's defaults and validates it.
func New(c Config) (*Stream, error) {
	c, err := c.filled()
	if err != nil {
		return nil, err
	}
	return &Stream{
		config:          c,
		repeatsPerBlock: uint64(c.Duplicates*blockEvents + 0.5),
		recent:          uint64(c.RecentEvents),
		topics:          c.topicNames(),
		keys: keys{
			repeat:  mix(c.Seed, 1),
			idHigh:  mix(c.Seed, 2),
			idLow:   mix(c.Seed, 3),
			fields:  mix(c.Seed, 4),
			variant: mix(c.Seed, 5),
		},
	}, nil
}

// Config is the config with its defaults filled in.
func (s *Stream) Config() Config { return s.config }

// repeatsBefore is the number of repeats among the events [0,n).
func (s *Stream) repeatsBefore(n uint64) uint64 {
	return n/blockEvents*s.repeatsPerBlock + n%blockEvents*s.repeatsPerBlock/blockEvents
}

// Originals is the number of distinct originals among the events [0,n). The
// originals among events [a,b) that are new are numbered Originals(a) to
// Originals(b)-1.
func (s *Stream) Originals(n uint64) uint64 { return n - s.repeatsBefore(n) }

// Original is the number of the original that the n-th event is an occurrence
// of: the first one exactly if it equals Originals(n).
func (s *Stream) Original(n uint64) uint64 {
	before := s.Originals(n)
	if s.Originals(n+1) != before {
		return before
	}
	// The event 0 is never a repeat, so before is at least 1 here.
	window := before
	if s.config.Distance == DistanceRecent {
		window = min(before, s.recent)
	}
	back, _ := bits.Mul64(mix(s.keys.repeat, n), window) // uniform in [0,window)
	return before - 1 - back
}

// mix hashes n under key: the finaliser of splitmix64, a bijection of n for
// every key, so that draws of one key never collide in all 64 bits.
func mix(key, n uint64) uint64 {
	z := key + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
