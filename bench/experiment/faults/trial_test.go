package faults

import (
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
