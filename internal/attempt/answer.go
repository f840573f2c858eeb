package attempt

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Answer is the body of an answer to a publish.
type Answer struct {
	Ack        string        `json:"ack"`
	Accepted   *int          `json:"accepted"`
	Rejected   int           `json:"rejected"`
	Duplicates *int          `json:"duplicates"` // nil: this ack level cannot know yet
	Stored     *int          `json:"stored"`     // beside Duplicates
	Failed     int           `json:"failed"`     // of the accepted, those that the database refused
	Errors     []EventError  `json:"errors"`
	Results    []EventResult `json:"results"` // of each event, if they were asked for

	Code   string `json:"code"`   // of a problem document
	Detail string `json:"detail"` // of a problem document

	valid bool // the body was JSON
}

// EventError names a rejected event.
type EventError struct {
	Index  int    `json:"index"` // within the request
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// EventResult says what became of an event.
type EventResult struct {
	Index  int    `json:"index"` // within the request
	Status string `json:"status"`
}

// ParseAnswer reads a body. One that is not JSON speaks of nothing.
func ParseAnswer(body []byte) Answer {
	var a Answer
	a.valid = json.Unmarshal(body, &a) == nil
	return a
}

// Counts is true if the answer is whole and counts n events.
func (a *Answer) Counts(n int) bool {
	return a.valid && a.Accepted != nil && *a.Accepted >= 0 && a.Rejected >= 0 && *a.Accepted+a.Rejected == n
}

// Names is true if the answer, which counts n events, names each rejected one once.
func (a *Answer) Names(n int) bool {
	if len(a.Errors) != a.Rejected {
		return false
	}
	named := map[int]bool{}
	for _, e := range a.Errors {
		if e.Index < 0 || e.Index >= n || named[e.Index] {
			return false
		}
		named[e.Index] = true
	}
	return true
}

// Failures are the events that the database refused, of n. It is false if the answer counts some,
// and does not name each.
func (a *Answer) Failures(n int) (indexes []int, named bool) {
	if a.Failed == 0 {
		return nil, true
	}
	for i, result := range a.Results {
		if result.Index != i {
			return nil, false
		}
		if result.Status == "failed" {
			indexes = append(indexes, i)
		}
	}
	return indexes, len(a.Results) == n && len(indexes) == a.Failed
}

// IsOf says that a 2xx is one of the level that was asked for. "" is the
// server's own level, of which nothing is known.
func (a *Answer) IsOf(ack string, status int) bool {
	switch ack {
	case "":
		return true
	case "store":
		return status == http.StatusOK && a.Ack == ack && a.Accepted != nil && a.Stored != nil && a.Duplicates != nil &&
			*a.Stored >= 0 && *a.Duplicates >= 0 && a.Failed >= 0 && *a.Stored+*a.Duplicates+a.Failed == *a.Accepted
	}
	return status == http.StatusAccepted && a.Ack == ack
}

// RetryAfter reads seconds or an HTTP date; 0 if it is neither.
func RetryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	// A duration holds 292 years of seconds; a server that says more says nothing.
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
