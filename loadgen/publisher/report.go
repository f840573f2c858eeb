package publisher

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
)

// maxComplaints bounds the lines of standard error about single events.
const maxComplaints = 20

// Report is the publisher's last line: what became of the events.
type Report struct {
	Acknowledged uint64  `json:"acknowledged"`         // events that the aggregator took
	Duplicates   *uint64 `json:"duplicates,omitempty"` // of those; only ack=store tells
	Rejected     uint64  `json:"rejected"`             // events refused one by one, by their code
	Refused      uint64  `json:"refused"`              // events of requests that were refused whole
	Unknown      uint64  `json:"unknown"`              // events that may or may not have been taken
	Skipped      uint64  `json:"skipped"`              // lines that are no event
	Undated      uint64  `json:"undated,omitempty"`    // lines without a time, which got that of reading
	Requests     uint64  `json:"requests"`
	Retries      uint64  `json:"retries"`
	ElapsedMS    int64   `json:"elapsed_ms"`
}

// complete says whether everything that was there to be sent was acknowledged.
func (r *Report) complete() bool {
	return r.Rejected+r.Refused+r.Unknown+r.Skipped == 0
}

// account keeps the report, and complains about single events.
type account struct {
	Report
	what       string // of a place: "line" or "event"
	complainTo io.Writer
	complaints int
	started    time.Time
}

func (a *account) attempted(attempt ledger.Attempt) {
	if attempt.Attempt == 1 {
		a.Requests++
	} else {
		a.Retries++
	}
}

func (a *account) skip(at place, reason error) {
	a.Skipped++
	a.complain(fmt.Sprintf("%s %d: %v", a.what, at.number, reason))
}

// delivered books the result of a batch.
func (a *account) delivered(b batch, result delivery.Result) {
	switch result.Outcome {
	case ledger.Acknowledged:
		a.Acknowledged += uint64(result.Last.Accepted)
		a.Rejected += uint64(result.Last.Rejected)
		for _, at := range b.places {
			if at.undated {
				a.Undated++
			}
		}
		if result.Answer.Duplicates != nil {
			sum := uint64(*result.Answer.Duplicates)
			if a.Duplicates != nil {
				sum += *a.Duplicates
			}
			a.Duplicates = &sum
		}
	case ledger.Refused:
		a.Refused += uint64(len(b.places))
	case ledger.Unknown:
		a.Unknown += uint64(len(b.places))
	}
	for _, e := range result.Answer.Errors {
		if e.Index >= 0 && e.Index < len(b.places) {
			a.complain(fmt.Sprintf("%s %d: %s: %s", a.what, b.places[e.Index].number, e.Code, e.Detail))
		}
	}
	if result.Outcome != ledger.Acknowledged {
		a.complain(fmt.Sprintf("%s %d to %d %v: %s", a.what, b.places[0].number, b.places[len(b.places)-1].number, result.Outcome, reason(result)))
	}
}

// reason is why the last attempt of a request was not acknowledged.
func reason(result delivery.Result) string {
	text := result.Last.Cause
	if text == "" {
		text = "refused"
	}
	if result.Answer.Detail != "" {
		text += ": " + result.Answer.Detail
	}
	if result.Last.Status != 0 {
		text = fmt.Sprintf("%d %s", result.Last.Status, text)
	}
	if result.Last.Attempt > 1 {
		text += fmt.Sprintf(" (%d attempts)", result.Last.Attempt)
	}
	return text
}

// complain writes one line; %q of what came from elsewhere would hide letters,
// so control characters are taken out instead.
func (a *account) complain(text string) {
	a.complaints++
	switch {
	case a.complaints <= maxComplaints:
		fmt.Fprintln(a.complainTo, printable(text))
	case a.complaints == maxComplaints+1:
		fmt.Fprintln(a.complainTo, "… and others, which the last line counts")
	}
}

// oneByOne is a writer that the reader and the sender of lines share.
type oneByOne struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *oneByOne) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}

// printable is text on one line that a terminal does not obey.
func printable(text string) string {
	clean := []rune(text)
	for i, r := range clean {
		if r < ' ' || r >= 0x7f && r <= 0x9f {
			clean[i] = ' '
		}
	}
	return string(clean)
}

// print writes the report as one line of JSON.
func (a *account) print(w io.Writer) error {
	a.ElapsedMS = time.Since(a.started).Milliseconds()
	return json.NewEncoder(w).Encode(a.Report)
}
