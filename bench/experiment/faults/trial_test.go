package faults

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekali/bench/figures"
	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/bench/system/cluster"
	"sekali/bench/system/process"
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

// TestWhatDoesNotHealIsARow: a cluster that does not heal has broken a promise, and its kind has a
// row. Only where the sitting is to end it has none.
func TestWhatDoesNotHealIsARow(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	s := &sitting{ctx: ctx, record: record.Fault{Name: "a", Promise: nothingLost}}
	newTrial := func() *clusterTrial {
		of, err := s.newTrial(t.TempDir(), survivors...)
		if err != nil {
			t.Fatal(err)
		}
		return &clusterTrial{trial: of, Cluster: &cluster.Cluster{}}
	}
	if err := newTrial().ended(nil); err != nil || len(s.record.Trials) > 0 {
		t.Errorf("of one that has ended itself: %v, %v", err, s.record.Trials)
	}
	if err := newTrial().ended(errors.New("not healed")); err != nil {
		t.Error(err)
	}
	row, err := figures.Fault(s.record)
	if err != nil || judge.FaultHeld(row) || len(row.Broken) != 1 || row.Broken[0] != "not healed" {
		t.Errorf("the row is %+v, %v", row, err)
	}
	end()
	if err := newTrial().ended(ctx.Err()); !errors.Is(err, context.Canceled) || len(s.record.Trials) != 1 {
		t.Errorf("interrupted: %v, %d trials", err, len(s.record.Trials))
	}
}

// TestCaughtByLastWords: a control is found by a node that ends, if the reason is the control's. An
// end for another reason has found nothing, and nobody waits for more.
func TestCaughtByLastWords(t *testing.T) {
	for words, found := range map[string]bool{
		"echo 'aggregator: this replica has halted: no' >&2; exit 1": true,
		"echo 'aggregator: the disk is full' >&2; exit 1":            false,
		"echo 'panic: runtime error' >&2; exit 2":                    false,
		"exit 0":     false,
		"kill -9 $$": false,
	} {
		p, err := process.Start(t.Context(), process.Config{Binary: "/bin/sh", Plain: true, Log: io.Discard, Args: []string{"-c",
			`trap "` + strings.ReplaceAll(words, "$$", `\$\$`) + `" TERM; echo '{"msg":"listening","addr":"127.0.0.1:1"}' >&2; while :; do sleep 0.01; done`}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-p.Exited()
		c := &clusterTrial{trial: &trial{s: &sitting{ctx: t.Context()}}, Cluster: &cluster.Cluster{Machines: []*cluster.Machine{{Node: p}}}}
		c.caught(0, diverged...)
		if (len(c.record.Caught) == 1) != found || (len(c.record.Broken) == 0) != found {
			t.Errorf("%s: caught %q, broken %q", words, c.record.Caught, c.record.Broken)
		}
	}
}

// TestEndsByItself: an aggregator that ends by itself was not killed.
func TestEndsByItself(t *testing.T) {
	for how, broken := range map[string]bool{"exit 2": true, "exit 0": true, "kill -9 $$": false} {
		program := filepath.Join(t.TempDir(), "aggregator")
		text := "#!/bin/sh\necho '{\"msg\":\"listening\",\"addr\":\"127.0.0.1:1\"}' >&2\nsleep 0.1\n" + how + "\n"
		if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		s := &sitting{Config: Config{Crash: program, Log: io.Discard}, ctx: t.Context()}
		one, err := s.newTrial(t.TempDir(), everyLevel...)
		if err != nil {
			t.Fatal(err)
		}
		if err := one.crash("somewhere:1"); err != nil || (len(one.record.Broken) == 1) != broken {
			t.Errorf("%s: %v, %q", how, err, one.record.Broken)
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
