package client

import "time"

// Hasten makes a client's pauses as short as a test needs. Nothing may have been published yet.
func Hasten(c *Client) { c.pauses = pauses{time.Millisecond, 4 * time.Millisecond} }

// HastenSilence makes a client's subscriptions less patient. None may be there yet.
func HastenSilence(c *Client, silence time.Duration) { c.silence = silence }

// PauseAfter is the pause of every client after attempt n.
func PauseAfter(n int, asked time.Duration) time.Duration {
	return pauses{firstPause, longestPause}.after(n, asked)
}

// The spool's records.
var (
	AppendRecord = appendRecord
	ParseRecord  = parseRecord
	Scan         = scan
)

const HeaderBytes = headerBytes

const LongestPause, LongestRetryAfter = longestPause, longestRetryAfter
