// Package ops_test tests what is built for others: packages, archives, a module of another name.
package ops_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// patience bounds a build of everything on a busy machine.
const patience = 10 * time.Minute

// run runs a program in a folder, and returns what it printed.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return string(out)
}

// need skips the test where a program is not installed.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("skipped: there is no %s", name)
		}
	}
}

// copyTree copies what git knows, but for results, as a repository of its own. Files are the texts.
func copyTree(t *testing.T) (dir string, files map[string]string) {
	t.Helper()
	need(t, "git", "make")
	dir, files = t.TempDir(), map[string]string{}
	if exec.Command("git", "rev-parse").Run() != nil {
		t.Skip("skipped: this is no working tree of git")
	}
	for _, name := range strings.Split(run(t, "..", "git", "ls-files"), "\n") {
		if name == "" || strings.HasPrefix(name, "results/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, info.Mode()); err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	run(t, dir, "git", "init", "-q")
	run(t, dir, "git", "add", "-A")
	return dir, files
}

// TestModule: with another path everything builds and is vetted, no package has the old one, and
// the way back gives every file as it was.
func TestModule(t *testing.T) {
	dir, files := copyTree(t)
	old := strings.TrimSpace(strings.TrimPrefix(regexp.MustCompile(`(?m)^module .*$`).FindString(text(t, dir, "go.mod")), "module"))
	const name = "example.org/a.b/log-store"
	run(t, dir, "make", "module", "NAME="+name)
	run(t, dir, "go", "build", "./...")
	run(t, dir, "go", "vet", "./...")
	for pkg := range strings.Lines(run(t, dir, "go", "list", "-deps", "-test", "./...")) {
		if strings.HasPrefix(pkg, old+"/") || strings.TrimSpace(pkg) == old {
			t.Errorf("still there: %s", pkg)
		}
	}
	modules := 0
	for file := range files {
		if filepath.Base(file) == "go.mod" {
			modules++
			line := regexp.MustCompile(`(?m)^module .*$`).FindString(text(t, dir, file))
			if want := "module " + strings.TrimSuffix(name+"/"+strings.TrimSuffix(file, "go.mod"), "/"); line != want {
				t.Errorf("%s has %s, want %s", file, line, want)
			}
		}
	}
	if modules < 4 {
		t.Errorf("only %d modules", modules)
	}
	if !strings.Contains(text(t, dir, "docs/howto/go-client.md"), `"`+name+`/client"`) {
		t.Error("the page for Go programs has another import")
	}
	run(t, dir, "make", "module", "NAME="+old)
	for file, before := range files {
		if text(t, dir, file) != before {
			t.Errorf("%s is not what it was", file)
		}
	}
}

// TestModuleName: what is no path of a module changes nothing.
func TestModuleName(t *testing.T) {
	dir, _ := copyTree(t)
	for _, name := range []string{"", "/x", "x y", "x/", "../x", "x;y", "x|y"} {
		command := exec.Command("tools/module.sh", name)
		command.Dir = dir
		if out, err := command.CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "usage: ") {
			t.Errorf("%q: %v, %s", name, err, out)
		}
	}
	if changed := run(t, dir, "git", "diff", "--name-only"); changed != "" {
		t.Errorf("changed: %s", changed)
	}
}

func text(t *testing.T, dir, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
