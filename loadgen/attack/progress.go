package attack

import (
	"sync"
	"time"

	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
)

// Summary is what an attack came to.
type Summary struct {
	StartedAt   time.Time // zero of the ledger's times
	Phases      []PhaseSummary
	Connections Connections
}

// PhaseSummary counts requests, where it does not say events.
type PhaseSummary struct {
	Name     string
	Measured bool

	StartNS int64 // when the phase was due to begin
	EndNS   int64 // its last answer; 0: none

	FirstRequest uint64 // only meaningful if Planned > 0
	Planned      uint64 // a closed-loop phase that a duration ends plans what it sends
	Sent         uint64
	Acknowledged uint64
	Refused      uint64 // of those sent
	Unknown      uint64
	Retries      uint64 // attempts after the first

	AcceptedEvents uint64 // of acknowledged requests
	RejectedEvents uint64
}

// Progress is a moment of an attack, summed over all phases but for Phase.
type Progress struct {
	StartedAt time.Time // zero: the bodies are still being built
	Phase     string    // of the request sent last
	Planned   uint64    // up to the end of the attack, where that is known
	Sent      uint64
	Answered  uint64 // requests that are over, however they ended

	AcknowledgedEvents uint64
	Refused            uint64
	Unknown            uint64
	Retries            uint64
}

// tally counts while the attack runs.
type tally struct {
	mu      sync.Mutex
	started time.Time
	current int // phase of the request sent last
	phases  []PhaseSummary
}

func newTally(phases []Phase) *tally {
	t := &tally{phases: make([]PhaseSummary, len(phases))}
	for i, p := range phases {
		t.phases[i].Name, t.phases[i].Measured = p.Name, p.Measured
		if p.Rate > 0 {
			t.phases[i].Planned = p.planned()
		} else if p.Duration == 0 {
			t.phases[i].Planned = p.Requests
		}
	}
	return t
}

func (t *tally) sent(phase int, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.phases[phase]
	if p.Sent == 0 || number < p.FirstRequest {
		p.FirstRequest = number
	}
	p.Sent++
	t.current = max(t.current, phase)
}

func (t *tally) attempted(a ledger.Attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.phases[a.Phase]
	p.EndNS = max(p.EndNS, a.DoneNS)
	if a.Attempt > 1 {
		p.Retries++
	}
}

func (t *tally) answered(r delivery.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.phases[r.Last.Phase]
	switch r.Outcome {
	case ledger.Acknowledged:
		p.Acknowledged++
		p.AcceptedEvents += uint64(r.Last.Accepted)
		p.RejectedEvents += uint64(r.Last.Rejected)
	case ledger.Refused:
		p.Refused++
	case ledger.Unknown:
		p.Unknown++
	}
}

func (t *tally) progress() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := Progress{StartedAt: t.started, Phase: t.phases[t.current].Name}
	for _, p := range t.phases {
		now.Planned += max(p.Planned, p.Sent)
		now.Sent += p.Sent
		now.Answered += p.Acknowledged + p.Refused + p.Unknown
		now.AcknowledgedEvents += p.AcceptedEvents
		now.Refused += p.Refused
		now.Unknown += p.Unknown
		now.Retries += p.Retries
	}
	return now
}
