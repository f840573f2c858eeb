package compose_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildContext: every package that the images' programs are made of is in a folder that
// .dockerignore lets into the build. It needs no engine.
func TestBuildContext(t *testing.T) {
	text, err := os.ReadFile(repository + "/.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	let := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if folder, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			let[folder] = true
		}
	}
	for _, of := range []struct{ dir, packages string }{{repository, "./cmd/..."}, {repository + "/sekali-log", "."}} {
		list := exec.Command("go", "list", "-deps", of.packages)
		list.Dir = of.dir
		out, err := list.Output()
		if err != nil {
			t.Fatalf("%v: %v", list, err)
		}
		ours := 0
		for pkg := range strings.Lines(string(out)) {
			folder, ok := strings.CutPrefix(strings.TrimSpace(pkg), "sekali/")
			if !ok {
				continue
			}
			ours++
			if top, _, _ := strings.Cut(folder, "/"); !let[top] {
				t.Errorf(".dockerignore keeps %s out of the build", filepath.Join(top))
			}
		}
		if ours == 0 {
			t.Errorf("no package of ours in %s", of.dir)
		}
	}
}
