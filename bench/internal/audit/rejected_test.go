package audit

import (
	"slices"
	"testing"

	"sekali/loadgen/ledger"
)

// TestRejected: what publishers were told is rejected is what the counters say, as far as restarts
// and lost answers let that be known.
func TestRejected(t *testing.T) {
	const restarted = 1000
	whole := Life{}
	for _, test := range []struct {
		name               string
		life               Life
		told               int // events that were rejected before the restart
		lost               int // attempts without an answer; -1: one, of a request with an answer
		after              int // events that were rejected after it
		min, max           uint64
		minInLife, maxLife uint64
	}{
		{"nothing", whole, 0, 0, 0, 0, 0, 0, 0},
		{"some", whole, 3, 0, 2, 5, 5, 5, 5},
		{"an answer that was lost", whole, 3, 1, 0, 3, 13, 3, 13},
		{"an answer that was lost, and a retry", whole, 3, -1, 2, 5, 7, 5, 7},
		{"stopped and started", Life{BeganNS: restarted}, 3, 0, 2, 5, 5, 2, 2},
		{"killed", Life{BeganNS: restarted, Killed: true}, 3, 1, 2, 2, 15, 2, 2},
		{"one node of several", Life{AtMost: true}, 3, 0, 2, 0, 5, 0, 5},
	} {
		m := newModel(t, 10, 4, 0)
		m.life = &test.life
		m.acknowledged(0)
		m.attempt(1, ledger.Attempt{Status: 422, Rejected: test.told, SentNS: 10, DoneNS: 20})
		if lost := (ledger.Attempt{Cause: ledger.CauseEOF, SentNS: 30, DoneNS: 40}); test.lost > 0 {
			m.attempt(2, lost)
		} else if test.lost < 0 {
			m.attempt(3, lost)
		}
		m.attempt(3, ledger.Attempt{Status: 422, Rejected: test.after, SentNS: restarted, DoneNS: restarted + 10})
		for _, c := range []struct {
			name     string
			min, max uint64
			set      func(uint64)
		}{
			{RejectedByLedger, test.min, test.max, func(n uint64) { m.counters.Rejected = n }},
			{RejectedInLife, test.minInLife, test.maxLife, func(n uint64) { m.counters.RejectedInLife = &n }},
		} {
			for _, at := range []struct {
				n    uint64
				held bool
			}{{c.min, true}, {c.max, true}, {c.max + 1, false}, {c.min - 1, c.min == 0}} {
				if at.n == ^uint64(0) {
					continue
				}
				c.set(at.n)
				events := m.events()
				report := m.audit(t, each(events))
				i := slices.IndexFunc(report.Checks, func(check Check) bool { return check.Name == c.name })
				if i < 0 || report.Checks[i].Held != at.held {
					t.Errorf("%s: %s of %d, want held: %t; %v", test.name, c.name, at.n, at.held, report.Checks)
				}
			}
		}
	}
}
