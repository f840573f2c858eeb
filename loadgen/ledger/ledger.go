// Package ledger is what was sent and what came back: one row an attempt,
// written by the sender. With the stream it is all that an audit believes.
//
// On disk it is gzipped CSV (requests.csv.gz) with a header line. Request k
// carries the events [k×E, (k+1)×E) of the stream, E events a request. A request
// that was planned and never sent has one row too, with attempt 0.
package ledger

import "time"

// Outcome is what an attempt, or a whole request, says about its events.
type Outcome int

const (
	Refused      Outcome = iota // nothing of it was taken
	Unknown                     // it may or may not have been taken
	Acknowledged                // the aggregator promised to have taken it
)

func (o Outcome) String() string {
	switch o {
	case Refused:
		return "refused"
	case Unknown:
		return "unknown"
	case Acknowledged:
		return "acknowledged"
	}
	return "invalid"
}

// Causes given by this side of the connection. An answer that is not 2xx has the
// code of its problem document as its cause, or "" where it had none.
const (
	CauseNotSent           = "not_sent"           // planned, never sent; attempt 0
	CauseConnectionRefused = "refused_connection" // nobody listens
	CauseDial              = "dial"               // no connection for another reason
	CauseReset             = "reset"              // the connection was reset, or broke while writing
	CauseEOF               = "eof"                // the connection was closed before the whole answer
	CauseTimeout           = "timeout"            // no answer within the attempt's timeout
	CauseCanceled          = "canceled"           // the sender was stopped meanwhile
	CauseBadAnswer         = "bad_answer"         // 2xx, and not the body of an acknowledgement
	CauseTransport         = "transport"          // anything else that went wrong with the exchange
)

// Attempt is one request sent once. Times are nanoseconds since the attack's
// start, on a monotonic clock.
type Attempt struct {
	Request uint64
	Attempt int // from 1; 0: the request was planned and never sent
	Phase   int // index into the attack's phases

	PlannedNS int64 // when the request was due: the same for all its attempts
	SentNS    int64 // when this attempt was given to the HTTP transport
	DoneNS    int64 // when its answer had been read, or it had failed

	Status     int    // HTTP status; 0: no whole answer
	Cause      string // why it was not acknowledged; "" if it was
	Accepted   int    // events accepted, as the answer says
	Rejected   int    // events rejected, as the answer says
	Duplicates int    // duplicates among the accepted; only ack=store tells
	Bytes      int    // length of the body, as sent (compressed if it was)
}

// refusals are the problem codes of a 503 that was given before anything of the
// request was taken. A 503 for another reason may have come after.
var refusals = map[string]bool{
	"queue_full":    true,
	"backlog_full":  true,
	"disk_full":     true,
	"shutting_down": true,
	"busy":          true,
	// Of a node of a cluster. Not no_quorum: what was sent may be in the log.
	"halted":         true,
	"log_not_synced": true,
	"starting":       true,
}

// Outcome judges the attempt by itself. What is not known to be refused is
// unknown: a broken connection, a timeout, a 500, a 503 that gives no reason.
func (a Attempt) Outcome() Outcome {
	switch {
	case a.Status >= 200 && a.Status < 300:
		if a.Cause != "" {
			return Unknown
		}
		return Acknowledged
	case a.Status >= 400 && a.Status < 500:
		return Refused
	case a.Status == 503 && refusals[a.Cause]:
		return Refused
	case a.Status == 0:
		switch a.Cause {
		case CauseNotSent, CauseConnectionRefused, CauseDial:
			return Refused
		}
	}
	return Unknown
}

// Then is the outcome of a request whose attempts so far came to o, and whose
// next attempt came to next. One acknowledgement is enough; a refusal takes
// nothing back of what an attempt before may have done.
func (o Outcome) Then(next Outcome) Outcome { return max(o, next) }

// Lag is how late the attempt was sent. Of a first attempt it is the
// generator's own delay.
func (a Attempt) Lag() time.Duration { return time.Duration(a.SentNS - a.PlannedNS) }

// ServiceTime is from sent to answered.
func (a Attempt) ServiceTime() time.Duration { return time.Duration(a.DoneNS - a.SentNS) }

// ResponseTime is from the moment the request was due to this answer: lag,
// earlier attempts and the pauses between them included.
func (a Attempt) ResponseTime() time.Duration { return time.Duration(a.DoneNS - a.PlannedNS) }
