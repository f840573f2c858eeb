package faults

import (
	"reflect"
	"testing"
	"time"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// TestOutage: a level is out until what was sent behind the fault is acknowledged; every long time
// between two acknowledgements is recorded, the end included, in whatever order they are told.
func TestOutage(t *testing.T) {
	tr := &trial{began: time.Now().Add(-time.Minute), record: record.Trial{Levels: []string{"journal", "store"}}}
	tr.outage.heard(ledger.Attempt{}) // nothing is measured yet
	tr.measure()
	from := tr.outage.from
	const s = int64(time.Second)
	acknowledge := func(phase int, sent, done int64) {
		tr.outage.heard(ledger.Attempt{Phase: phase, SentNS: from + sent, DoneNS: from + done})
	}
	acknowledge(0, -2*s, -s) // before it
	acknowledge(0, 0, s/100)
	acknowledge(1, 0, s/20)
	if tr.over() {
		t.Error("it is over before the fault is there")
	}
	tr.began = tr.began.Add(-2 * time.Second)
	tr.struck()
	struck := tr.outage.struck
	acknowledge(0, 3*s, 4*s)
	if tr.over() {
		t.Error("it is over, and store was not acknowledged again")
	}
	acknowledge(1, 0, 3*s) // sent before
	if tr.over() {
		t.Error("it is over by what was sent before the fault")
	}
	acknowledge(1, 3*s, 5*s)
	acknowledge(1, 3*s, 5*s-s/20) // told later, done earlier
	if !tr.over() {
		t.Error("it is not over")
	}
	tr.began = tr.began.Add(-4 * time.Second)
	tr.mended()
	healed := tr.outage.healed
	tr.measured()
	if len(tr.record.Outages) != 1 {
		t.Fatalf("%+v", tr.record.Outages)
	}
	got := tr.record.Outages[0]
	until := got.UntilNS
	want := record.Outage{FromNS: from, StruckNS: struck, HealedNS: healed, UntilNS: until, Levels: []record.LevelOutage{
		{Level: "journal", Acknowledged: 2, SilencesNS: [][2]int64{{from + s/100, from + 4*s}, {from + 4*s, until}}},
		{Level: "store", Acknowledged: 4, SilencesNS: [][2]int64{{from + s/20, from + 3*s}, {from + 3*s, from + 5*s - s/20}, {from + 5*s, until}}},
	}}
	if !reflect.DeepEqual(got, want) || until < from+5*s {
		t.Errorf("%+v, want %+v", got, want)
	}
}
