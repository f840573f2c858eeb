package mutants

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sekali/bench/internal/audit"
	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/internal/programs"
)

// TestMain makes the test binary a mutant and its proxy, as bench is one.
func TestMain(m *testing.M) {
	if len(os.Args) > 5 {
		switch os.Args[1] {
		case Command:
			fmt.Fprintln(os.Stderr, Become(os.Args[0], os.Args[2], os.Args[3], os.Args[4], os.Args[5:]))
			os.Exit(2)
		case ProxyCommand:
			if err := Proxy(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Stdin, os.Stderr); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// TestLiesAreCaught tries one of each kind that is short; bench mutants tries them all.
func TestLiesAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: several seconds for each mutant")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "aggregator")
	if err := programs.Build(program, "", "aggregator"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	rows := 0
	err = Try(ctx, Config{Self: self, Aggregator: program, Only: regexp.MustCompile(`^(` + short + `)$`), Dir: filepath.Join(dir, "runs")}, func(row Found) {
		rows++
		t.Logf("%s: %s", row.Name, row.Outcome())
		if strings.HasPrefix(row.NoResult, spoiledBy) { // other tests run beside this one
			t.Logf("skipped: %s: %s", row.Name, row.NoResult)
		} else if !row.Held() {
			t.Errorf("%s (%s): %s", row.Name, row.Lie, row.Outcome())
		}
		if said, control := map[string]string{"rejects-kill": "rejected: expected 0"}[row.Name]; control && !strings.HasPrefix(row.Caught, said) {
			t.Errorf("%s: its counters are right, and the lab says %q", row.Name, row.Caught)
		}
		if strings.Contains(row.Caught, dir) {
			t.Errorf("%s: the page would have a path of this machine: %s", row.Name, row.Caught)
		}
	})
	if err != nil || rows == 0 {
		t.Errorf("%d mutants, %v", rows, err)
	}
}

// TestMachineIsNotCaught: what the machine does to a run catches no lie, be it one that the lab
// cannot see, and accuses no honest aggregator.
func TestMachineIsNotCaught(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "aggregator")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho 'no space left on device' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	err = Try(t.Context(), Config{Self: self, Aggregator: program, Crash: program, Only: regexp.MustCompile("^(honest|no-sync|seq-shifted)$"), Dir: filepath.Join(dir, "runs")}, func(row Found) {
		rows++
		if row.Held() || row.Caught != "" || !strings.HasPrefix(row.Outcome(), "**NO RESULT**, and not by a lie: "+row.Name+": ") {
			t.Errorf("%+v: %s", row, row.Outcome())
		}
	})
	if err != nil || rows != 3 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// TestEndedIsNotCaught: an aggregator that is gone in the middle of a run, its lie told, has not
// been seen to lie.
func TestEndedIsNotCaught(t *testing.T) {
	dir := t.TempDir()
	if err := programs.Build(filepath.Join(dir, "real"), "", "aggregator"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runs := filepath.Join(dir, "runs")
	dies := fmt.Sprintf("#!/bin/sh\n(n=0; while [ ! -e %s/ack/told ] && [ $n -lt 999 ]; do n=$((n+1)); sleep 0.02; done; kill -9 $$) >/dev/null 2>&1 &\nexec %s/real \"$@\"\n", runs, dir)
	program := filepath.Join(dir, "aggregator")
	if err := os.WriteFile(program, []byte(dies), 0o755); err != nil {
		t.Fatal(err)
	}
	err = Try(t.Context(), Config{Self: self, Aggregator: program, Only: regexp.MustCompile("^ack$"), Dir: runs}, func(row Found) {
		if row.Held() || row.Caught != "" || !strings.Contains(row.NoResult, "ended by itself: killed by SIGKILL") {
			t.Errorf("%+v: %s", row, row.Outcome())
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSpoiledRunCatchesNothing: what was refused or not answered is a lie's doing only where the
// machine did not spoil the run. What the audit found is one in any run.
func TestSpoiledRunCatchesNothing(t *testing.T) {
	clean, kept := &audit.Report{}, &audit.Report{Lost: 3, Findings: []string{"lost: original 7"}} // as at ack=memory
	spoils, dirty := record.Reason{Code: judge.OthersTook, Text: "others took 40 %"}, record.Reason{Code: judge.DirtyTree, Text: "changes"}
	for name, test := range map[string]struct {
		audit    *audit.Report
		reasons  []record.Reason
		not      string // the expectation that was not met
		caught   string
		machines string
	}{
		"refused":                           {clean, nil, "refused", "refused: expected", ""},
		"refused, in a tree of changes":     {clean, []record.Reason{dirty}, "refused", "refused: expected", ""},
		"refused, and spoiled":              {clean, []record.Reason{dirty, spoils}, "refused", "", "others took"},
		"failures, and spoiled":             {clean, []record.Reason{spoils}, "failures", "", "others took"},
		"failures, of a kill":               {kept, []record.Reason{spoils}, "failures", "", "others took"},
		"lost, and spoiled":                 {kept, []record.Reason{spoils}, "lost", "lost: original 7", "others took"},
		"rejected, where a loss is allowed": {kept, nil, "rejected", "rejected: expected", ""},
		"nothing, and spoiled":              {clean, []record.Reason{spoils}, "", "", "others took"},
		"spoiled, and not by a machine":     {clean, []record.Reason{{Code: judge.FirstAnswersSlow, Text: "slow"}}, "", "INVALID: slow", ""},
		"spoiled by both":                   {clean, []record.Reason{spoils, {Code: judge.LittlesLaw, Text: "waits"}}, "failures", "", "others took"},
		"nothing to be said of it at all":   {clean, nil, "", "", ""},
	} {
		run := record.Run{Audit: test.audit, Validity: record.Validity{Valid: test.reasons == nil, Reasons: test.reasons},
			Expectations: []record.Expectation{{Name: "acknowledged", Held: true}, {Name: test.not, Held: test.not == ""}}}
		caught, machines := verdict(run)
		if !strings.HasPrefix(caught, test.caught) || (caught == "") != (test.caught == "") || !strings.HasPrefix(machines, test.machines) || (machines == "") != (test.machines == "") {
			t.Errorf("%s: caught by %q, spoiled by %q", name, caught, machines)
		}
	}
}

// TestWithoutARun: neither a name that no mutant has nor a run that was not made is a pass.
func TestWithoutARun(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, Honest), 0o755), os.WriteFile(filepath.Join(dir, Honest, "runs"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for only, why := range map[string]string{"^nothing$": "there is none of that name", "^honest$": "not a directory"} {
		err := Try(t.Context(), Config{Self: os.Args[0], Aggregator: os.Args[0], Only: regexp.MustCompile(only), Dir: dir}, func(row Found) {
			t.Errorf("%s: %s", row.Name, row.Outcome())
		})
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", only, err)
		}
	}
}

// short are the mutants of the test, separated by "|".
const short = "honest|honest-mixed|honest-slow|drained|destroyed|page-gap|refuses|rejects-kill|rejected-forgotten|until-ignored|backup-gap"

// TestDocument holds the page to the catalogue: its form, and no figure.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", File))
	if err == nil {
		err = checkDocument(page)
	}
	if err != nil {
		t.Errorf("%v; make mutants writes it", err)
	}
	for name, spoil := range map[string][2]string{
		"a row is missing":         {"| drained |", "| drowned |"},
		"a lie got through":        {passes, "lost is 3, must be 0"},
		"another introduction":     {"Does the lab notice", "Does the lab see"},
		"a lie that is not caught": {"failures: expected 0", "**NOT CAUGHT** expected 0"},
	} {
		if checkDocument(bytes.Replace(page, []byte(spoil[0]), []byte(spoil[1]), 1)) == nil {
			t.Errorf("%s: nothing is said", name)
		}
	}
}
