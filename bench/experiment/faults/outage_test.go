package faults

import (
	"testing"
	"time"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// TestOutage: a level is out until what was sent behind the fault is acknowledged, and for the
// longest time between two acknowledgements, the end included.
func TestOutage(t *testing.T) {
	tr := &trial{began: time.Now().Add(-time.Minute), record: record.Trial{Levels: []string{"journal", "store"}}}
	tr.outage.heard(ledger.Attempt{}) // nothing is measured yet
	tr.measure()
	from := tr.outage.last[0]
	acknowledge := func(phase int, sent, done time.Duration) {
		tr.outage.heard(ledger.Attempt{Phase: phase, SentNS: from + int64(sent), DoneNS: from + int64(done)})
	}
	acknowledge(0, time.Second, 2*time.Second)
	acknowledge(1, time.Second, 3*time.Second)
	if tr.over() {
		t.Error("it is over before the fault is there")
	}
	tr.struck()
	acknowledge(0, 10*time.Second, 11*time.Second)
	if tr.over() {
		t.Error("it is over, and store was not acknowledged again")
	}
	acknowledge(1, -time.Second, 8*time.Second) // sent before
	if tr.over() {
		t.Error("it is over by what was sent before the fault")
	}
	acknowledge(1, 9*time.Second, 10*time.Second)
	if !tr.over() {
		t.Error("it is not over")
	}
	tr.measured()
	want := []record.Outage{{Level: "journal", MS: 9000}, {Level: "store", MS: 5000}}
	if got := tr.record.Outages; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, want %+v", got, want)
	}
}
