package senders_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// attempt is a request that a sender made, as the proxy saw it.
type attempt struct {
	begin, end time.Time
	path       string
	marks      []string // of the events in it
	answered   bool     // with 2xx, and the sender got it
	outcome    string   // "": it has not ended
}

// capture is every attempt of a trial: it says whose loss a lost event is.
type capture struct {
	mu       sync.Mutex
	attempts []*attempt
}

// begin notes a request; what it returns notes how it ended.
func (c *capture) begin(r *http.Request, body []byte) func(answered bool, format string, args ...any) {
	if r.Header.Get("Content-Encoding") == "gzip" {
		if plain, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, _ = io.ReadAll(plain) // what was cut has its beginning
		}
	}
	a := &attempt{begin: time.Now(), path: r.Method + " " + r.URL.Path}
	for _, m := range number.FindAllSubmatch(body, -1) {
		a.marks = append(a.marks, string(m[1]))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts = append(c.attempts, a)
	return func(answered bool, format string, args ...any) {
		c.mu.Lock()
		defer c.mu.Unlock()
		a.end, a.answered, a.outcome = time.Now(), answered, fmt.Sprintf(format, args...)
	}
}

// of is a line for each attempt at one of the events, and one for an event that was in none.
func (c *capture) of(events []int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text strings.Builder
	for _, n := range events {
		key, tried := fmt.Sprintf("%06d", n), 0
		for _, a := range c.attempts {
			if i := slices.Index(a.marks, key); i >= 0 {
				tried++
				fmt.Fprintf(&text, "%s: %s to %s, %s, event %d of %d: %s\n", mark(n), a.begin.Format("15:04:05.000000"), a.end.Format("05.000000"),
					a.path, i+1, len(a.marks), a.outcome)
			}
		}
		if tried == 0 {
			fmt.Fprintf(&text, "%s: in no request\n", mark(n))
		}
	}
	return text.String()
}

// answered reports whether one of the events was in a request whose answer of 2xx was handed on.
func (c *capture) answered(events []int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range events {
		for _, a := range c.attempts {
			if a.answered && slices.Contains(a.marks, fmt.Sprintf("%06d", n)) {
				return true
			}
		}
	}
	return false
}
