package ab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sekali/bench/experiment/runner"
	"sekali/bench/judge"
	"sekali/bench/pages/compare"
	"sekali/bench/record"
)

// TestRevisions: a side may be a revision, whose aggregator is built, while what is not committed
// stays what it is; or a folder, which is built with what is not committed.
func TestRevisions(t *testing.T) {
	repository := t.TempDir()
	t.Chdir(repository)
	say := func(text string) {
		t.Helper()
		main := fmt.Sprintf("package main\n\nvar version string\n\nfunc main() { println(%q, version) }\n", text)
		if err := errors.Join(os.MkdirAll("cmd/aggregator", 0o755), os.WriteFile("cmd/aggregator/main.go", []byte(main), 0o644),
			os.WriteFile("go.mod", []byte("module tiny\n\ngo 1.26\n"), 0o644),
			os.MkdirAll("sekali-log", 0o755), os.WriteFile("sekali-log/main.go", []byte(strings.Replace(main, text, "log of "+text, 1)), 0o644),
			os.WriteFile("sekali-log/go.mod", []byte("module tinylog\n\ngo 1.26\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	commit := func() {
		t.Helper()
		for _, args := range [][]string{{"add", "-A"}, {"-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "x"}} {
			if _, err := git(t.Context(), ".", nil, args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := git(t.Context(), ".", nil, "init", "-q"); err != nil {
		t.Fatal(err)
	}
	say("first")
	commit()
	say("second")
	commit()
	say("third")
	for given, want := range map[string]string{"HEAD~1": "first", "HEAD": "second", ".": "third"} {
		found, err := find(context.Background(), given, filepath.Join(t.TempDir(), "programs"), given != "HEAD")
		if err != nil {
			t.Fatalf("%s: %v", given, err)
		}
		log, err := exec.Command(runner.LogProgram(found.Program)).CombinedOutput()
		if (err == nil) != (given != "HEAD") || err == nil && !strings.HasPrefix(string(log), "log of "+want+" ") {
			t.Errorf("%s: its log server says %q, %v", given, log, err)
		}
		said, err := exec.Command(found.Program).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(said), want+" ") {
			t.Errorf("%s says %q, %v", given, said, err)
		}
		if found.Commit == "" || !strings.Contains(string(said), found.Commit) {
			t.Errorf("%s: commit %q, the program says %q", given, found.Commit, said)
		}
		if uncommitted(found) != (given == ".") {
			t.Errorf("%s: not committed: %v", given, uncommitted(found))
		}
	}
	if left, err := git(t.Context(), ".", nil, "status", "--porcelain"); err != nil || left != "M cmd/aggregator/main.go\n M sekali-log/main.go" {
		t.Errorf("the repository has %q, %v", left, err)
	}
	if _, err := find(t.Context(), "HEAD~9", t.TempDir(), false); err == nil || !strings.Contains(err.Error(), "no revision of git here") {
		t.Errorf("an unknown revision: %v", err)
	}
}

// TestProgramIsCopied: what is built anew while a sitting lasts leaves its sides what they are, and
// so it is with the log server beside them.
func TestProgramIsCopied(t *testing.T) {
	bin, out := t.TempDir(), t.TempDir()
	given := filepath.Join(bin, "given")
	script := func(name, says string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho "+says+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, log := range []bool{false, true} {
		script("given", "before")
		if log {
			script("sekali-log", "before")
		}
		into := filepath.Join(out, fmt.Sprint(log))
		found, err := find(t.Context(), given, into, true)
		if err != nil || found.Given != given || found.Commit != "" || filepath.Dir(found.Program) != into {
			t.Fatalf("%+v, %v", found, err)
		}
		script("given", "after")
		programs := []string{found.Program}
		if log {
			script("sekali-log", "after")
			programs = append(programs, filepath.Join(into, "sekali-log"))
		}
		for _, program := range programs {
			if said, err := exec.Command(program).Output(); err != nil || string(said) != "before\n" {
				t.Errorf("%s says %q, %v", program, said, err)
			}
		}
	}
}

// TestUncommitted: changes that are not committed cost no pair and no verdict, and are told before
// the verdict and beside it.
func TestUncommitted(t *testing.T) {
	const warning = "WARNING: built with changes that are not committed: b. Nobody can make these figures again."
	out, runs := t.TempDir(), 0
	run := func(c runner.Config) (string, runner.Outcome) {
		runs++
		dir := filepath.Join(c.Out, "runs", fmt.Sprintf("%03d", runs))
		if err := write(dir, at(runs), 4000, true, uint64(runs)); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(c.Out) == "b" {
			one := filepath.Join(dir, "noise-1")
			run, err := record.ReadRun(one)
			run.Aggregator.Version, run.Environment.Dirty = "479b1bb-dirty", true
			if err := errors.Join(err, record.WriteRun(one, run)); err != nil {
				t.Fatal(err)
			}
			if run, err = judge.Finish(one); err != nil || run.Validity.Valid {
				t.Fatalf("valid: %v, %v", run.Validity.Valid, err)
			}
		}
		return dir, runner.Invalid
	}
	verdict, left, said, err := sit(t, out, 0, run)
	if err != nil || verdict != compare.SameOrBetter || left.Pairs != 10 || left.SetAside != 0 || left.A.Uncommitted || !left.B.Uncommitted {
		t.Errorf("%v, %+v, %v\n%s", verdict, left, err, said)
	}
	// A program without stamps shows it in its first run.
	first, last := strings.Index(said, warning), strings.LastIndex(said, warning)
	if strings.Count(said, warning) != 2 || first > strings.Index(said, "b, 2 of 10") || last < strings.Index(said, "or better, within 5 %") {
		t.Errorf("%s", said)
	}
}
