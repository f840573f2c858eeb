package client

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sekali/internal/attempt"
)

// The bounds where Options has 0. A batch of 1 MiB is a sixteenth of what the server takes.
const (
	defaultBatchEvents = 1000
	defaultBatchBytes  = 1 << 20
	maxBatchBytes      = 16 << 20 // -max-body-bytes of the server
	defaultLinger      = 5 * time.Millisecond
	defaultQueueEvents = 100_000
	defaultQueueBytes  = 64 << 20
	defaultSpoolBytes  = 256 << 20
	defaultTimeout     = 30 * time.Second
	defaultUserAgent   = "sekali-client"

	// A pause after a failed attempt is random below a bound that doubles from the first to the
	// longest, so that many clients do not come back at once.
	defaultFirstPause   = 100 * time.Millisecond
	defaultLongestPause = 10 * time.Second
	// defaultLongestRetryAfter bounds what a server can ask for.
	defaultLongestRetryAfter = time.Minute
)

// What Options.Ack may be: how safe an event is when it counts as answered.
const (
	AckMemory     = "memory"     // it is in the aggregator's memory
	AckJournal    = "journal"    // it is synced to the disk; SIGKILL and power loss do not take it
	AckReplicated = "replicated" // of a cluster: two of three machines have synced it
	AckStore      = "store"      // it is committed, and the answer tells the duplicates
	AckServer     = "server"     // what the aggregator was started with
)

// Options of a Client. The zero value is a good one.
type Options struct {
	Token     string // sent as Authorization: Bearer; "": none
	UserAgent string // "": sekali-client
	Ack       string // "": AckJournal

	BatchEvents int           // most events of a request; 0: 1000
	BatchBytes  int           // most bytes of a request's events, and of one event; 0: 1 MiB
	Linger      time.Duration // how long a request waits to become full; 0: 5 ms, negative: not at all

	QueueEvents int   // most events that wait in memory; 0: 100 000
	QueueBytes  int64 // most bytes that wait in memory; 0: 64 MiB

	// Spool is a folder on a local disk, made if need be, for one client at a time; "": none. With
	// it the events wait there instead of in memory: Publish returns when its event is synced to the
	// disk, and what a program leaves when it is killed, or Close when its time is up, the next
	// client sends.
	Spool      string
	SpoolBytes int64 // most bytes on the disk, then Publish is an ErrSpoolFull; 0: 256 MiB

	Timeout time.Duration // of one attempt until its whole answer is read; 0: 30 s
	GiveUp  time.Duration // after how long a batch fails that nobody answers; 0: never

	FirstPause        time.Duration // bound of the first pause between attempts, which doubles; 0: 100 ms
	LongestPause      time.Duration // where the doubling ends; 0: 10 s
	LongestRetryAfter time.Duration // a server that asks for more is given this; 0: 1 min

	// Retry is asked after each attempt whose answer does not count whether the batch is sent again;
	// nil: always. If not, its events fail. A batch that the aggregator cannot read is not cut in two,
	// and events that the database refused are not named.
	Retry func(Attempt) bool

	// Failed is told each event that will not be stored: the error is a *RejectedError, or an
	// ErrGaveUp. The sender calls it, so the next request waits for it; it must not call the Client.
	Failed func(Event, error)

	// Done is told what became of each batch, in order, before it leaves the queue: for a program
	// that keeps its own place in what it publishes. The sender calls it as it does Failed. An error
	// stops the client: nothing more is sent, and Publish returns it.
	Done func(Batch) error

	Transport http.RoundTripper // nil: one like http.DefaultTransport
}

// complete checks the options and fills in what is 0.
func (o *Options) complete() error {
	for _, n := range []int64{int64(o.BatchEvents), int64(o.BatchBytes), int64(o.QueueEvents), o.QueueBytes, o.SpoolBytes, int64(o.Timeout), int64(o.GiveUp),
		int64(o.FirstPause), int64(o.LongestPause), int64(o.LongestRetryAfter)} {
		if n < 0 {
			return fmt.Errorf("client: an option is negative: %d", n)
		}
	}
	if strings.ContainsAny(o.Token+o.UserAgent, "\r\n") {
		return fmt.Errorf("client: the token or the user agent is not one line")
	}
	o.BatchEvents = cmp.Or(o.BatchEvents, defaultBatchEvents)
	o.BatchBytes = cmp.Or(o.BatchBytes, defaultBatchBytes)
	o.Linger = cmp.Or(o.Linger, defaultLinger)
	o.QueueEvents = cmp.Or(o.QueueEvents, defaultQueueEvents)
	o.QueueBytes = cmp.Or(o.QueueBytes, defaultQueueBytes)
	o.SpoolBytes = cmp.Or(o.SpoolBytes, defaultSpoolBytes)
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.FirstPause = cmp.Or(o.FirstPause, defaultFirstPause)
	o.LongestPause = max(o.FirstPause, cmp.Or(o.LongestPause, defaultLongestPause))
	o.LongestRetryAfter = cmp.Or(o.LongestRetryAfter, defaultLongestRetryAfter)
	o.UserAgent = cmp.Or(o.UserAgent, defaultUserAgent)
	o.Ack = cmp.Or(o.Ack, AckJournal)
	if !slices.Contains([]string{AckMemory, AckJournal, AckReplicated, AckStore, AckServer}, o.Ack) {
		return fmt.Errorf("client: Ack %q is not memory, journal, replicated, store or server", o.Ack)
	}
	if o.QueueBytes < int64(o.BatchBytes) {
		return fmt.Errorf("client: QueueBytes %d is less than BatchBytes %d", o.QueueBytes, o.BatchBytes)
	}
	if o.BatchBytes > maxBatchBytes {
		return fmt.Errorf("client: BatchBytes %d is more than the %d that a server takes", o.BatchBytes, maxBatchBytes)
	}
	if o.SpoolBytes < maxSegments*int64(o.BatchBytes) {
		return fmt.Errorf("client: SpoolBytes %d is less than %d times BatchBytes", o.SpoolBytes, maxSegments)
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	return nil
}

// level is the acknowledgement to ask for; "": that of the aggregator.
func (o *Options) level() string {
	if o.Ack == AckServer {
		return ""
	}
	return o.Ack
}

// policy is how a request is repeated.
func (o *Options) policy() attempt.Policy {
	return attempt.Policy{
		MaxAttempts: attempt.AnyNumber, MaxElapsed: cmp.Or(o.GiveUp, attempt.ForEver),
		BaseDelay: o.FirstPause, MaxDelay: o.LongestPause, MaxRetryAfter: o.LongestRetryAfter,
	}
}

// open returns the queue that the options ask for.
func (o *Options) open() (queue, error) {
	if o.Spool == "" {
		return &memory{maxEvents: o.QueueEvents, maxBytes: o.QueueBytes}, nil
	}
	return openSpool(o.Spool, o.SpoolBytes)
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("client: %q is no http or https URL", text)
	}
	return u, nil
}
