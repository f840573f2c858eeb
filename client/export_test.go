package client

import (
	"time"

	"sekali/internal/attempt"
)

// Hasten makes a client's pauses as short as a test needs. Nothing may have been published yet.
func Hasten(c *Client) { c.policy.BaseDelay, c.policy.MaxDelay = time.Millisecond, 4*time.Millisecond }

// HastenSilence makes a client's subscriptions less patient. None may be there yet.
func HastenSilence(c *Client, silence time.Duration) { c.silence = silence }

// BoundLines bounds the lines of a client's subscriptions. None may be there yet.
func BoundLines(c *Client, bytes int) { c.maxLine = bytes }

// Policy is how the client of some options, which must be good ones, repeats a request.
func Policy(o Options) attempt.Policy {
	if err := o.complete(); err != nil {
		panic(err)
	}
	return o.policy()
}

// The spool's records.
var (
	AppendRecord = appendRecord
	ParseRecord  = parseRecord
	Scan         = scan
)

const HeaderBytes = headerBytes
