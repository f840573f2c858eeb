package attack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// Encodings of a request's events.
const (
	EncodingJSON   = "json"   // one array
	EncodingNDJSON = "ndjson" // one a line
)

// Compressions of a request's body.
const (
	CompressionNone = ""
	CompressionGzip = "gzip"
	CompressionZstd = "zstd"
)

// Defaults, and bounds of what a config may ask for.
const (
	DefaultTimeout        = 10 * time.Second
	DefaultMaxConnections = 256       // a stalled server is met with at most this many
	DefaultAheadBytes     = 128 << 20 // about 440 000 events of 290 bytes

	MaxEventsPerRequest = 1_000_000
	MaxRate             = 1_000_000
	MaxClients          = 1024
	MaxPhases           = 1000
	// MaxPlanned bounds the requests of one phase: an hour at more than ten times
	// the 12 000 requests/s where vegeta ends.
	MaxPlanned = 500_000_000
)

// RetryPolicy is the publisher's.
type RetryPolicy = delivery.Policy

// DefaultRetry is the publisher's default.
func DefaultRetry() RetryPolicy { return delivery.DefaultPolicy() }

// Phase is a stretch of the attack under one kind of load: open loop at a rate,
// or closed loop with a number of clients that each wait for their answer.
type Phase struct {
	Name     string
	Rate     float64       // requests/s, open loop; 0: closed loop
	Arrivals string        // of an open loop: even ("") or Poisson
	Seed     uint64        // of Poisson
	Clients  int           // closed loop
	Duration time.Duration // ends the phase, or
	Requests uint64        // this does; if both are given, what comes first
	Measured bool          // false: warm-up, or cool-down
}

// planned is the number of requests an open-loop phase sends.
func (p Phase) planned() uint64 {
	if p.Duration == 0 {
		return p.Requests
	}
	// The addend keeps 100/s × 0.29 s from becoming 28.
	n := uint64(p.Rate*p.Duration.Seconds() + 1e-6)
	if p.Requests > 0 {
		n = min(n, p.Requests)
	}
	return n
}

// Planned is how many requests the phase sends; false where only its duration ends it.
func (p Phase) Planned() (n uint64, known bool) {
	if p.Rate == 0 {
		return p.Requests, p.Duration == 0
	}
	return p.planned(), true
}

// Schedule returns when the i-th request of an open-loop phase is to be sent, since the phase's
// start. It depends on nothing but the config.
func (p Phase) Schedule() func(i uint64) time.Duration {
	if p.Arrivals == Poisson {
		return p.poisson()
	}
	return func(i uint64) time.Duration { return time.Duration(float64(i) / p.Rate * float64(time.Second)) }
}

// lasts is how long an open-loop phase takes.
func (p Phase) lasts() time.Duration {
	whole := time.Duration(float64(p.planned()) / p.Rate * float64(time.Second))
	if p.Duration == 0 || p.planned() == p.Requests {
		return whole
	}
	return p.Duration
}

func (p Phase) validate() error {
	switch {
	case !(p.Rate >= 0 && p.Rate <= MaxRate): // NaN too
		return fmt.Errorf("rate %v/s is not within 0 to %v", p.Rate, MaxRate)
	case p.Clients < 0 || p.Clients > MaxClients:
		return fmt.Errorf("clients %d is not within 0 to %d", p.Clients, MaxClients)
	case (p.Rate > 0) == (p.Clients > 0):
		return errors.New("wants either a rate (open loop) or clients (closed loop)")
	case p.Duration < 0:
		return fmt.Errorf("duration %v is negative", p.Duration)
	case p.Duration == 0 && p.Requests == 0:
		return errors.New("wants a duration, or a number of requests")
	case p.Requests > MaxPlanned || p.Rate*p.Duration.Seconds() > MaxPlanned:
		return fmt.Errorf("would send more than %d requests", MaxPlanned)
	case p.Arrivals != "" && p.Arrivals != Poisson:
		return fmt.Errorf("arrivals %q is not %q", p.Arrivals, Poisson)
	case p.Arrivals == Poisson && (p.Rate == 0 || p.planned() > MaxPoisson):
		return fmt.Errorf("arrivals %s wants a rate, and %d requests at most", Poisson, MaxPoisson)
	case p.Rate > 0 && p.planned() == 0:
		return errors.New("is too short for one request")
	}
	return nil
}

// Config of an attack. Zero values are the defaults where one is named.
type Config struct {
	URL      string   // of the aggregator, as http://127.0.0.1:8080
	Others   []string // of further aggregators of its cluster; requests go to one after the other
	AckLevel string   // memory, journal, replicated or store; "": the aggregator's own
	Token    string   // bearer token; "": none

	Stream           *stream.Stream
	EventsPerRequest int
	Encoding         string // json (default) or ndjson
	Compression      string // none (default), gzip or zstd

	Phases       []Phase
	FirstRequest uint64 // where the numbering begins: an attack that continues another

	Retry          RetryPolicy
	Timeout        time.Duration // of one attempt; default 10 s
	MaxConnections int           // default 256; waiting for one is part of the service time
	AheadBytes     int64         // bound of the bodies that are built and not yet sent; default 128 MiB

	// Light has the clients of closed loops send over a client of our own instead of vegeta and
	// net/http, which take longer for a small request than an aggregator does.
	Light bool

	// Dial opens connections, as net.Dialer's DialContext does, which is the default.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Ledger  *ledger.Writer            // every attempt is written to it; it stays open
	OnStart func(startedAt time.Time) // called when the bodies are ready, just before the first request; may be nil
}

// filled returns c with its defaults in place, or the first thing wrong with it.
func (c Config) filled() (Config, error) {
	if c.Encoding == "" {
		c.Encoding = EncodingJSON
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	if c.AheadBytes == 0 {
		c.AheadBytes = DefaultAheadBytes
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	switch {
	case c.Stream == nil:
		return c, errors.New("attack: no stream")
	case c.Ledger == nil:
		return c, errors.New("attack: no ledger")
	case c.EventsPerRequest < 1 || c.EventsPerRequest > MaxEventsPerRequest:
		return c, fmt.Errorf("attack: events per request %d is not within 1 to %d", c.EventsPerRequest, MaxEventsPerRequest)
	case !slices.Contains([]string{EncodingJSON, EncodingNDJSON}, c.Encoding):
		return c, fmt.Errorf("attack: encoding %q is neither json nor ndjson", c.Encoding)
	case !slices.Contains([]string{CompressionNone, CompressionGzip, CompressionZstd}, c.Compression):
		return c, fmt.Errorf("attack: compression %q is neither gzip nor zstd", c.Compression)
	case c.Timeout < 0 || c.MaxConnections < 0 || c.AheadBytes < 0:
		return c, errors.New("attack: timeout, connections and bytes ahead cannot be negative")
	case len(c.Phases) == 0 || len(c.Phases) > MaxPhases:
		return c, fmt.Errorf("attack: %d phases, want 1 to %d", len(c.Phases), MaxPhases)
	}
	for i, p := range c.Phases {
		if err := p.validate(); err != nil {
			return c, fmt.Errorf("attack: phase %d (%s): %w", i, p.Name, err)
		}
	}
	return c, c.Retry.Validate()
}
