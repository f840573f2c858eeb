package mutants

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sekali/bench/experiment/runner"
	"sekali/bench/internal/audit"
	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/bench/scenario"
)

// loads are what the mutants are shown, each short.
var loads = map[string]string{
	"":             "stream: {seed: 1, duplicates: 0.2}\n" + requests,
	"store":        "stream: {seed: 2, duplicates: 0.2}\naggregator: {ack: store}\n" + requests,
	"restart":      "stream: {seed: 3, duplicates: 0.2}\nfault: {kind: sigterm, at: 900ms}\n" + requests,
	"mixed":        "stream: {seed: 4, duplicates: 0.2, shape: mixed}\n" + requests,
	"client":       "stream: {seed: 7, duplicates: 0.2}\n" + oneClient,
	"client-store": "stream: {seed: 8, duplicates: 0.2}\naggregator: {ack: store}\n" + oneClient,
	"kill": "stream: {seed: 6, duplicates: 0.2}\naggregator: {ack: memory, dedup: table, layout: rows}\n" +
		"fault: {kind: sigkill, at: 900ms}\nexpect: {lost: any}\n" + requests,
	// In several transactions, once the database is free.
	queue: "stream: {seed: 5, duplicates: 0.2}\naggregator: {batch_events: 100}\n" + requests,
}

const requests = `load:
  events_per_request: 20
  phases:
    - {name: warm-up, rate: 50/s, duration: 400ms}
    - {name: measured, rate: 100/s, duration: 1500ms, measured: true}
`

// oneClient has no two requests under way at once.
const oneClient = `load:
  events_per_request: 20
  phases:
    - {name: measured, clients: 1, duration: 1500ms, measured: true}
`

// Config says what to try.
type Config struct {
	Self       string // this program, which becomes each mutant
	Aggregator string // that lies
	Crash      string // the same, built with -tags sekali_crash; it may be missing
	Only       *regexp.Regexp
	Dir        string // for what the runs leave behind
	Version    string // as the runner wants it
}

// Found is a row of the table.
type Found struct {
	Name, Lie string
	Told      bool   // it gave something else than the truth
	Caught    string // what the lab said; "": nothing
	NoResult  string // why the run came to no result, and not by the lie; "": it came to one, or by the lie
	NotTried  string // why; "": it was
}

// Held says that the lab was right about it: nothing to say of an honest one, and something of any
// other that lied and that it can see.
func (f Found) Held() bool {
	m, _ := find(f.Name)
	switch {
	case f.NotTried != "":
		return true
	case f.NoResult != "":
		return false
	case strings.HasPrefix(f.Name, Honest):
		return f.Caught == ""
	}
	return f.Told && (f.Caught != "" || m.uncaught != "")
}

// Try runs every mutant that is asked for, and hands each row to show as it is known. None of that
// name is an error.
func Try(ctx context.Context, c Config, show func(Found)) error {
	found := false
	for _, m := range catalogue {
		if c.Only != nil && !c.Only.MatchString(m.name) {
			continue
		}
		found = true
		row := Found{Name: m.name, Lie: m.lie}
		program := c.Aggregator
		if m.environ != nil {
			program = c.Crash
			if _, err := os.Stat(program); err != nil {
				row.NotTried = program + " is not built"
				show(row)
				continue
			}
		}
		if m.traced {
			if _, err := exec.LookPath("strace"); err != nil {
				row.NotTried = "strace, which counts syncs, is not installed"
				show(row)
				continue
			}
		}
		if err := c.try(ctx, m, program, &row); err != nil {
			return fmt.Errorf("mutants: %s: %w", m.name, err)
		}
		show(row)
	}
	if !found {
		return errors.New("mutants: there is none of that name")
	}
	return nil
}

// mostSpoiled bounds how often a mutant is run until the machine does not spoil the run, and
// spoiledBy begins what is said where it spoiled all of them.
const (
	mostSpoiled = 3
	spoiledBy   = "the machine spoiled its runs: "
)

// try runs a mutant, and notes whether a lie was told, and the first thing that the lab says.
func (c Config) try(ctx context.Context, m mutant, program string, row *Found) error {
	out := filepath.Join(c.Dir, m.name)
	note, err := filepath.Abs(filepath.Join(out, "told"))
	if err != nil {
		return err
	}
	for range mostSpoiled {
		if err := os.RemoveAll(note); err != nil {
			return err
		}
		row.Caught, row.NoResult, err = c.run(ctx, m, program, out, note)
		if err != nil || !strings.HasPrefix(row.NoResult, spoiledBy) {
			break
		}
	}
	_, missing := os.Stat(note)
	row.Told = missing == nil || m.environ != nil // what is left out by another program is left out always
	return err
}

// run returns the first thing that the lab says of a mutant; or why it came to no result, which
// catches no lie but one that leaves none: a full disk, or an aggregator that ends by itself, is
// the machine's doing.
func (c Config) run(ctx context.Context, m mutant, program, out, note string) (said, none string, err error) {
	asked, err := scenario.Parse(m.name+".yaml", []byte("name: "+m.name+"\nquestion: Is the lie seen?\n"+loads[m.load]))
	if err != nil {
		return "", "", err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", "", err
	}
	path, err := filepath.Abs(filepath.Join(out, "aggregator"))
	if err != nil {
		return "", "", err
	}
	if program, err = filepath.Abs(program); err != nil {
		return "", "", err
	}
	if err := os.WriteFile(path, []byte(script(c.Self, m.name, note, program)), 0o755); err != nil {
		return "", "", err
	}
	var printed, wrong bytes.Buffer
	dir, outcome := runner.Run(ctx, runner.Config{Scenarios: []*scenario.Scenario{asked}, Repeat: 1, Out: out, Aggregator: path, Version: c.Version, CountSyncs: m.traced}, &printed, &wrong)
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case outcome == runner.NotBegun || dir == "":
		return "", "", fmt.Errorf("nothing was run: %s", bytes.TrimSpace(wrong.Bytes()))
	}
	folders, err := record.Open(dir)
	if err == nil && len(folders) > 0 {
		said, spoiled := verdict(folders[0].Run)
		if said == "" && spoiled != "" && !strings.HasPrefix(m.name, Honest) && m.uncaught == "" {
			return "", spoiledBy + spoiled, nil
		}
		return said, "", nil
	}
	// It came to no result: then the lab has said why.
	_, why, failed := strings.Cut(printed.String(), "FAILED ")
	if !failed {
		return "", "", fmt.Errorf("no result, and nobody says why: %w", cmp.Or(err, record.ErrNone))
	}
	why, _, _ = strings.Cut(why, "\n")
	why = strings.ReplaceAll(why, path, "aggregator") // the page is not of this machine
	if m.noResult != "" && strings.Contains(why, m.noResult) {
		return why, "", nil
	}
	return "", why, nil
}

// disturbances are the reasons of an INVALID run for which an honest aggregator may refuse, or not
// answer, or seem slow. The others are of the build, or of what cannot be measured here.
var disturbances = []string{judge.OthersTook, judge.MachineStoodStill, judge.GeneratorStalled, judge.Throttled, judge.GeneratorLate, judge.GeneratorTook}

// verdict is what a run's record says of the aggregator first, and not of the machine: which check
// did not hold, what was found, which expectation was not met, why the figures are not its own.
// spoiled is what the machine did to the run: then only what the audit found is caught.
func verdict(run record.Run) (caught, spoiled string) {
	var reasons []record.Reason
	for _, reason := range run.Validity.Reasons {
		if slices.Contains(disturbances, reason.Code) {
			spoiled = cmp.Or(spoiled, reason.Text)
		}
		if judge.OfAggregator(reason) {
			reasons = append(reasons, reason)
		}
	}
	run.Validity.Valid = spoiled == "" && len(reasons) == 0
	var said []string
	broken := judge.Broken(run)
	if run.Audit != nil {
		// What was seen from outside says why the others do not hold.
		outside := func(c audit.Check) bool {
			return strings.HasPrefix(c.Name, "committed_") || strings.HasPrefix(c.Name, "waited_")
		}
		failed := run.Audit.FailedChecks()
		for _, check := range slices.Concat(slices.DeleteFunc(slices.Clone(failed), not(outside)), slices.DeleteFunc(failed, outside)) {
			said = append(said, check.String())
		}
		if len(broken) > 0 {
			allowed := !slices.ContainsFunc(broken, func(e record.Expectation) bool { return e.Name == "lost" })
			said = append(said, slices.DeleteFunc(slices.Clone(run.Audit.Findings), func(found string) bool {
				return allowed && strings.HasPrefix(found, "lost: ")
			})...)
		}
	}
	for _, e := range broken {
		said = append(said, fmt.Sprintf("%s: expected %s, got %s", e.Name, e.Expected, e.Got))
	}
	for _, reason := range reasons {
		if spoiled == "" {
			said = append(said, "INVALID: "+reason.Text)
		}
	}
	if len(said) > 0 {
		caught = said[0]
	}
	return caught, spoiled
}

// WriteHeader and Write make the table in Markdown.
func WriteHeader(w io.Writer) {
	fmt.Fprintln(w, "| mutant | what it does | caught by |")
	fmt.Fprintln(w, "|---|---|---|")
}

func not(is func(audit.Check) bool) func(audit.Check) bool {
	return func(c audit.Check) bool { return !is(c) }
}

// passes is said of an honest one.
const passes = "passes, as it must"

// Write writes the row.
func (f Found) Write(w io.Writer) {
	fmt.Fprintf(w, "| %s | %s | %s |\n", f.Name, f.Lie, strings.NewReplacer("|", `\|`, "\n", " ").Replace(f.Outcome()))
}

// Outcome is the row's last column.
func (f Found) Outcome() string {
	m, _ := find(f.Name)
	switch honest := strings.HasPrefix(f.Name, Honest); {
	case f.NotTried != "":
		return "not tried: " + f.NotTried
	case f.NoResult != "":
		return "**NO RESULT**, and not by a lie: " + f.NoResult
	case honest && f.Caught == "":
		return passes
	case honest:
		return "**ACCUSED**: " + f.Caught
	case !f.Told:
		return "**NOT TOLD**: all that it gave was true"
	case f.Caught == "" && m.uncaught != "":
		return "not caught: " + m.uncaught
	case f.Caught == "":
		return "**NOT CAUGHT**"
	}
	return f.Caught
}
