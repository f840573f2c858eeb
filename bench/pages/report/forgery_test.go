package report

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/bench/figures"
	"sekali/bench/internal/audit"
	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// forger changes what is committed and makes all that follows from it anew, as somebody would who
// has read how it is verified.
type forger struct {
	t   *testing.T
	dir string // of the sitting
}

func (f forger) folder(name string) string { return filepath.Join(f.dir, name) }

// run changes run.json and audit.json of a folder, and makes its figures and hashes anew.
func (f forger) run(name string, change func(*record.Run)) {
	f.t.Helper()
	resulttest.RewriteRun(f.t, f.folder(name), change)
	run, err := record.ReadRun(f.folder(name))
	if err != nil {
		f.t.Fatal(err)
	}
	text, err := record.MarshalJSON(run.Audit)
	if err == nil {
		err = os.WriteFile(filepath.Join(f.folder(name), record.AuditFile), text, 0o644)
	}
	if err == nil {
		_, err = judge.Finish(f.folder(name))
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f forger) audit(name string, change func(*audit.Report)) {
	f.t.Helper()
	f.run(name, func(r *record.Run) { change(r.Audit) })
}

func (f forger) index(change func(*record.Index)) {
	f.t.Helper()
	index, err := record.ReadIndex(f.dir)
	if err == nil {
		change(&index)
		err = record.WriteIndex(f.dir, index)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// stored changes what is kept of a run's events.
func (f forger) stored(name string, change func(*record.Stored)) {
	f.t.Helper()
	s, err := record.ReadStored(f.folder(name))
	if err == nil {
		change(s)
		err = record.WriteStored(f.folder(name), *s)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.run(name, func(*record.Run) {})
}

// without takes a run out of the index.
func (f forger) without(name string) {
	f.index(func(i *record.Index) {
		i.Results = slices.DeleteFunc(i.Results, func(e record.Entry) bool { return e.Dir == name })
	})
}

func expectation(r *record.Run, name string) *record.Expectation {
	return &r.Expectations[slices.IndexFunc(r.Expectations, func(e record.Expectation) bool { return e.Name == name })]
}

func check(a *audit.Report, name string) *audit.Check {
	return &a.Checks[slices.IndexFunc(a.Checks, func(c audit.Check) bool { return c.Name == name })]
}

// forgeries are lies about what was measured: of each all that follows is made anew, hashes too.
var forgeries = []struct {
	name  string
	forge func(forger)
	found string // in what Verify prints
}{
	{"control: nothing is forged", func(f forger) { f.run("burst-1", func(*record.Run) {}) }, ""},
	{"the loss of a kill, smaller", func(f forger) {
		f.run("kill-memory-1", func(r *record.Run) {
			r.Audit.Lost -= 1000
			expectation(r, "lost").Got = fmt.Sprint(r.Audit.Lost)
		})
	}, "kill-memory-1/audit.json"},
	{"the loss of a kill, and all that is counted with it", func(f forger) {
		f.run("kill-memory-1", func(r *record.Run) {
			a := r.Audit
			a.Lost, a.Stored, a.Counters.UniqueProcessed, a.Database.Events = a.Lost-1, a.Stored+1, a.Counters.UniqueProcessed+1, a.Database.Events+1
			a.Counters.Received++
			*check(a, "unique_processed"), *check(a, "database_events") = audit.None("unique_processed", 0), audit.None("database_events", 0)
			expectation(r, "lost").Got = fmt.Sprint(a.Lost)
		})
	}, "kill-memory-1/audit.json"},
	{"acknowledged", func(f forger) { f.audit("burst-1", func(a *audit.Report) { a.Acknowledged++ }) }, "burst-1/audit.json"},
	{"duplicated", func(f forger) { f.audit("burst-1", func(a *audit.Report) { a.Duplicated++ }) }, "burst-1/audit.json"},
	{"unexpected", func(f forger) { f.audit("burst-1", func(a *audit.Report) { a.Unexpected++ }) }, "burst-1/audit.json"},
	{"a bound", func(f forger) { f.audit("kill-journal-1", func(a *audit.Report) { a.Bounds.DuplicatesMax += 1000 }) }, "kill-journal-1/audit.json"},
	{"a counter", func(f forger) { f.audit("burst-1", func(a *audit.Report) { a.Counters.Rejected++ }) }, "rejected is 1 in the audit"},
	{"a counter, and the end of the trace", func(f forger) {
		resulttest.Rewrite(f.t, f.folder("burst-1"), func(s *record.Sample) {
			if s.TNS > 0 {
				s.Rejected++
			}
		})
		f.audit("burst-1", func(a *audit.Report) { a.Counters.Rejected++ })
	}, "burst-1/audit.json"},
	{"a check that had failed is said to have held", func(f forger) {
		f.audit("burst-1", func(a *audit.Report) {
			*check(a, "page_events_wrong") = audit.Check{Name: "page_events_wrong", Held: true, Got: 3}
		})
	}, "burst-1/audit.json"},
	{"a check that had failed, with other bounds", func(f forger) {
		f.audit("burst-1", func(a *audit.Report) {
			*check(a, "changed_on_disk") = audit.Check{Name: "changed_on_disk", Held: true, Got: 3, Max: 3}
		})
	}, "burst-1/audit.json"},
	{"a check that had failed is not there", func(f forger) {
		f.audit("burst-1", func(a *audit.Report) {
			a.Checks = slices.DeleteFunc(a.Checks, func(c audit.Check) bool { return c.Name == "changed_on_disk" })
		})
	}, "the check changed_on_disk is missing"},
	{"the database was not inspected", func(f forger) {
		f.audit("burst-1", func(a *audit.Report) {
			a.Database = nil
			a.Checks = slices.DeleteFunc(a.Checks, func(c audit.Check) bool { return c.Name == "database_events" })
		})
	}, "the database was not inspected"},
	{"an event more was stored", func(f forger) { f.stored("kill-memory-1", func(s *record.Stored) { s.Runs[0][1]++ }) }, "kill-memory-1: record: stored: "},
	{"what is stored is not there", func(f forger) {
		if err := os.Remove(filepath.Join(f.folder("kill-memory-1"), record.StoredFile)); err != nil {
			f.t.Fatal(err)
		}
		f.run("kill-memory-1", func(*record.Run) {})
	}, "what is stored was not kept"},
	{"the end of the trace", func(f forger) {
		resulttest.Rewrite(f.t, f.folder("burst-1"), func(s *record.Sample) {
			s.DuplicateDropped, s.UniqueProcessed = 0, s.UniqueProcessed+s.DuplicateDropped
		})
		f.run("burst-1", func(*record.Run) {})
	}, "at the end of the trace"},
	{"control: a queue that is full behind a kill", func(f forger) {
		resulttest.Rewrite(f.t, f.folder("kill-journal-1"), func(s *record.Sample) { s.Ready = false })
		f.run("kill-journal-1", func(*record.Run) {})
	}, ""},
	{"ready sooner after a kill", func(f forger) {
		f.run("kill-journal-1", func(r *record.Run) { r.Fault.ReadyNS = r.Fault.RestartedNS + 1 })
	}, "fault: ready again after"},
	{"the end of a phase", func(f forger) {
		f.run("burst-1", func(r *record.Run) { r.Phases[0].EndNS-- })
	}, "and by the ledger after"},
	{"a claim of the scenario", func(f forger) {
		f.run("burst-1", func(r *record.Run) { expectation(r, "lost").Expected = "any" })
	}, "burst-1/run.json: expectations"},
	{"what became of a claim", func(f forger) {
		f.run("kill-memory-1", func(r *record.Run) { expectation(r, "duplicated").Got = "1" })
	}, "kill-memory-1/run.json: expectations"},
	{"a claim that is not there", func(f forger) { f.run("burst-1", func(r *record.Run) { r.Expectations = r.Expectations[1:] }) }, "burst-1/run.json: expectations"},
	{"another seed", func(f forger) { f.run("burst-1", func(r *record.Run) { r.Stream.Seed++ }) }, "burst-1"},
	{"other flags", func(f forger) { f.run("burst-1", func(r *record.Run) { r.Aggregator.Flags = []string{"-ack=store"} }) }, "flags are"},
	{"another level", func(f forger) { f.run("burst-1", func(r *record.Run) { r.Aggregator.Ack = "memory" }) }, "ack level is"},
	{"requests that were due later than planned", func(f forger) {
		resulttest.RewriteRequests(f.t, f.folder("burst-1"), func(a *ledger.Attempt) {
			if a.Request%10 == 0 {
				a.PlannedNS = a.SentNS
			}
		})
		f.run("burst-1", func(*record.Run) {})
	}, "was due"},
	{"the worst of the repeats, not in the index", func(f forger) { f.without("burst-1") }, "burst-1: not in index.json"},
	{"the worst of the repeats, gone", func(f forger) {
		f.without("burst-1")
		remove(f.t, f.folder("burst-1"))
	}, "of 5 runs of this sitting 4 are there"},
	{"the worst of the repeats, gone and not counted", func(f forger) {
		f.without("burst-1")
		remove(f.t, f.folder("burst-1"))
		f.index(func(i *record.Index) { i.Planned-- })
	}, "of 4 runs of this sitting 4 are there; absent: what was the place of"},
	{"a folder that nobody lists", func(f forger) {
		if err := os.CopyFS(f.folder("burst-4"), os.DirFS(f.folder("burst-1"))); err != nil {
			f.t.Fatal(err)
		}
	}, "burst-4: not in index.json"},
	{"a sitting that nobody lists", func(f forger) {
		hidden := filepath.Join(filepath.Dir(f.dir), "hidden")
		if err := os.CopyFS(filepath.Join(hidden, "burst-1"), os.DirFS(f.folder("burst-1"))); err != nil {
			f.t.Fatal(err)
		}
	}, "neither index.json nor search.json"},
	{"valid in the index", func(f forger) { f.index(func(i *record.Index) { i.Results[0].Valid = false }) }, "index.json"},
	{"held in the index", func(f forger) { f.index(func(i *record.Index) { i.Results[0].Held = false }) }, "index.json"},
	{"clean in the index", func(f forger) { f.index(func(i *record.Index) { i.Results[0].Clean = false }) }, "index.json"},
	{"a case in the index", func(f forger) { f.index(func(i *record.Index) { i.Results[0].Case = "store" }) }, "index.json"},
	{"a repeat in the index", func(f forger) { f.index(func(i *record.Index) { i.Results[0].Repeat++ }) }, "index.json"},
	{"the machine in the index", func(f forger) { f.index(func(i *record.Index) { i.Environment.Cores = 64 }) }, "index.json"},
	{"the time in the index", func(f forger) { f.index(func(i *record.Index) { i.FinishedAt = i.FinishedAt.AddDate(0, 0, -1) }) }, "began outside of the sitting"},
	{"a sitting that was interrupted, all of whose runs are there", func(f forger) { f.index(func(i *record.Index) { i.FinishedAt = time.Time{} }) },
		"index.json: the sitting was interrupted: 5 of 5 runs had ended"},
	{"a sitting that was killed", func(f forger) {
		f.without("burst-1")
		remove(f.t, f.folder("burst-1"))
		f.index(func(i *record.Index) { i.FinishedAt = time.Time{} })
	}, "index.json: the sitting was interrupted: 4 of 5 runs had ended"},
	{"a sum of the faults", func(f forger) { f.faults(func(r *record.FaultSummary) { r.Acknowledged++ }) }, "faults.json"},
	{"the times of a fault", func(f forger) { f.faults(func(r *record.FaultSummary) { r.Times *= 10 }) }, "faults.json"},
	{"a kind of fault, gone", func(f forger) { f.withoutFault(func(*record.Faults) {}) }, "faults.json"},
	{"a kind of fault, gone and not counted", func(f forger) { f.withoutFault(func(r *record.Faults) { r.Planned-- }) }, "some are absent"},
	{"a round of a yardstick, gone", func(f forger) {
		f.yardsticks(func(y *record.Yardsticks) { y.Systems[0].Rounds = y.Systems[0].Rounds[1:] })
	}, "rounds"},
	{"what a yardstick was to store", func(f forger) {
		f.yardsticks(func(y *record.Yardsticks) { y.Systems[0].Rounds[0].Expected--; y.Systems[0].Rounds[0].Stored-- })
	}, "are expected"},
	{"stored in the soak", func(f forger) { f.soak(func(s *record.SoakSummary) { s.Stored++ }) }, "soak.json"},
	{"the figures of the soak, gone", func(f forger) { remove(f.t, filepath.Join(filepath.Dir(f.dir), soakDir, soakFile)) }, "soak.json"},
	{"lost in the soak", func(f forger) { f.soak(func(s *record.SoakSummary) { s.Lost++ }) }, "soak.json"},
}

func (f forger) faults(change func(*record.FaultSummary)) {
	path := filepath.Join(filepath.Dir(f.dir), faultsDir, faultsFile)
	found, err := record.ReadFaults(path)
	if err == nil {
		change(&found.Faults[0])
		err = record.WriteFaults(path, found)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f forger) soak(change func(*record.SoakSummary)) {
	path := filepath.Join(filepath.Dir(f.dir), soakDir, soakFile)
	found, err := record.ReadSoakSummary(path)
	if err == nil {
		change(&found)
		err = record.WriteSoakSummary(path, found)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// withoutFault takes a kind and its record out.
func (f forger) withoutFault(change func(*record.Faults)) {
	dir := filepath.Join(filepath.Dir(f.dir), faultsDir)
	found, err := record.ReadFaults(filepath.Join(dir, faultsFile))
	if err != nil {
		f.t.Fatal(err)
	}
	remove(f.t, filepath.Join(dir, found.Files[1].Name))
	found.Files, found.Faults = slices.Delete(found.Files, 1, 2), slices.Delete(found.Faults, 1, 2)
	change(&found)
	if err := record.WriteFaults(filepath.Join(dir, faultsFile), found); err != nil {
		f.t.Fatal(err)
	}
}

// yardsticks changes rounds, and makes anew what follows from them.
func (f forger) yardsticks(change func(*record.Yardsticks)) {
	y, err := record.ReadYardsticks(filepath.Dir(f.dir))
	if err == nil {
		change(&y)
		y, err = figures.Yardsticks(y)
	}
	if err == nil {
		err = record.WriteYardsticks(filepath.Dir(f.dir), y)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// Each forgery is found although all that follows from it was made anew; what nobody forged passes.
func TestForgeries(t *testing.T) {
	// Of golden's runs, those that are forged: all of a reference is computed twice for each forgery.
	small := t.TempDir()
	writeAll(t, small, slices.DeleteFunc(models(), func(m resulttest.Model) bool { return m.Scenario != "burst" && m.Scenario != "kill" }))
	for _, forgery := range forgeries {
		t.Run(forgery.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(small)); err != nil {
				t.Fatal(err)
			}
			reference := filepath.Join(dir, filepath.FromSlash(referenceDir))
			forgery.forge(forger{t, filepath.Join(reference, "synthetic")})
			if err := refresh(reference); err != nil {
				t.Fatal(err)
			}
			_, differences, err := verifyReference(reference)
			if err != nil {
				t.Fatal(err)
			}
			if out := fmt.Sprint(differences); (len(differences) == 0) != (forgery.found == "") || !strings.Contains(out, forgery.found) {
				t.Errorf("%q is not said: %s", forgery.found, out)
			}
		})
	}
}
