package faults

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
)

// TestNeverAnsweredAgain: a fault after which nobody is answered is a broken promise, and its wait
// ends there; one after which somebody is answered has a time of recovery.
func TestNeverAnsweredAgain(t *testing.T) {
	s := &sitting{ctx: t.Context()}
	one, err := s.newTrial(t.TempDir(), "journal")
	if err != nil {
		t.Fatal(err)
	}
	answer := func() { one.note(0, delivery.Result{Outcome: ledger.Acknowledged, Last: ledger.Attempt{Status: 202}}) }
	one.awaitRecovery(20 * time.Millisecond)
	if broken := one.record.Broken; len(broken) != 1 || !strings.HasPrefix(broken[0], "nobody was answered") {
		t.Errorf("broken: %q", broken)
	}
	if answer(); len(one.record.RecoveryMS) != 0 {
		t.Errorf("recovery of a fault that was given up: %v", one.record.RecoveryMS)
	}
	time.AfterFunc(20*time.Millisecond, answer)
	one.awaitRecovery(10 * time.Second)
	if len(one.record.Broken) != 1 || len(one.record.RecoveryMS) != 1 || one.record.RecoveryMS[0] > 5000 {
		t.Errorf("%q, %v", one.record.Broken, one.record.RecoveryMS)
	}
}

// TestRefused: a control is found by a start that fails, if the reason is the control's.
func TestRefused(t *testing.T) {
	for why, found := range map[string]bool{"exit code 1: it has diverged": true, "this replica has halted": true, "the port is taken": false} {
		c := &clusterTrial{trial: &trial{}}
		c.refused(errors.New(why), diverged...)
		if (len(c.record.Caught) == 1) != found || (len(c.record.Broken) == 0) != found {
			t.Errorf("%s: caught %q, broken %q", why, c.record.Caught, c.record.Broken)
		}
	}
}

// TestPasses: a place is crashed at as often as the fault is to be injected.
func TestPasses(t *testing.T) {
	kind := Kind{Short: 2, Long: 7}
	for want, config := range map[int]Config{2: {Short: true}, 7: {}, 9: {Count: 9}, 1: {Count: 1}} {
		s := &sitting{Config: config, kind: kind}
		if got := s.passes(); len(got) != want || got[0] != 1 {
			t.Errorf("%+v: %v", config, got)
		}
	}
	if got := (&sitting{kind: kind}).passes(); !slices.Equal(got, []int{1, 2, 3, 5, 8, 13, 21}) {
		t.Errorf("at length: %v", got)
	}
}
