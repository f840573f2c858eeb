package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sekali/bench/record"
)

// A program of a changed tree, or with the race detector, is known by its stamps; one without is
// not blamed.
func TestAddProgram(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("skipped: no git")
	}
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) error {
		command := exec.Command(name, args...)
		command.Dir = dir
		out, err := command.CombinedOutput()
		if err != nil {
			t.Logf("%s %v: %s", name, args, out)
		}
		return err
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	of := func(program string) (e record.Environment) {
		AddProgram(&e, filepath.Join(dir, program))
		return e
	}
	write("go.mod", "module hello\n\ngo 1.26\n")
	write("main.go", "package main\n\nfunc main() {}\n")
	write(".gitignore", "/clean\n/changed\n/race\n")
	must(run(git, "init", "-q"))
	must(run(git, "add", "."))
	must(run(git, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "one"))
	must(run("go", "build", "-buildvcs=true", "-o", "clean", "."))
	if e := of("clean"); e.Dirty || e.Race {
		t.Errorf("clean: %+v", e)
	}
	write("main.go", "package main\n\nfunc main() { println() }\n")
	must(run("go", "build", "-buildvcs=true", "-o", "changed", "."))
	if e := of("changed"); !e.Dirty || e.Race {
		t.Errorf("changed: %+v", e)
	}
	if e := of("main.go"); e.Dirty || e.Race {
		t.Errorf("no program: %+v", e)
	}
	if run("env", "CGO_ENABLED=1", "go", "build", "-race", "-buildvcs=false", "-o", "race", ".") != nil {
		t.Skip("skipped: the race detector needs a C compiler")
	}
	if e := of("race"); e.Dirty || !e.Race {
		t.Errorf("race: %+v", e)
	}
}
