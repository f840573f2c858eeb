package publisher

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"sekali/client"
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

// soFar says what became of the events of a run that was stopped.
func (r *Report) soFar(unsent int) string {
	return fmt.Sprintf("%d events were, %d were sent and refused, %d were sent and had no answer, %d were read and not sent",
		r.Acknowledged, r.Refused+r.Rejected, r.Unknown, unsent)
}

// account keeps the report, and complains about single events; safe for concurrent use.
type account struct {
	mu sync.Mutex
	Report
	what       string // of a place: "FILE: line" or "event"
	complainTo io.Writer
	complaints int
	started    time.Time
}

func (a *account) skip(at place, reason error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Skipped++
	a.complain(fmt.Sprintf("%s %d: %v", a.what, at.number, reason))
}

// sent books a request, and how often it was sent.
func (a *account) sent(attempts int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Requests++
	a.Retries += uint64(attempts - 1)
}

// delivered books the result of a batch: its last attempt, as the client and as the ledger has it,
// and what all of them came to.
func (a *account) delivered(places []place, answer client.Attempt, last ledger.Attempt, outcome ledger.Outcome) {
	a.sent(last.Attempt)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch outcome {
	case ledger.Acknowledged:
		a.Acknowledged += uint64(last.Accepted)
		a.Rejected += uint64(last.Rejected)
		for _, at := range places {
			if at.undated {
				a.Undated++
			}
		}
		if answer.Duplicates != nil {
			sum := uint64(*answer.Duplicates)
			if a.Duplicates != nil {
				sum += *a.Duplicates
			}
			a.Duplicates = &sum
		}
	case ledger.Refused:
		a.Refused += uint64(len(places))
	case ledger.Unknown:
		a.Unknown += uint64(len(places))
	}
	for _, e := range answer.Rejected {
		if e.Index >= 0 && e.Index < len(places) {
			a.complain(fmt.Sprintf("%s %d: %s: %s", a.what, places[e.Index].number, e.Code, e.Detail))
		}
	}
	if outcome != ledger.Acknowledged {
		a.complain(fmt.Sprintf("%s %d to %d %v: %s", a.what, places[0].number, places[len(places)-1].number, outcome, reason(last, answer.Detail)))
	}
}

// reason is why the last attempt of a request was not acknowledged.
func reason(last ledger.Attempt, detail string) string {
	text := last.Cause
	if text == "" {
		text = "refused"
	}
	if detail != "" {
		text += ": " + detail
	}
	if last.Status != 0 {
		text = fmt.Sprintf("%d %s", last.Status, text)
	}
	if last.Attempt > 1 {
		text += fmt.Sprintf(" (%d attempts)", last.Attempt)
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
